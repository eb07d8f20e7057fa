"""Queues under kills, time-outs and shutdown in every order: no item is lost or made, nobody sleeps on."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graftlet
from graftlet import Greenlet, GreenletExit, queue
from graftlet.testing import fresh_hub, wait_all_parked

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["put", "get", "peek"]), st.sampled_from([None, None, 1])),
        st.tuples(st.sampled_from(["put_nowait", "get_nowait"]), st.just(0)),
        st.tuples(st.just("kill"), st.integers(0, 9)),
        st.tuples(st.just("pass"), st.integers(0, 1)),
        st.tuples(st.just("run"), st.just(0)),
        st.tuples(st.just("settle"), st.just(0)),
    ),
    max_size=40,
)


class Race:
    """Runs actions on a queue and keeps the books."""

    def __init__(self, there: Any, actions: list[tuple[str, Any]], order: int) -> None:
        self.there = there
        self.put: Counter[int] = Counter()
        self.got: Counter[int] = Counter()
        #: With what they put.
        self.numbers: dict[Greenlet, int] = {}
        self.putters: list[Greenlet] = []
        self.getters: list[Greenlet] = []
        self.number = 0
        self.order = order
        self.actions = actions

    def wait_to_put(self, number: int, timeout: float | None) -> None:
        try:
            self.there.put(number, timeout=timeout)
        except (queue.Full, queue.ShutDown):
            return
        self.put[number] += 1

    def wait_to_get(self, timeout: float | None, method: str) -> None:
        try:
            item = getattr(self.there, method)(timeout=timeout)
        except (queue.Empty, queue.ShutDown):
            return
        if method == "get":
            self.got[item] += 1

    def run(self) -> None:
        with fresh_hub(seed=self.order) as hub:
            for action, argument in self.actions:
                self.number += 1
                if action == "put":
                    putter = graftlet.spawn(self.wait_to_put, self.number, argument)
                    self.numbers[putter] = self.number
                    self.putters.append(putter)
                elif action in {"get", "peek"} and hasattr(self.there, action):
                    self.getters.append(graftlet.spawn(self.wait_to_get, argument, action))
                elif action == "put_nowait":
                    try:
                        self.there.put_nowait(self.number)
                        self.put[self.number] += 1
                    except (queue.Full, queue.ShutDown):
                        pass
                elif action == "get_nowait":
                    try:
                        self.got[self.there.get_nowait()] += 1
                    except (queue.Empty, queue.ShutDown):
                        pass
                elif action == "kill" and (everybody := self.putters + self.getters):
                    everybody[argument % len(everybody)].kill()
                elif action == "pass":
                    hub.clock.advance(argument)  # type: ignore[attr-defined] # a FakeClock
                elif action == "run":
                    graftlet.sleep(0)
                elif action == "settle":
                    wait_all_parked()
                elif action == "shutdown":
                    self.there.shutdown(argument)
            wait_all_parked()
            self.check()
            graftlet.killall(self.waiting(self.putters) + self.waiting(self.getters))

    @staticmethod
    def waiting(greenlets: list[Greenlet]) -> list[Greenlet]:
        return [greenlet for greenlet in greenlets if not greenlet.ready()]

    def check(self) -> None:
        raise NotImplementedError


class QueueRace(Race):
    """A queue with items in it."""

    def check(self) -> None:
        there = self.there
        getters, putters = self.waiting(self.getters), self.waiting(self.putters)
        left = Counter(there.queue if hasattr(there, "queue") else [])
        if hasattr(there, "queue"):
            assert self.put == self.got + left
        assert not (getters and there.qsize()), "an item is there, and somebody waits for one"
        assert len(there._getters) == len(getters) if hasattr(there, "_getters") else True
        if isinstance(there, queue.Queue):
            assert not (putters and not there.full()), "there is room, and somebody waits for it"
            assert len(there._putters) == len(putters)
            assert there.unfinished_tasks == self.put.total()
            assert there._entry == [None]
        else:
            # It is all in the native queue.
            rest = Counter(there.get_nowait() for _ in range(there.qsize()))
            assert self.put == self.got + rest


@pytest.mark.parametrize(
    "make", [queue.Queue, queue.LifoQueue, queue.PriorityQueue, queue.SimpleQueue]
)
@settings(max_examples=80, deadline=None)
@given(maxsize=st.integers(0, 2), actions=ACTIONS, order=st.integers(0, 2**16))
def test_no_item_is_lost_or_made(
    make: type[Any], maxsize: int, actions: list[tuple[str, Any]], order: int
) -> None:
    QueueRace(make() if make is queue.SimpleQueue else make(maxsize), actions, order).run()


class ShutdownRace(Race):
    """A queue that is shut down at some time."""

    def check(self) -> None:
        there = self.there
        if there.is_shutdown:
            assert not self.waiting(self.putters)
            assert not self.waiting(self.getters)
        assert not (self.got + Counter(there.queue)) - self.put, "an item was made"
        assert there._entry == [None]


@settings(max_examples=60, deadline=None)
@given(
    maxsize=st.integers(0, 2),
    before=ACTIONS,
    immediate=st.booleans(),
    after=ACTIONS,
    order=st.integers(0, 2**16),
)
def test_a_shutdown_ends_every_wait(
    maxsize: int,
    before: list[tuple[str, Any]],
    immediate: bool,
    after: list[tuple[str, Any]],
    order: int,
) -> None:
    actions = [*before, ("shutdown", immediate), *after]
    ShutdownRace(queue.Queue(maxsize), actions, order).run()


class ChannelRace(Race):
    """Nobody but the putters has the items."""

    def check(self) -> None:
        getters, putters = self.waiting(self.getters), self.waiting(self.putters)
        assert not (getters and putters), "a putter and a getter wait for each other"
        assert len(self.there._getters) == len(getters)
        # What was put without waiting, and given to a getter that was killed, lies there still.
        left = Counter(offer.item for offer in self.there._offers._turns)
        left.subtract(self.numbers[putter] for putter in putters)
        assert all(number >= 0 for number in left.values())
        left = +left
        assert not self.put - (self.got + left), "an item that was put was not delivered"
        # A putter that was killed in the instant of the delivery doesn't know of it.
        unknown = (self.got + left) - self.put
        assert all(number == 1 for number in unknown.values())
        killed = (putter for putter in self.putters if isinstance(putter.value, GreenletExit))
        assert set(unknown) <= {self.numbers[putter] for putter in killed}


@settings(max_examples=80, deadline=None)
@given(actions=ACTIONS, order=st.integers(0, 2**16))
def test_a_channel_delivers_each_item_once(actions: list[tuple[str, Any]], order: int) -> None:
    ChannelRace(queue.Channel(), actions, order).run()
