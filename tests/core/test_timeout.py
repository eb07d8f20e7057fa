"""Timeout: by hand, as a context manager, swallowed, cancelled in the instant in which it is due."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

import graftlet
from graftlet import Timeout
from graftlet.core._waitqueue import WaitQueue
from graftlet.testing import FakeClock, assert_no_switches, wait_all_parked

if TYPE_CHECKING:
    from graftlet.core._hub import Hub


class Custom(Exception):
    pass


# -- By hand


def test_by_hand(clock: FakeClock) -> None:
    timeout = Timeout(2)
    pending = [timeout.pending]
    timeout.start()
    pending.append(timeout.pending)
    with pytest.raises(Timeout) as raised:
        graftlet.sleep(5)
    assert raised.value is timeout
    assert [*pending, timeout.pending] == [False, True, False]
    assert clock() == 2
    graftlet.sleep(5)


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_cancelled_it_is_never_raised(how: str) -> None:
    timeout = Timeout(2)
    timeout.start()
    getattr(timeout, how)()
    assert not timeout.pending
    graftlet.sleep(5)
    getattr(timeout, how)()  # again, and after its time: nothing happens


def test_cancelled_before_its_start() -> None:
    timeout = Timeout(2)
    timeout.cancel()
    timeout.start()
    timeout.cancel()


def test_it_is_started_once() -> None:
    timeout = Timeout(2)
    timeout.start()
    with pytest.raises(RuntimeError, match="started already"):
        timeout.start()
    timeout.cancel()


def test_it_can_be_used_again(clock: FakeClock) -> None:
    timeout = Timeout(2)
    for _ in range(2):
        timeout.start()
        with pytest.raises(Timeout):
            graftlet.sleep(5)
    assert clock() == 4


def test_start_new(clock: FakeClock) -> None:
    timeout = Timeout.start_new(3)
    assert timeout.pending
    assert Timeout.start_new(timeout) is timeout
    timeout.cancel()
    assert Timeout.start_new(timeout).pending
    with pytest.raises(Timeout):
        graftlet.sleep(5)
    never = Timeout.start_new(None)
    assert not never.pending
    custom = Timeout.start_new(1, Custom)
    with pytest.raises(Custom):
        graftlet.sleep(5)
    assert not custom.pending
    assert clock() == 4


@pytest.mark.parametrize("seconds", [0, -1])
def test_no_time_at_all_is_over_at_the_next_wait(clock: FakeClock, seconds: float) -> None:
    with assert_no_switches():
        timeout = Timeout.start_new(seconds)
    with pytest.raises(Timeout):
        graftlet.sleep(1)
    assert (clock(), timeout.pending) == (0, False)


def test_no_seconds_mean_never(clock: FakeClock) -> None:
    for timeout in (Timeout(), Timeout(None), Timeout(None, Custom)):
        with timeout:
            assert not timeout.pending
            graftlet.sleep(100)
    assert clock() == 300


# -- What is raised


def test_it_is_no_exception_that_a_careless_except_would_swallow() -> None:
    assert not issubclass(Timeout, Exception)
    with pytest.raises(Timeout), Timeout(1), contextlib.suppress(Exception):
        graftlet.sleep(2)


@pytest.mark.parametrize("exception", [None, True])
def test_it_raises_itself(exception: bool | None) -> None:
    timeout = Timeout(1, exception)
    with pytest.raises(Timeout) as raised, timeout:
        graftlet.sleep(2)
    assert raised.value is timeout


def test_an_exception_of_ones_own() -> None:
    with pytest.raises(Custom), Timeout(1, Custom):
        graftlet.sleep(2)
    instance = Custom("why")
    with pytest.raises(Custom) as raised, Timeout(1, instance):
        graftlet.sleep(2)
    assert raised.value is instance


def test_false_swallows_its_own(clock: FakeClock) -> None:
    with Timeout(1, False):
        graftlet.sleep(2)
        pytest.fail("not reached")
    assert clock() == 1
    with pytest.raises(Custom), Timeout(1, False):
        raise Custom


def test_false_raises_by_hand() -> None:
    timeout = Timeout(1, False)
    timeout.start()
    with pytest.raises(Timeout) as raised:
        graftlet.sleep(2)
    assert raised.value is timeout


@pytest.mark.parametrize("wrong", ["2", [], object()])
def test_seconds_that_are_none_are_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="seconds"):
        Timeout(wrong)  # type: ignore[arg-type] # that is the point


@pytest.mark.parametrize("wrong", ["message", 3, object])
def test_what_cannot_be_raised_is_refused_at_once(wrong: object) -> None:
    with pytest.raises(TypeError, match="exception"):
        Timeout(1, wrong)  # type: ignore[arg-type] # that is the point


def test_text() -> None:
    assert str(Timeout(1)) == "1 second"
    assert str(Timeout(1.5)) == "1.5 seconds"
    assert str(Timeout()) == ""
    timeout = Timeout(2, Custom)
    assert repr(timeout) == f"<Timeout at {id(timeout):#x} seconds=2 exception={Custom!r}>"
    with timeout:
        assert repr(timeout).endswith(" pending>")


# -- Within each other


def test_the_inner_one_goes_first(clock: FakeClock) -> None:
    with Timeout(3) as outer, Timeout(1) as inner:
        with pytest.raises(Timeout) as raised:
            graftlet.sleep(5)
        assert raised.value is inner
        with pytest.raises(Timeout) as raised:
            graftlet.sleep(5)
        assert raised.value is outer
    assert clock() == 3


def test_the_outer_one_passes_through_the_inner() -> None:
    outer = Timeout(1)
    with pytest.raises(Timeout) as raised, outer, Timeout(3, False):
        graftlet.sleep(5)
    assert raised.value is outer
    graftlet.sleep(5)


@pytest.mark.parametrize("swallow", [False, None])
def test_both_in_the_same_instant(swallow: bool | None) -> None:
    outer, inner = Timeout(1), Timeout(1, swallow)
    with pytest.raises(Timeout) as raised, outer, inner:
        graftlet.sleep(5)
    assert raised.value is outer
    graftlet.sleep(5)  # the other one was cancelled on the way out


# -- Cancelled in the same instant


def test_cancelled_when_its_time_had_come_already(clock: FakeClock) -> None:
    """The timer has fired, its greenlet just has not run yet."""
    outcomes: list[object] = []
    timeout = Timeout(1)

    def work() -> None:
        timeout.start()
        try:
            graftlet.sleep(10)
        except Timeout as raised:
            outcomes.append(raised)
        outcomes.append(clock())

    def cancel() -> None:
        graftlet.sleep(1)  # is due before the time-out, hence runs before ``work``
        assert greenlet.pending == [timeout]
        timeout.cancel()

    canceller = graftlet.spawn(cancel)
    greenlet = graftlet.spawn(work)
    graftlet.joinall([canceller, greenlet])
    assert outcomes == [10], "not raised, and the sleep was not cut short"


def test_left_in_the_instant_in_which_it_is_due() -> None:
    """What was waited for and the time-out come in one round: the wait ends, nothing comes later."""
    queue = WaitQueue()
    outcomes: list[object] = []

    def work() -> None:
        try:
            with Timeout(1):
                turn = queue.enter("something")
                try:
                    outcomes.append(turn.park())
                finally:
                    outcomes.append(queue.leave(turn, True))
        except Timeout:
            outcomes.append("timeout")
        graftlet.sleep(10)
        outcomes.append("slept")

    greenlet = graftlet.spawn(work)
    graftlet.spawn_later(1, queue.wake_one)
    greenlet.join()
    assert outcomes in (
        [True, True, "slept"],
        [True, "timeout", "slept"],  # woken, and told that it was late anyhow
    )
    assert len(queue) == 0


def test_a_timeout_that_comes_after_the_end_hits_nobody(hub: Hub) -> None:
    timeouts: list[Timeout] = []

    def work() -> None:
        timeout = Timeout(1)
        timeout.start()
        timeouts.append(timeout)

    ended = graftlet.spawn(work)
    ended.join()
    # The same worker.
    after = graftlet.spawn(graftlet.sleep, 5)
    assert after.get() is None
    assert not timeouts[0].pending
    assert ended.pending is None
    assert len(hub.workers) == 1


def test_it_is_raised_in_the_greenlet_that_started_it(clock: FakeClock) -> None:
    def work() -> str:
        try:
            with Timeout(1):
                graftlet.sleep(5)
        except Timeout:
            return f"late at {clock():g}"
        return "in time"

    greenlets = [graftlet.spawn(work), graftlet.spawn_later(0.5, work)]
    graftlet.sleep(3)
    assert [greenlet.get() for greenlet in greenlets] == ["late at 1", "late at 1.5"]


def test_a_greenlet_that_computes_gets_it_at_its_next_wait(clock: FakeClock) -> None:
    timeout = Timeout.start_new(1)
    clock.advance(2)
    assert timeout.pending
    graftlet.sleep(0)  # the hub sees what is due after this round's batch
    with pytest.raises(Timeout):
        graftlet.sleep(0)


# -- with_timeout


def test_with_timeout(clock: FakeClock) -> None:
    def work(seconds: float, *, result: str) -> str:
        graftlet.sleep(seconds)
        return result

    assert graftlet.with_timeout(2, work, 1, result="done") == "done"
    with pytest.raises(Timeout):
        graftlet.with_timeout(2, work, 3, result="done")
    assert graftlet.with_timeout(2, work, 3, result="done", timeout_value="late") == "late"
    assert graftlet.with_timeout(2, work, 3, result="done", timeout_value=None) is None
    assert graftlet.with_timeout(None, work, 3, result="done") == "done"
    assert clock() == 1 + 2 + 2 + 2 + 3
    graftlet.sleep(5)


def test_with_timeout_lets_other_timeouts_through() -> None:
    def work() -> None:
        graftlet.sleep(5)

    with pytest.raises(Timeout) as raised, Timeout(1) as outer:
        graftlet.with_timeout(2, work, timeout_value="late")
    assert raised.value is outer
    with pytest.raises(Custom):
        graftlet.with_timeout(2, raise_custom, timeout_value="late")
    wait_all_parked()


def raise_custom() -> None:
    raise Custom
