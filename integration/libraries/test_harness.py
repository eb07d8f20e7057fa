"""What the other tests rely on: something that is missing is named, and a stall is one of this process, not of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import graftlet
import graftlet.native
from integration.libraries import harness
from integration.libraries.harness import (
    LONGEST_STALL,
    PATIENCE,
    Server,
    library,
    no_stall,
    overlapping,
)
from integration.libraries.programs import free_port

SERVERS = [each for each in vars(harness).values() if isinstance(each, Server)]


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_a_server_that_is_missing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(server.variable, f"127.0.0.1:{free_port()}")
    expected = f"{server.name} does not answer .*{server.install} .*{server.variable}=HOST:PORT"
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=expected):
        server.address()
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match=f"{expected}.*nothing may be missing"):
        server.address()
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"`{server.install}`" in readme
    assert f"`{server.variable}=HOST:PORT`" in readme


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "no-such-library is not installed .*pip install 'no-such-library'"
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=expected):
        library("no_such_library", "no-such-library")
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match=expected):
        library("no_such_library", "no-such-library")


def compute(seconds: float) -> float:
    """So much processor time; returns how long it took."""
    began, until = time.monotonic(), time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return time.monotonic() - began


def compute_in_c(seconds: float) -> None:
    """So much processor time in a single call into C, which no preemption can interrupt."""
    count, used = 10_000, 0.0
    while used < seconds:
        count *= 2
        began = time.thread_time()
        sum(range(count))
        used = time.thread_time() - began


def test_who_computes_or_blocks_for_long_is_found() -> None:
    with pytest.raises(AssertionError, match="kept from running"), no_stall():
        compute_in_c(LONGEST_STALL * 4)
    with pytest.raises(AssertionError, match="kept from running"), no_stall():
        graftlet.native.sleep(LONGEST_STALL * 4)


def test_waits_one_after_the_other_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that keeps nothing from us: where many want the processor more is forgiven than is lost."""
    monkeypatch.setattr(harness._Clock, "kept", lambda _: 0.0)
    with pytest.raises(AssertionError, match="do not overlap"), overlapping(0.1, work=0.1):
        graftlet.joinall(
            [graftlet.spawn_later(0.1 * number, time.sleep, 0.1) for number in range(4)]
        )
    with pytest.raises(AssertionError, match="less than one wait"), overlapping(PATIENCE):
        time.sleep(0.01)


def test_a_busy_machine_is_no_stall() -> None:
    """Four others want the one processor that we may use: what we compute for 20 ms takes longer than a stall may last."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        with no_stall():
            until = time.monotonic() + 60
            while compute(LONGEST_STALL * 0.4) < LONGEST_STALL * 1.5:
                assert time.monotonic() < until, "the others have a processor of their own"
                time.sleep(0.01)
    finally:
        for each in busy:
            each.kill()
            each.wait()
        os.sched_setaffinity(0, allowed)


def test_programs_can_be_interrupted() -> None:
    """Also if these tests run in the background, where a shell has SIGINT ignored."""
    script = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    child = f"""
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
import integration.libraries.conftest
sys.exit(subprocess.call([sys.executable, "-c", {script!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", child],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    assert done.stdout == "True\n"
