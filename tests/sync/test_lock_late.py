"""A lock whose holder takes it again before it yields: nobody starves, and nothing is lost with a kill."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graftlet
from graftlet.lock import Lock, RLock
from graftlet.testing import fresh_hub

KINDS = pytest.mark.parametrize("kind", [Lock, RLock])


@KINDS
def test_a_greenlet_that_takes_it_again_and_again_starves_nobody(
    kind: Callable[[], Lock | RLock],
) -> None:
    lock = kind()
    served: list[int] = []

    def hog() -> int:
        rounds = 0
        while len(served) < 3 and rounds < 1000:
            with lock:
                graftlet.sleep(0)
            rounds += 1
        return rounds

    def waiter(number: int) -> None:
        with lock:
            served.append(number)

    first = graftlet.spawn(hog)
    others = [graftlet.spawn(waiter, number) for number in range(3)]
    graftlet.joinall([first, *others])
    assert served == [0, 1, 2]
    assert first.value < 20
    assert not lock.locked()


@KINDS
def test_it_does_not_keep_others_waiting_for_long_either(kind: Callable[[], Lock | RLock]) -> None:
    with fresh_hub(time.monotonic):  # on a real clock: who yields goes on at once
        lock = kind()
        turns = 0
        over: list[bool] = []

        def hog() -> None:
            nonlocal turns
            while not over:
                with lock:
                    turns += 1
                    graftlet.sleep(0)

        hogging = graftlet.spawn(hog)
        waited = []
        for _ in range(20):
            graftlet.sleep(0.001)
            before = turns
            with graftlet.Timeout(10), lock:
                waited.append(turns - before)
        over.append(True)
        hogging.join()
    # It is looked for three times, 50 microseconds apart; on the fastest machine a turn takes a tenth of one.
    assert sorted(waited)[10] < 2000


@KINDS
@settings(deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["kill", "timeout", "yield", "toggle"]), st.integers(0, 4)),
        max_size=40,
    )
)
def test_it_is_never_lost_and_never_held_twice(
    kind: Callable[[], Lock | RLock], steps: list[tuple[str, int]]
) -> None:
    lock = kind()
    inside = 0

    def worker(timeout: float) -> None:
        nonlocal inside
        while True:
            if lock.acquire(timeout=timeout):
                try:
                    inside += 1
                    assert inside == 1
                    graftlet.sleep(0.1)
                finally:
                    inside -= 1
                    lock.release()
            else:
                graftlet.sleep(0.3)

    def held_by_main(held: bool) -> bool:
        if held:
            lock.release()
            return False
        return lock.acquire(blocking=False)

    workers = [graftlet.spawn(worker, timeout) for timeout in (-1, -1, 1, 1, -1)]
    held = False
    for step, number in steps:
        if step == "kill":
            workers[number].kill()
            if number % 2:
                graftlet.sleep(0)
            workers[number] = graftlet.spawn(worker, -1)
        elif step == "timeout":
            graftlet.sleep(1 if number == 0 else 0)
        elif step == "toggle":
            held = held_by_main(held)
        else:
            graftlet.sleep(0)
    if held:
        lock.release()
    graftlet.killall(workers)
    assert inside == 0
    assert not lock.locked()
    assert lock.acquire(blocking=False)
    lock.release()
