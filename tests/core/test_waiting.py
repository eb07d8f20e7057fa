"""sleep, idle, joinall, killall, wait, iwait."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

import graftlet
from graftlet import Greenlet, GreenletExit, Timeout
from graftlet.core._task import Reason
from graftlet.testing import FakeClock, assert_no_switches, assert_switches, wait_all_parked

if TYPE_CHECKING:
    from collections.abc import Callable

    from graftlet.core._hub import Hub
    from tests.conftest import Unhandled

pytestmark = pytest.mark.usefixtures("clock")


def sleep_and_return(seconds: float) -> float:
    graftlet.sleep(seconds)
    return seconds


def fail_after(seconds: float) -> NoReturn:
    graftlet.sleep(seconds)
    raise ZeroDivisionError(seconds)


def sleepers(*seconds: float) -> list[Greenlet]:
    return [graftlet.spawn(sleep_and_return, each) for each in seconds]


# -- sleep


def test_sleep(clock: FakeClock) -> None:
    graftlet.sleep(1.5)
    assert clock() == 1.5
    for seconds in (0, -1, 0.0):
        with assert_switches():
            graftlet.sleep(seconds)
    with assert_switches():
        graftlet.sleep()
    assert clock() == 1.5


def test_sleep_zero_lets_everybody_ready_run_once() -> None:
    seen: list[int] = []

    def work() -> None:
        seen.append(1)
        graftlet.sleep(0)
        seen.append(2)

    greenlet = graftlet.spawn(work)
    graftlet.sleep(0)
    assert seen == [1]
    graftlet.sleep(0)
    assert seen == [1, 2]
    greenlet.join()


def test_sleepers_wake_in_the_order_of_their_deadlines(clock: FakeClock) -> None:
    seen: list[tuple[float, float]] = []

    def sleep(seconds: float) -> None:
        graftlet.sleep(seconds)
        seen.append((seconds, clock()))

    graftlet.joinall([graftlet.spawn(sleep, seconds) for seconds in (3, 1, 2, 1)])
    assert seen == [(1, 1), (1, 1), (2, 2), (3, 3)]


def test_a_native_thread_without_a_hub_sleeps_natively() -> None:
    slept: list[float] = []

    def sleep() -> None:
        before = time.monotonic()
        graftlet.sleep(0.01)
        graftlet.sleep(0)
        slept.append(time.monotonic() - before)

    thread = threading.Thread(target=sleep)
    thread.start()
    thread.join()
    assert slept[0] >= 0.01


# -- idle


def test_idle_waits_until_nobody_is_ready(clock: FakeClock) -> None:
    seen: list[object] = []

    def work() -> None:
        for number in range(3):
            seen.append(number)
            graftlet.sleep(0)
        graftlet.sleep(1)
        seen.append("later")

    greenlet = graftlet.spawn(work)
    graftlet.idle()
    assert (seen, clock()) == ([0, 1, 2], 0)
    greenlet.join()


def test_an_idler_can_be_killed(hub: Hub) -> None:
    def work() -> None:
        for _ in range(10):
            graftlet.sleep(0)

    busy = graftlet.spawn(work)
    idler = graftlet.spawn(graftlet.idle)
    graftlet.sleep(0)
    assert len(hub.idlers) == 1
    idler.kill(block=True)
    assert hub.idlers == []
    busy.join()


# -- joinall


def test_joinall_waits_for_all(clock: FakeClock) -> None:
    greenlets = sleepers(3, 1, 2)
    assert graftlet.joinall(greenlets) == greenlets
    assert clock() == 3
    with assert_no_switches():
        assert graftlet.joinall(greenlets) == greenlets
        assert graftlet.joinall([]) == []
        assert graftlet.joinall(iter(greenlets)) == greenlets


def test_joinall_returns_those_that_ended_in_time(clock: FakeClock) -> None:
    greenlets = sleepers(3, 1, 2)
    assert graftlet.joinall(greenlets, timeout=2.5) == [greenlets[1], greenlets[2]]
    assert clock() == 2.5
    assert graftlet.joinall(greenlets, timeout=0) == [greenlets[1], greenlets[2]]
    assert graftlet.joinall(greenlets, timeout=10) == greenlets
    assert clock() == 3


def test_joinall_with_a_count(clock: FakeClock) -> None:
    greenlets = sleepers(3, 1, 2)
    assert graftlet.joinall(greenlets, count=2) == [greenlets[1], greenlets[2]]
    assert clock() == 2
    assert graftlet.joinall(greenlets, count=0) == [greenlets[1], greenlets[2]]
    assert graftlet.joinall(greenlets, count=10) == greenlets
    assert clock() == 3


def test_joinall_with_a_count_and_a_timeout(clock: FakeClock) -> None:
    greenlets = sleepers(3, 1, 2)
    assert graftlet.joinall(greenlets, timeout=1.5, count=2) == [greenlets[1]]
    assert clock() == 1.5
    graftlet.joinall(greenlets)


def test_joinall_keeps_errors_to_itself_unless_told(unhandled: Unhandled) -> None:
    greenlets = [graftlet.spawn(fail_after, 1), *sleepers(2)]
    assert graftlet.joinall(greenlets) == greenlets
    assert len(unhandled) == 1


def test_joinall_raises_as_soon_as_one_fails(clock: FakeClock, unhandled: Unhandled) -> None:
    greenlets = [*sleepers(3), graftlet.spawn(fail_after, 1), graftlet.spawn(fail_after, 2)]
    with pytest.raises(ZeroDivisionError) as raised:
        graftlet.joinall(greenlets, raise_error=True)
    assert raised.value is greenlets[1].exception
    assert clock() == 1
    graftlet.joinall(greenlets)
    with pytest.raises(ZeroDivisionError):
        graftlet.joinall(greenlets, raise_error=True)


def test_joinall_that_raises_errors_returns_too(clock: FakeClock) -> None:
    greenlets = sleepers(2, 1)
    assert graftlet.joinall(greenlets, timeout=1.5, raise_error=True) == [greenlets[1]]
    assert graftlet.joinall(greenlets, raise_error=True) == greenlets
    killed = sleepers(5)
    wait_all_parked()
    killed[0].kill()
    assert graftlet.joinall(killed, raise_error=True) == killed


def test_joinall_includes_those_that_were_not_started(clock: FakeClock) -> None:
    unstarted = Greenlet(sleep_and_return, 1)
    assert graftlet.joinall([unstarted], timeout=3) == []
    assert clock() == 3
    graftlet.spawn_later(1, unstarted.start)
    assert graftlet.joinall([unstarted]) == [unstarted]


# -- wait and iwait


def test_wait_returns_the_ready_ones_as_they_come(clock: FakeClock) -> None:
    greenlets = sleepers(3, 1, 2)
    assert graftlet.wait(greenlets) == [greenlets[1], greenlets[2], greenlets[0]]
    assert clock() == 3


def test_wait_with_a_timeout_and_a_count(clock: FakeClock) -> None:
    greenlets = sleepers(3, 1, 2)
    assert graftlet.wait(greenlets, count=1) == [greenlets[1]]
    assert clock() == 1
    assert graftlet.wait(greenlets, timeout=1.5) == [greenlets[1], greenlets[2]]
    assert clock() == 2.5
    assert graftlet.wait(greenlets, timeout=0) == [greenlets[1], greenlets[2]]
    assert len(graftlet.wait(greenlets, count=0)) == 0
    assert set(graftlet.wait(greenlets)) == set(greenlets)


def test_wait_takes_whatever_can_be_linked(clock: FakeClock) -> None:
    class Flag:
        def __init__(self) -> None:
            self.receivers: list[Callable[[Flag], object]] = []
            self.is_set = False

        def ready(self) -> bool:
            return self.is_set

        def rawlink(self, callback: Callable[[Flag], object]) -> None:
            self.receivers.append(callback)

        def unlink(self, callback: Callable[[Flag], object]) -> None:
            self.receivers.remove(callback)

        def set(self) -> None:
            self.is_set = True
            for receiver in list(self.receivers):
                receiver(self)

    flag = Flag()
    setter = graftlet.spawn_later(2, flag.set)
    never = Flag()
    assert graftlet.wait([flag, never], count=1) == [flag]
    assert (flag.receivers, never.receivers) == ([], [])
    assert clock() == 2
    setter.join()


def test_iwait_yields_each_as_it_ends(clock: FakeClock) -> None:
    greenlets = sleepers(3, 1, 2)
    seen = [(greenlet.get(block=False), clock()) for greenlet in graftlet.iwait(greenlets)]
    assert seen == [(1, 1), (2, 2), (3, 3)]


def test_iwait_that_is_given_up_leaves_no_link() -> None:
    greenlets = sleepers(3, 1, 2)
    for _ in graftlet.iwait(greenlets):
        break
    assert [greenlet._links for greenlet in greenlets if greenlet._links] == []
    iterator = graftlet.iwait(greenlets)
    next(iterator)
    del iterator
    assert [greenlet._links for greenlet in greenlets if greenlet._links] == []
    graftlet.joinall(greenlets)


def test_iwait_may_be_killed_in_the_middle() -> None:
    greenlets = sleepers(3, 1, 2)
    waiter = graftlet.spawn(graftlet.wait, greenlets)
    graftlet.sleep(1.5)
    waiter.kill(block=True)
    assert [greenlet._links for greenlet in greenlets if greenlet._links] == []
    graftlet.joinall(greenlets)


def test_iwait_ends_when_the_time_is_over(clock: FakeClock) -> None:
    greenlets = sleepers(3, 1, 2)
    assert list(graftlet.iwait(greenlets, timeout=2.5)) == [greenlets[1], greenlets[2]]
    assert clock() == 2.5
    graftlet.joinall(greenlets)


# -- wait for everything


def test_wait_for_everything(clock: FakeClock) -> None:
    greenlets = sleepers(3, 1, 2)
    assert graftlet.wait() is True
    assert clock() == 3
    assert all(greenlet.ready() for greenlet in greenlets)
    assert graftlet.wait() is True


def test_wait_for_everything_with_a_timeout(clock: FakeClock) -> None:
    greenlets = sleepers(3, 1)
    assert graftlet.wait(timeout=2) is False
    assert clock() == 2
    assert graftlet.wait(timeout=100) is True
    assert clock() == 3, "the own time-out is nothing to wait for"
    graftlet.joinall(greenlets)


def test_wait_for_everything_leaves_those_alone_that_wait_for_ever(hub: Hub) -> None:
    parked = graftlet.spawn(hub.park, Reason("what never comes"))
    assert graftlet.wait() is True
    assert graftlet.wait(timeout=10) is True
    assert not parked.ready()
    parked.kill(block=True)


def test_a_finisher_can_be_killed(hub: Hub) -> None:
    waiter = graftlet.spawn(graftlet.wait)
    wait_all_parked()
    assert len(hub.finishers) == 1
    waiter.kill(block=True)
    assert hub.finishers == []


# -- killall


def test_killall_kills_all_and_waits() -> None:
    greenlets = sleepers(3, 1)
    later = graftlet.spawn_later(7, sleep_and_return, 1)
    wait_all_parked()
    unborn = graftlet.spawn(sleep_and_return, 1)
    graftlet.killall([*greenlets, later, unborn])
    for greenlet in (*greenlets, later, unborn):
        assert isinstance(greenlet.value, GreenletExit)
    with assert_no_switches():
        graftlet.killall(greenlets)
        graftlet.killall([])


def test_killall_with_an_exception_and_without_waiting() -> None:
    greenlets = sleepers(3, 1)
    wait_all_parked()
    with assert_no_switches():
        graftlet.killall(greenlets, KeyError, block=False)
    graftlet.get_hub().on_unhandled = lambda *_: None
    graftlet.joinall(greenlets)
    assert [type(greenlet.exception) for greenlet in greenlets] == [KeyError, KeyError]


def test_killall_gives_up_in_time(clock: FakeClock) -> None:
    def reluctant() -> None:
        try:
            graftlet.sleep(10)
        finally:
            graftlet.sleep(3)

    greenlets = [graftlet.spawn(reluctant), *sleepers(5)]
    wait_all_parked()
    with pytest.raises(Timeout):
        graftlet.killall(greenlets, timeout=1)
    assert clock() == 1
    assert [greenlet.ready() for greenlet in greenlets] == [False, True]
    greenlets[0].join()
    assert clock() == 3


def test_killall_kills_the_caller_last() -> None:
    seen: list[str] = []
    others = sleepers(3, 1)

    def work() -> None:
        graftlet.sleep(0.5)
        graftlet.killall([graftlet.getcurrent(), *others])
        seen.append("never")

    greenlet = graftlet.spawn(work)
    graftlet.joinall([greenlet, *others])
    assert seen == []
    assert all(isinstance(each.value, GreenletExit) for each in (greenlet, *others))


def test_killall_refuses_what_is_no_exception_before_it_kills_anybody() -> None:
    greenlets = sleepers(1)
    with pytest.raises(TypeError, match="exception"):
        graftlet.killall(greenlets, "now")  # type: ignore[arg-type] # that is the point
    assert greenlets[0].get() == 1
