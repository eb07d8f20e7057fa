"""The one wait queue: nobody is lost, nothing is lost, nobody comes twice.

The property test builds the two smallest things out of it that hand something over: a baton that one
holds at a time, and a list of items. Whoever is killed or times out in the very instant in which it is
its turn must pass the turn on.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

import graftlet
from graftlet import GreenletExit, Timeout
from graftlet.core._waitqueue import WaitQueue, deadline_after
from graftlet.testing import (
    FakeClock,
    assert_hub_empty,
    assert_no_switches,
    fresh_hub,
    wait_all_parked,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graftlet.core._hub import Hub


class Store:
    """Items that are taken one by one: the smallest user of a `WaitQueue`."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.waiters = WaitQueue()

    def put(self, item: int) -> None:
        self.items.append(item)
        self.waiters.wake_one()

    def take(self, timeout: float | None = None) -> int | None:
        deadline = deadline_after(timeout)
        turn = self.waiters.enter(self)
        served = False
        try:
            while not self.items:
                if not turn.park(deadline):
                    return None
                if not self.items:
                    self.waiters.enter_again(turn)
            served = True
            return self.items.pop(0)
        finally:
            self.waiters.leave(turn, served)


# -- Direct


def test_first_in_first_out() -> None:
    store = Store()
    takers = [graftlet.spawn(store.take) for _ in range(5)]
    wait_all_parked()
    for item in range(5):
        store.put(item)
    assert [taker.get() for taker in takers] == list(range(5))
    assert len(store.waiters) == 0


def test_nobody_waits_who_need_not() -> None:
    store = Store()
    store.put(1)
    with assert_no_switches():
        assert store.take() == 1
    assert store.waiters.wake_one() is False
    store.waiters.wake_all()


def test_a_time_out_leaves_the_queue(clock: FakeClock) -> None:
    store = Store()
    assert store.take(3) is None
    assert (clock(), len(store.waiters)) == (3, 0)
    store.put(1)
    assert store.take(3) == 1


def test_a_kill_in_the_instant_of_the_turn_passes_it_on() -> None:
    store = Store()
    takers = [graftlet.spawn(store.take) for _ in range(2)]
    wait_all_parked()
    store.put(1)
    takers[0].kill()
    assert isinstance(takers[0].get(), GreenletExit)
    assert takers[1].get() == 1


def test_a_kill_before_the_turn_in_the_same_instant() -> None:
    store = Store()
    takers = [graftlet.spawn(store.take) for _ in range(2)]
    wait_all_parked()
    takers[0].kill()
    store.put(1)
    assert takers[1].get() == 1
    assert takers[0].ready()


def test_a_time_out_in_the_instant_of_the_turn_loses_nothing(clock: FakeClock) -> None:
    store = Store()
    takers = [graftlet.spawn(store.take, 5), graftlet.spawn(store.take)]
    wait_all_parked()
    clock.advance(5)
    store.put(1)
    graftlet.sleep(1)
    taken = [taker.value for taker in takers if taker.ready()]
    assert taken in ([1], [None, 1])
    store.put(2)
    graftlet.joinall(takers)


def test_a_turn_that_somebody_else_was_faster_to_use_stays_first() -> None:
    store = Store()
    takers = [graftlet.spawn(store.take) for _ in range(2)]
    wait_all_parked()
    store.put(1)
    assert store.items.pop() == 1  # by somebody who did not wait
    wait_all_parked()
    assert not any(taker.ready() for taker in takers)
    store.put(2)
    store.put(3)
    assert [taker.get() for taker in takers] == [2, 3]


def test_wake_all_wakes_those_who_wait_now() -> None:
    queue = WaitQueue()
    seen: list[int] = []

    def wait(number: int) -> None:
        for _ in range(2):
            turn = queue.enter("news")
            turn.park()
            queue.leave(turn, True)
            seen.append(number)

    waiters = [graftlet.spawn(wait, number) for number in range(3)]
    wait_all_parked()
    queue.wake_all()
    wait_all_parked()
    assert seen == [0, 1, 2]
    queue.wake_all()
    graftlet.joinall(waiters)
    assert seen == [0, 1, 2, 0, 1, 2]


def test_a_turn_is_parked_until_it_is_notified(hub: Hub, clock: FakeClock) -> None:
    queue = WaitQueue()
    turn = queue.enter("news")
    graftlet.spawn_later(1, hub.run_in_main, lambda: None)  # wakes main, but for something else
    graftlet.spawn_later(2, queue.wake_one)
    assert turn.park(10)
    assert clock() == 2


def test_what_is_waited_for_is_shown() -> None:
    queue = WaitQueue()
    assert repr(queue.enter("the news")) == "'the news'"


# -- In all orders

