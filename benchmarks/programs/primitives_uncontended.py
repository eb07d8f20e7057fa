"""Locks, conditions, events, semaphores and queues with nobody else about: the price of being safe.

One operation is a `with` block, a put and a get, or a set, wait and clear. The loop is part of it,
the same for every runtime (about 10 ns).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from _measure import Report, arguments


def guarded(guard: AbstractContextManager[object, bool | None], operations: int) -> int:
    """How often the guard was entered and left."""
    entered = 0
    for entered in range(1, operations + 1):  # noqa: B007 - the count is the answer
        with guard:
            pass
    return entered


def notified(condition: threading.Condition, operations: int) -> int:
    """How often the condition was entered and nobody notified."""
    entered = 0
    for entered in range(1, operations + 1):  # noqa: B007 - the count is the answer
        with condition:
            condition.notify()
    return entered


def set_and_waited(event: threading.Event, operations: int) -> int:
    """How often a wait found the event set."""
    woken = 0
    for _ in range(operations):
        event.set()
        woken += event.wait()
        event.clear()
    return woken


def put_and_got(items: queue.Queue[int] | queue.SimpleQueue[int], operations: int) -> int:
    """The sum of what went through the queue."""
    total = 0
    for number in range(operations):
        items.put(number)
        total += items.get()
    return total


def main() -> None:
    given = arguments(operations=50_000, repeats=5)
    cases: dict[str, Callable[[int], int]] = {
        "lock": partial(guarded, threading.Lock()),
        "rlock": partial(guarded, threading.RLock()),
        "condition": partial(notified, threading.Condition()),
        "event": partial(set_and_waited, threading.Event()),
        "semaphore": partial(guarded, threading.Semaphore(1)),
        "queue": partial(put_and_got, queue.Queue()),
        "simplequeue": partial(put_and_got, queue.SimpleQueue()),
    }
    answers: dict[str, int] = {}
    report = Report("primitives_uncontended")
    for name, case in cases.items():

        def run(operations: int, name: str = name, case: Callable[[int], int] = case) -> None:
            answers[name] = case(operations)

        report.time(name, run, given.operations, given.repeats)
    report.finish(answers)


if __name__ == "__main__":
    main()
