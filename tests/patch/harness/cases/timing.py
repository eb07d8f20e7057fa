"""time and sched."""

from __future__ import annotations

import functools
import pickle
import sched
import threading
import time
from time import sleep as old_sleep
from types import SimpleNamespace
from typing import Any

from tests.patch.harness.tools import (
    LONG,
    SHORT,
    Background,
    kind,
    outcome,
)

old = SimpleNamespace()


class Waits:
    """Keeps functions in all the places that a class can."""

    pause = time.sleep
    static = staticmethod(time.sleep)

    def __init__(self, sleep: Any = time.sleep) -> None:
        self.sleep = sleep

    def wait(self, seconds: float, *, how: Any = time.sleep) -> None:
        how(seconds)


class InheritsWaits(Waits):
    """Nothing of its own."""


PARTIAL = functools.partial(time.sleep, SHORT)
IN_A_DICT = {"sleep": time.sleep}
IN_A_LIST = [time.sleep]
IN_A_TUPLE = (time.sleep,)


def closure() -> Any:
    sleep = time.sleep

    def wait() -> None:
        sleep(SHORT)

    return wait


def prepare() -> None:
    old.waits = Waits()
    old.closure = closure()
    old.scheduler = sched.scheduler()


def overlaps(*calls: Any) -> Any:
    """Whether the calls, of which each sleeps for `SHORT`, sleep at the same time."""
    go_on = threading.Event()
    asleep: list[Any] = []
    most = 0

    def sleep(call: Any) -> Any:
        nonlocal most
        go_on.wait()
        asleep.append(call)
        most = max(most, len(asleep))
        try:
            return call()
        finally:
            asleep.pop()

    threads = [Background(sleep, call) for call in calls for _ in range(30)]
    go_on.set()
    return [{thread.result() for thread in threads}, most > 1]


def case_old_sleeps() -> Any:
    calls: list[Any] = [
        lambda: old_sleep(SHORT),
        lambda: Waits.pause(SHORT),
        lambda: old.waits.pause(SHORT),
        lambda: InheritsWaits.static(SHORT),
        lambda: old.waits.sleep(SHORT),
        lambda: InheritsWaits().wait(SHORT),
        PARTIAL,
        lambda: IN_A_DICT["sleep"](SHORT),
        lambda: IN_A_LIST[0](SHORT),
        lambda: IN_A_TUPLE[0](SHORT),
        old.closure,
    ]
    return [overlaps(call) for call in calls]


def case_sleep() -> Any:
    anything: Any = time.sleep

    class Half:
        def __float__(self) -> float:
            return 0.5

    class One:
        def __index__(self) -> int:
            return 0

    start = time.monotonic()
    got: list[Any] = [
        time.sleep(0.02),
        time.sleep(0),
        time.sleep(0.0),
        time.sleep(True - 1),
        anything(One()),
    ]
    return [
        *got,
        0.018 < time.monotonic() - start < LONG,
        outcome(time.sleep, -1),
        kind(time.sleep, float("nan")),
        kind(time.sleep, float("inf")),
        kind(time.sleep, 1e300),
        kind(time.sleep, 1 << 70),
        kind(anything, "1"),
        kind(anything, None),
        kind(anything),
        kind(anything, 1, 2),
        kind(anything, secs=1),
        kind(anything, Half()),
    ]


def case_nobody_wakes_early() -> Any:
    """In which order is for a clock of ours to say: native threads wait for a processor, too."""

    def wait(number: int) -> bool:
        start = time.monotonic()
        time.sleep(number * 0.03)
        return time.monotonic() - start > number * 0.029

    threads = [Background(wait, number) for number in (5, 1, 4, 2, 3)]
    return [thread.result() for thread in threads]


def case_sleep_looks_the_same() -> Any:
    return [
        time.sleep.__name__,
        time.sleep.__module__,
        pickle.loads(pickle.dumps(time.sleep)) is time.sleep,
        repr(time.sleep),
        callable(time.sleep),
        time.sleep == old_sleep,
        hash(time.sleep) == hash(old_sleep),
        kind(setattr, time.sleep, "attribute", 1),
    ]


def case_sched() -> Any:
    got = []
    for scheduler in (sched.scheduler(), old.scheduler):
        events: list[int] = []
        start = time.monotonic()
        for number in (3, 1, 2):
            scheduler.enterabs(start + number * 0.005, 1, events.append, (number,))
        runner = Background(scheduler.run)
        got.append([runner.result(), events])
    return got
