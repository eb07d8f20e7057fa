"""Two threads hand a turn to and fro: each wake-up must really reach the other thread.

One operation is one round trip: two wake-ups and two waits. An RLock has no such case, because only
its owner may release it. `event-timeout` and `queue-timeout` wait with a deadline of 30 s that never
comes; a runtime that arms and cancels a timer for each wait pays for it here.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from _measure import Report, arguments, in_threads

Turn = Callable[[], object]


def alternate(rounds: int, give_first: Turn, take_first: Turn, give: Turn, take: Turn) -> int:
    """One thread gives and then takes, the other takes and then gives; turns done by both."""
    done: list[int] = []

    def first() -> None:
        turns = 0
        for _ in range(rounds):
            give_first()
            take_first()
            turns += 1
        done.append(turns)

    def second() -> None:
        turns = 0
        for _ in range(rounds):
            take()
            give()
            turns += 1
        done.append(turns)

    in_threads([first, second])
    return sum(done)


def locks(rounds: int) -> int:
    there, back = threading.Lock(), threading.Lock()
    there.acquire()
    back.acquire()
    return alternate(rounds, there.release, back.acquire, back.release, there.acquire)


def semaphores(rounds: int) -> int:
    there, back = threading.Semaphore(0), threading.Semaphore(0)
    return alternate(rounds, there.release, back.acquire, back.release, there.acquire)


def events(rounds: int, timeout: float | None = None) -> int:
    there, back = threading.Event(), threading.Event()

    def take(event: threading.Event) -> None:
        if not event.wait(timeout):
            raise AssertionError("an event was set and its waiter wasn't woken")
        event.clear()

    return alternate(rounds, there.set, lambda: take(back), back.set, lambda: take(there))


def conditions(rounds: int) -> int:
    condition = threading.Condition()
    turn = 0

    def give(whose: int) -> None:
        nonlocal turn
        with condition:
            turn = whose
            condition.notify()

    def take(whose: int) -> None:
        with condition:
            while turn != whose:
                condition.wait()

    return alternate(rounds, lambda: give(1), lambda: take(0), lambda: give(0), lambda: take(1))


def queues(rounds: int, kind: Callable[[], Any], timeout: float | None = None) -> int:
    there, back = kind(), kind()

    def take(source: Any) -> None:
        source.get(timeout=timeout)

    if timeout is None:
        return alternate(rounds, lambda: there.put(1), back.get, lambda: back.put(1), there.get)
    return alternate(
        rounds,
        lambda: there.put(1),
        lambda: take(back),
        lambda: back.put(1),
        lambda: take(there),
    )


def main() -> None:
    given = arguments(rounds=5000, repeats=5)
    cases: dict[str, Callable[[int], int]] = {
        "lock": locks,
        "semaphore": semaphores,
        "event": events,
        "event-timeout": lambda rounds: events(rounds, 30.0),
        "condition": conditions,
        "queue": lambda rounds: queues(rounds, queue.Queue),
        "queue-timeout": lambda rounds: queues(rounds, queue.Queue, 30.0),
        "simplequeue": lambda rounds: queues(rounds, queue.SimpleQueue),
    }
    answers: dict[str, int] = {}
    report = Report("primitives_pingpong")
    for name, case in cases.items():

        def run(rounds: int, name: str = name, case: Callable[[int], int] = case) -> None:
            answers[name] = case(rounds)

        report.time(name, run, given.rounds, given.repeats)
    report.finish(answers)


if __name__ == "__main__":
    main()