timeouts = st.one_of(st.none(), st.integers(0, 3))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), timeouts),
        st.tuples(st.just("take within"), st.integers(0, 3)),
        st.tuples(st.just("put"), st.none()),
        st.tuples(st.just("put"), st.none()),
        st.tuples(st.just("kill"), st.integers(0, 20)),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("advance"), st.integers(0, 3)),
        st.tuples(st.just("sleep"), st.integers(0, 3)),
    ),
    max_size=30,
)


@pytest.mark.slow  # some hundred programs of up to thirty steps
@given(steps=steps, seed=st.one_of(st.none(), st.integers(0, 2**16)))
@example([("take", None), ("take", None), ("sleep", 0), ("put", None), ("kill", 0)], None)
@example([("take", 1), ("take", None), ("sleep", 0), ("advance", 1), ("put", None)], None)
@example([("take within", 1), ("sleep", 1), ("put", None), ("cancel", 0)], None)
@settings(max_examples=200)
def test_no_item_and_no_waiter_is_lost(
    steps: Iterable[tuple[str, int | None]], seed: int | None
) -> None:
    clock = FakeClock()
    with fresh_hub(clock) as hub:
        hub.shuffle = None if seed is None else random.Random(seed)
        store = Store()
        takers: list[graftlet.Greenlet] = []
        limits: list[Timeout] = []
        put = 0

        def take_within(seconds: int) -> int | None:
            limit = Timeout(seconds)
            limits.append(limit)
            item = None
            try:
                with limit:
                    item = store.take()
            except Timeout:
                pass
            return item

        for step, number in steps:
            if step == "take":
                takers.append(graftlet.spawn(store.take, number))
            elif step == "take within":
                takers.append(graftlet.spawn(take_within, number))
            elif step == "put":
                store.put(put)
                put += 1
            elif step == "kill" and takers:
                takers[(number or 0) % len(takers)].kill()
            elif step == "cancel" and limits:
                limits[(number or 0) % len(limits)].cancel()
            elif step == "advance":
                clock.advance(number or 0)
            elif step == "sleep":
                graftlet.sleep(number or 0)
        wait_all_parked()

        taken = [taker.value for taker in takers if isinstance(taker.value, int)]
        # Every item was taken once or is still there, in order if the schedule is in order.
        assert sorted(taken + store.items) == list(range(put))
        # Nobody waits while there is something to take.
        waiting = [taker for taker in takers if not taker.ready()]
        assert not (store.items and waiting)
        assert len(store.waiters) == len(waiting)
        graftlet.killall(takers)
        assert len(store.waiters) == 0
        wait_all_parked()
        assert_hub_empty()


# -- Across native threads


@pytest.mark.parametrize("with_hub", [False, True])
def test_a_thread_waits_and_the_hub_wakes_it(with_hub: bool) -> None:
    store = Store()
    taken: list[object] = []

    def run() -> None:
        if with_hub:
            graftlet.get_hub()
        taken.append(store.take(0.001))
        taken.append(store.take())

    thread = threading.Thread(target=run)
    thread.start()
    while not (taken and len(store.waiters)):
        pass
    store.put(1)
    thread.join()
    assert taken == [None, 1]
    assert len(store.waiters) == 0


def test_the_hub_waits_and_a_thread_wakes_it(clock: FakeClock) -> None:
    store = Store()
    thread = threading.Thread(target=store.put, args=(1,))
    with clock.hold():
        thread.start()
        assert store.take(5) == 1
    thread.join()


@pytest.mark.parametrize("native", [1, 3])
def test_items_go_round_between_greenlets_and_threads(
    clock: FakeClock, hub: Hub, native: int
) -> None:
    """Every item is taken once, whoever puts and takes it, wherever."""
    count, greenlets = 300, 3
    store = Store()
    taken: list[int] = []

    def take() -> None:
        while (item := store.take()) != -1:
            assert item is not None
            taken.append(item)

    def put(start: int) -> None:
        for item in range(start, start + count):
            store.put(item)
            if item % 10 == 0:
                graftlet.sleep(0)

    takers = [threading.Thread(target=take) for _ in range(native)]
    putters = [threading.Thread(target=put, args=(n * count,)) for n in range(native)]
    for thread in (*takers, *putters):
        thread.start()
    with clock.hold():
        green_takers = [graftlet.spawn(take) for _ in range(greenlets)]
        green_putters = [
            graftlet.spawn(put, (native + number) * count) for number in range(greenlets)
        ]
        graftlet.joinall(green_putters)
        for thread in putters:
            thread.join()
        for _ in (*takers, *green_takers):
            store.put(-1)
        graftlet.joinall(green_takers)
        for thread in takers:
            thread.join()
    assert sorted(taken) == list(range((native + greenlets) * count))
    assert (store.items, len(store.waiters)) == ([], 0)
    hub.yield_now()  # the rings of the bell that were not needed
