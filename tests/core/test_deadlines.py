"""The heap of deadlines against a plain dictionary, and its size against the number of alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import graftlet
from graftlet.core._deadlines import INFINITY, Alarm, Deadlines
from graftlet.testing import FakeClock, wait_all_parked

if TYPE_CHECKING:
    from graftlet.core._hub import Hub


class Bell(Alarm):
    """Writes down that it was due."""

    __slots__ = ("_rung",)

    def __init__(self, rung: list[Bell]) -> None:
        super().__init__()
        self._rung = rung

    def due(self) -> None:
        self._rung.append(self)


class OftenCleaned(Deadlines):
    """A short run would never clean the real one."""

    CLEAN_FROM = 3  # type: ignore[misc] # Final, but not for tests


numbers = st.integers(0, 5)


class DeadlinesMachine(RuleBasedStateMachine):
    """Every way to use `Deadlines`; the model is which alarm wants which deadline."""

    def __init__(self) -> None:
        super().__init__()
        self.rung: list[Bell] = []
        self.deadlines = OftenCleaned()
        self.bells = [Bell(self.rung) for _ in range(6)]
        self.wanted: dict[Bell, int] = {}
        self.now = 0

    @rule(which=numbers, seconds=st.integers(0, 20))
    def want(self, which: int, seconds: int) -> None:
        bell = self.bells[which]
        self.deadlines.want(bell, self.now + seconds)
        self.wanted[bell] = self.now + seconds

    @rule(which=numbers)
    def forget(self, which: int) -> None:
        """What a park does that was woken in time."""
        self.bells[which].deadline = INFINITY
        self.wanted.pop(self.bells[which], None)

    @rule(which=numbers)
    def abandon(self, which: int) -> None:
        self.deadlines.abandon(self.bells[which])
        self.wanted.pop(self.bells[which], None)

    @rule(seconds=st.integers(0, 10))
    def fire(self, seconds: int) -> None:
        self.now += seconds
        following = self.deadlines.fire(self.now)
        due = {bell for bell, deadline in self.wanted.items() if deadline <= self.now}
        for bell in due:
            del self.wanted[bell]
        assert len(self.rung) == len(due)
        assert set(self.rung) == due
        self.rung.clear()
        assert following > self.now
        assert following <= min(self.wanted.values(), default=INFINITY)

    @rule()
    def look(self) -> None:
        earliest = self.deadlines.earliest_wanted()
        assert earliest <= min(self.wanted.values(), default=INFINITY)
        assert (earliest == INFINITY) is (not self.wanted)

    @rule()
    def let_all_fire(self) -> None:
        """As the hub does with a clock that jumps: in the order of time."""
        while self.wanted:
            expected = min(self.wanted.values())
            while not self.rung:
                before, self.now = self.now, int(self.deadlines.earliest_wanted())
                assert before <= self.now <= expected
                self.deadlines.fire(self.now)
            assert self.now == expected
            due = {bell for bell, deadline in self.wanted.items() if deadline == expected}
            assert set(self.rung) == due
            assert len(self.rung) == len(due)
            for bell in due:
                del self.wanted[bell]
            self.rung.clear()
        assert self.deadlines.earliest_wanted() == INFINITY

    @invariant()
    def entries_are_the_alarms_stacks(self) -> None:
        for bell in self.bells:
            entries = sorted(when for when, _, alarm in self.deadlines.heap if alarm is bell)
            stack = []
            armed = bell.armed
            while armed is not None:
                stack.append(armed[0])
                armed = armed[1]
            assert stack == entries
            if bell in self.wanted:
                assert bell.deadline == self.wanted[bell] >= entries[0]
            else:
                assert bell.deadline == INFINITY

    @invariant()
    def the_heap_is_bounded(self) -> None:
        assert len(self.deadlines) <= 2 * (len(self.bells) + self.deadlines.CLEAN_FROM + 1)


TestDeadlines = DeadlinesMachine.TestCase
TestDeadlines.settings = settings(max_examples=150, stateful_step_count=40)


def test_alarms_of_one_time_fire_in_the_order_in_which_they_were_armed() -> None:
    rung: list[Bell] = []
    deadlines = Deadlines()
    bells = [Bell(rung) for _ in range(300)]
    for bell in bells:
        deadlines.want(bell, 5)
    for bell in bells[::2] + bells[::3]:
        deadlines.abandon(bell)  # more than half: cleaned
    assert len(deadlines) < 300
    left = [bell for bell in bells if bell.deadline == 5]
    deadlines.fire(5)
    assert rung == left


def test_a_moved_deadline_has_one_entry() -> None:
    deadlines = Deadlines()
    bell = Bell([])
    for deadline in range(30, 10_000):
        deadlines.want(bell, deadline)
    assert len(deadlines) == 1


def test_an_ever_nearer_deadline_has_few_entries() -> None:
    deadlines = Deadlines()
    rung: list[Bell] = []
    bell = Bell(rung)
    for deadline in range(10_000, 30, -1):
        deadlines.want(bell, deadline)
    assert len(deadlines) <= 2 * Deadlines.CLEAN_FROM
    deadlines.fire(30)
    assert rung == []
    deadlines.fire(31)
    assert rung == [bell]
    deadlines.fire(20_000)
    assert rung == [bell]


# -- In the hub


def test_a_wait_with_a_time_out_costs_no_entry_each(hub: Hub, clock: FakeClock) -> None:
    """Ten thousand waits of thirty seconds that end in time: one entry in the heap."""

    def work() -> None:
        for _ in range(10_000):
            hub.park(work, clock() + 30)

    greenlet = graftlet.spawn(work)
    most = 0
    while not greenlet.ready():
        graftlet.sleep(0)
        hub.wake(greenlet, work)
        clock.advance(0.001)
        most = max(most, len(hub.deadlines))
    assert most == 1


def test_a_lazy_deadline_is_exact_all_the_same(hub: Hub, clock: FakeClock) -> None:
    outcomes: list[object] = []

    def work() -> None:
        outcomes.append((hub.park(work, 30), clock()))
        outcomes.append((hub.park(work, 50), clock()))
        outcomes.append((hub.park(work, 70), clock()))
        outcomes.append((hub.park(work, 71), clock()))

    greenlet = graftlet.spawn(work)
    graftlet.sleep(10)
    hub.wake(greenlet, work)
    graftlet.sleep(10)
    hub.wake(greenlet, work)
    greenlet.join()
    assert outcomes == [(True, 10), (True, 20), (False, 70), (False, 71)]


@pytest.mark.parametrize("count", [1000])
def test_many_timers_that_are_cancelled_leave_a_small_heap(hub: Hub, count: int) -> None:
    for _ in range(count):
        timeout = graftlet.Timeout(3600)
        timeout.start()
        timeout.cancel()
    assert len(hub.deadlines) <= 2 * Deadlines.CLEAN_FROM
    timeouts = [graftlet.Timeout(3600 + number) for number in range(count)]
    for timeout in timeouts:
        timeout.start()
    assert len(hub.deadlines) >= count
    for timeout in timeouts:
        timeout.cancel()
    assert len(hub.deadlines) <= 2 * Deadlines.CLEAN_FROM


def test_thousands_of_sleepers(clock: FakeClock) -> None:
    """They all wake, in the order of their deadlines."""
    count = 3000  # a hundred thousand are the benchmark's
    woken: list[float] = []

    def sleep(seconds: float) -> None:
        graftlet.sleep(seconds)
        woken.append(clock())

    greenlets = [graftlet.spawn(sleep, (number * 7919) % 1000) for number in range(count)]
    graftlet.joinall(greenlets)
    assert len(woken) == count
    assert woken == sorted(woken)
    wait_all_parked()
