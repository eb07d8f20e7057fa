"""Ten threads want the same thing at once.

lock, rlock, semaphore: each thread takes it, yields inside (`time.sleep(0)`) and gives it back, so
that the others really queue up; one operation is one turn. condition: the threads take turns in a
fixed order; one operation is one turn. event: nine wait, one sets; one operation is one wake-up.
queue, simplequeue: five put, five get, at most ten items under way; one operation is one item.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from _measure import Report, arguments, in_threads

THREADS = 10
HALF = THREADS // 2


def takers(guard: AbstractContextManager[object, bool | None], operations: int) -> int:
    """Turns taken, counted inside the guard without any other protection."""
    turns = 0

    def take() -> None:
        nonlocal turns
        for _ in range(operations // THREADS):
            with guard:
                mine = turns
                time.sleep(0)
                turns = mine + 1

    in_threads([take] * THREADS)
    return turns


def turns_in_order(operations: int) -> int:
    """Turns taken in order on one condition."""
    condition = threading.Condition()
    turns = 0

    def take(number: int) -> None:
        nonlocal turns
        for _ in range(operations // THREADS):
            with condition:
                while turns % THREADS != number:
                    condition.wait()
                turns += 1
                condition.notify_all()

    in_threads([partial(take, number) for number in range(THREADS)])
    return turns


def broadcast(operations: int) -> int:
    """Wake-ups of the waiting threads, an event a round."""
    events = [threading.Event() for _ in range(operations // (THREADS - 1))]
    arrived = threading.Semaphore(0)
    woken: list[int] = []

    def wait() -> None:
        mine = 0
        for event in events:
            mine += event.wait()
            arrived.release()
        woken.append(mine)

    def wake() -> None:
        for event in events:
            event.set()
            for _ in range(THREADS - 1):
                arrived.acquire()

    in_threads([wait] * (THREADS - 1) + [wake])
    return sum(woken)


def through_queue(operations: int) -> int:
    """Sum of what came through a bounded queue."""
    items: queue.Queue[int] = queue.Queue(maxsize=THREADS)
    got: list[int] = []

    def put(first: int) -> None:
        for number in range(first, operations, HALF):
            items.put(number)

    def get() -> None:
        total = 0
        for _ in range(operations // HALF):
            total += items.get()
        got.append(total)

    in_threads([partial(put, first) for first in range(HALF)] + [get] * HALF)
    return sum(got)


def through_simple_queue(operations: int) -> int:
    """Sum of what came through a simple queue; a second one holds the putters' permits."""
    items: queue.SimpleQueue[int] = queue.SimpleQueue()
    permits: queue.SimpleQueue[None] = queue.SimpleQueue()
    for _ in range(THREADS):
        permits.put(None)
    got: list[int] = []

    def put(first: int) -> None:
        for number in range(first, operations, HALF):
            permits.get()
            items.put(number)

    def get() -> None:
        total = 0
        for _ in range(operations // HALF):
            total += items.get()
            permits.put(None)
        got.append(total)

    in_threads([partial(put, first) for first in range(HALF)] + [get] * HALF)
    return sum(got)


def main() -> None:
    given = arguments(operations=9000, repeats=5)
    cases: dict[str, Callable[[int], int]] = {
        "lock": lambda operations: takers(threading.Lock(), operations),
        "rlock": lambda operations: takers(threading.RLock(), operations),
        "semaphore": lambda operations: takers(threading.Semaphore(1), operations),
        "condition": turns_in_order,
        "event": broadcast,
        "queue": through_queue,
        "simplequeue": through_simple_queue,
    }
    answers: dict[str, int] = {}
    report = Report("primitives_contended")
    for name, case in cases.items():

        def run(operations: int, name: str = name, case: Callable[[int], int] = case) -> None:
            answers[name] = case(operations)

        report.time(name, run, given.operations, given.repeats)
    report.finish(answers)


if __name__ == "__main__":
    main()
