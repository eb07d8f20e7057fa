"""The checks that follow every test: each finds what it is there for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import isolated

CONFTEST = Path(__file__).parents[1] / "conftest.py"

LEAKS = """
import os
import threading
import time

import pytest

import graftlet
from graftlet.testing import wait_all_parked


def park():
    graftlet.get_hub().park("something that never comes")

def test_ready_greenlet_is_given_time_to_end():
    graftlet.spawn(lambda: None)

def test_parked_greenlet():
    graftlet.spawn(park)

def test_timer():
    graftlet.Timeout(5).start()

def test_descriptor():
    os.pipe()

def test_closed_descriptor():
    os.close(victim)

stop = threading.Event()
victim = os.dup(0)

def test_native_thread():
    threading.Thread(target=stop.wait, daemon=True).start()

def fail():
    raise ZeroDivisionError

def test_unhandled_error():
    graftlet.spawn(fail).join()

def test_unhandled_error_that_is_expected(unhandled):
    graftlet.spawn(fail).join()
    assert len(unhandled) == 1

def block():
    graftlet.sleep(0)
    time.sleep(0.15)
    graftlet.sleep(0)

def test_blocked_hub():
    graftlet.spawn(block).join()

def test_blocked_hub_that_is_expected(may_block_hub):
    graftlet.spawn(block).join()

def test_failure_is_told_once():
    graftlet.spawn(park)
    wait_all_parked()
    raise ZeroDivisionError

def test_seeds_differ_by_test(seed):
    print("seed", seed)
    assert not seed

def test_next():
    assert len(graftlet.get_hub().workers) == 0
"""

EXPECTED = {
    "parked_greenlet": "waits for 'something that never comes'",
    "timer": "a timer for <Timeout",
    "descriptor": r"descriptor \d+ is still open: pipe:",
    "closed_descriptor": r"descriptor \d+ was closed, but is not the test's",
    "native_thread": "native threads live on:",
    "unhandled_error": r"errors that nobody asked for were reported: .*ZeroDivisionError",
    "blocked_hub": r"the hub was blocked for \d+\.\d+ s; ran: <Greenlet at .*block",
}


def run(directory: Path, tests: str, *options: str) -> isolated.Outcome:
    """Run `tests` under this suite's conftest, in a fresh interpreter."""
    (directory / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    (directory / "test_leaks.py").write_text(tests, encoding="utf-8")
    (directory / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return isolated.run(
        "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))",
        str(directory),
        "-pno:cacheprovider",
        "-rEf",
        *options,
    )


@pytest.mark.slow  # a pytest of its own
def test_whatever_a_test_leaves_is_its_failure(tmp_path: Path) -> None:
    outcome = run(tmp_path, LEAKS, "--graftlet-seed=7")
    assert outcome.status == 1, outcome
    told = re.findall(r"^(ERROR|FAILED) .*::test_(\w+)", outcome.out, flags=re.MULTILINE)
    assert sorted(told) == sorted(
        [("ERROR", name) for name in EXPECTED]
        + [("FAILED", "failure_is_told_once"), ("FAILED", "seeds_differ_by_test")]
    ), outcome.out
    for name, pattern in EXPECTED.items():
        section = outcome.out.partition(f"ERROR at teardown of test_{name} ")[2].partition("____")[
            0
        ]
        assert re.search(pattern, outcome.out.partition(f"teardown of test_{name} ")[2]), section
    assert "graftlet seed: 7" in outcome.out
    assert "repeat with --graftlet-seed=7" in outcome.out


@pytest.mark.slow  # a pytest of its own, that hangs for a moment
def test_a_hang_ends_with_the_stacks(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        "import threading\ndef test_hangs(): threading.Event().wait()\n",
        "-ofaulthandler_timeout=0.5",
        "-ofaulthandler_exit_on_timeout=true",
    )
    assert outcome.status == 1
    assert "Timeout (0:00:00.5" in outcome.err
    assert "in test_hangs" in outcome.err
