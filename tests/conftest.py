"""Every test runs on a hub of its own, and leaves nothing behind.

Rule: what a test leaves (a greenlet, a timer, a descriptor, a native thread, an error that was reported
and that nobody asked for, a hub that was blocked) is the test's failure, not the next one's. Each
check has a test that makes it fail, in ``test_conftest.py``.

A hang is ended by pytest's own ``faulthandler_timeout`` (``pyproject.toml``), which counts per test.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from graftlet.core._own_threads import own_threads
from graftlet.core._unhandled import print_unhandled
from graftlet.testing import FakeClock, assert_hub_empty, fresh_hub
from graftlet.testing._clock import WatchingPoller

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from graftlet import Greenlet
    from graftlet.core._hub import Hub

#: A greenlet that keeps all others from running for so long (seconds) blocks the hub.
LONGEST_BLOCK = 0.1
#: So long (seconds) a native thread that has been joined may take to vanish.
THREAD_END = 10.0

Unhandled = list[tuple["Greenlet", BaseException]]

failed = pytest.StashKey[bool]()


# -- The seed


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--graftlet-seed",
        type=int,
        default=int(os.environ.get("GRAFTLET_SEED") or 0),
        metavar="N",
        help="seed of all shuffled schedules and of Hypothesis (default: $GRAFTLET_SEED, or 0)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if getattr(config.option, "hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(config.getoption("--graftlet-seed"))
    # Hypothesis 6.170 counts references, of which Python 3.15 makes fewer, and warns in vain.
    config.addinivalue_line(
        "filterwarnings",
        "ignore:It looks like .register_random. was passed:hypothesis.errors.HypothesisWarning",
    )
    # The same examples with the same seed, however slow the machine is.
    settings.register_profile(
        "graftlet", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("graftlet")
    # pytest-xdist's thread that talks to the master is no thread of the program under test: it keeps
    # no deadlock from being seen.
    own_threads.update(sys._current_frames().keys() - {threading.get_ident()})


def pytest_report_header(config: pytest.Config) -> str:
    return f"graftlet seed: {config.getoption('--graftlet-seed')}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[failed] = True
        seed = item.config.getoption("--graftlet-seed")
        report.sections.append(("graftlet seed", f"repeat with --graftlet-seed={seed}"))
    return report


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A number that depends on the session's seed and on the test."""
    whole = f"{request.config.getoption('--graftlet-seed')} {request.node.nodeid}"
    return zlib.crc32(whole.encode())


# -- The hub


@pytest.fixture
def clock() -> Callable[[], float]:
    """What the test's hub goes by. A module that needs real time has a fixture of this name."""
    return FakeClock()


@pytest.fixture
def reported() -> Unhandled:
    """What the hub's hook for unhandled errors was called with. Tests use `unhandled`."""
    return []


@pytest.fixture
def unhandled(reported: Unhandled) -> Unhandled:
    """The unhandled errors, for a test that expects some."""
    return reported


@pytest.fixture
def may_block_hub() -> None:
    """For a test in which a greenlet blocks the hub on purpose."""


@pytest.fixture(autouse=True)
def hub(
    request: pytest.FixtureRequest, clock: Callable[[], float], reported: Unhandled
) -> Iterator[Hub]:
    """The hub on which the test runs."""

    def report(greenlet: Greenlet, error: BaseException) -> None:
        reported.append((greenlet, error))
        print_unhandled(greenlet, error)

    descriptors = open_descriptors()
    threads = native_threads()
    with fresh_hub(clock) as hub:
        poller = WatchingPoller(hub)
        hub.poller = poller
        hub.on_unhandled = report
        yield hub
        if request.node.stash.get(failed, False):
            return  # one failure is enough, and its consequences are none
        problems = list(left_in(hub))
    if reported and "unhandled" not in request.fixturenames:
        problems.append(f"errors that nobody asked for were reported: {reported!r}")
    if poller.longest > LONGEST_BLOCK and "may_block_hub" not in request.fixturenames:
        problems.append(f"the hub was blocked for {poller.longest:.3f} s; ran: {poller.culprit}")
    problems += left_in_process(descriptors, threads)
    if problems:
        pytest.fail("the test left something behind:\n  " + "\n  ".join(problems), pytrace=False)


@pytest.fixture
def shuffled_hub(hub: Hub, seed: int) -> Hub:
    """The hub on which the test runs, in an order that depends on the session's seed."""
    hub.shuffle = random.Random(seed)
    return hub


# -- What is left


def left_in(hub: Hub) -> Iterator[str]:
    for _ in range(100):  # who has been killed or woken may end
        if not hub.ready and not hub.inbox:
            break
        hub.yield_now()
    try:
        assert_hub_empty(hub)
    except AssertionError as error:
        yield str(error)


def left_in_process(descriptors: dict[int, str], threads: set[int]) -> Iterator[str]:
    until = time.monotonic() + THREAD_END
    while left := native_threads() - threads:
        if time.monotonic() > until:
            yield f"native threads live on: {sorted(left)}"
            break
        time.sleep(0.001)
    if open_descriptors() != descriptors:
        gc.collect()
    now = open_descriptors()
    for number in sorted(now.keys() - descriptors.keys()):
        yield f"descriptor {number} is still open: {now[number]}"
    for number in sorted(descriptors.keys() - now.keys()):
        yield f"descriptor {number} was closed, but is not the test's: {descriptors[number]}"


def native_threads() -> set[int]:
    return set(sys._current_frames()) - own_threads


def open_descriptors() -> dict[int, str]:
    """Every open descriptor, with what it is (Linux; elsewhere nothing is known)."""
    found = {}
    directory = Path("/proc/self/fd")
    for entry in directory.iterdir() if directory.exists() else ():
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:
            pass  # the one that the listing itself had open
    return found
