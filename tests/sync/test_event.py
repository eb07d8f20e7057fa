"""Events and results: everybody who waits is told, once, whatever happens in between."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graftlet
from graftlet import Greenlet, GreenletExit, Timeout
from graftlet.event import AsyncResult, Event
from graftlet.testing import assert_no_switches, fresh_hub, wait_all_parked
from tests.sync.worlds import World, agree, blocks_natively

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Unhandled


# -- Event


@blocks_natively
def test_as_the_standard_librarys() -> None:
    def body(world: World) -> list[object]:
        event = world.event()
        results = [
            event.is_set(),
            event.wait(0),
            event.wait(-1),
            event.wait(world.short),
            event.clear(),
            event.set(),
            event.set(),
            event.wait(),
            event.wait(0),
            event.is_set(),
            event.clear(),
            event.is_set(),
        ]
        jobs = [world.spawn(event.wait, world.long) for _ in range(3)]
        world.settle()
        event.set()
        return [*results, *(job() for job in jobs)]

    agree(body)


def test_who_waited_is_told_even_if_it_is_cleared_at_once() -> None:
    event = Event()
    waiters = [graftlet.spawn(event.wait, timeout) for timeout in (None, 5)]
    wait_all_parked()
    event.set()
    event.clear()
    assert [waiter.get() for waiter in waiters] == [True, True]
    assert not event.wait(1)


def test_the_names_that_users_know() -> None:
    event = Event()
    assert not event.isSet()
    assert not event.ready()
    assert "unset" in repr(event)
    event.set()
    assert event.isSet()
    assert event.ready()


def test_without_waiting_it_never_switches() -> None:
    event = Event()
    with assert_no_switches():
        assert not event.wait(0)
        event.set()
        assert event.wait()


def test_nothing_is_left_of_a_wait_that_was_killed() -> None:
    event = Event()
    waiter = graftlet.spawn(event.wait)
    wait_all_parked()
    waiter.kill(block=True)
    assert len(event._waiters) == 0


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.sampled_from(["wait", "wait", "wait 1", "set", "pulse", "clear", "kill", "pass", "run"]),
        max_size=30,
    ),
    st.integers(0, 2**16),
)
def test_nobody_sleeps_through_a_set(actions: list[str], order: int) -> None:
    with fresh_hub(seed=order) as hub:
        event = Event()
        waiters: list[Greenlet] = []
        told: set[Greenlet] = set()
        must_end: set[Greenlet] = set()

        def wait(timeout: float | None) -> bool:
            return event.wait(timeout)

        for action in actions:
            if action.startswith("wait"):
                waiters.append(graftlet.spawn(wait, 1 if action.endswith("1") else None))
            elif action in {"set", "pulse"}:
                told.update(waiter for waiter in waiters if waiter.waiting is not None)
                event.set()
                if action == "pulse":
                    event.clear()
            elif action == "clear":
                event.clear()
            elif action == "kill" and waiters:
                must_end.add(waiters[-1])
                waiters[-1].kill()
            elif action == "pass":
                hub.clock.advance(1)  # type: ignore[attr-defined] # fresh_hub's FakeClock
            elif action == "run":
                graftlet.sleep(0)
        wait_all_parked()
        for waiter in told:
            assert waiter.ready()
            assert waiter.value is True or waiter in must_end
        waiting = [waiter for waiter in waiters if not waiter.ready()]
        assert not (waiting and event.is_set())
        assert not must_end.intersection(waiting)
        assert len(event._waiters) == len(waiting)
        graftlet.killall(waiting)


# -- Links


@pytest.mark.parametrize("make", [Event, AsyncResult])
def test_links_are_told_once(make: Callable[[], Any]) -> None:
    thing = make()
    told: list[object] = []
    thing.rawlink(told.append)
    thing.rawlink(told.append)
    taken_back: list[object] = []
    other = taken_back.append
    thing.rawlink(other)
    thing.unlink(other)
    thing.unlink(other)
    thing.set()
    thing.set()
    wait_all_parked()
    assert told == [thing, thing]
    assert taken_back == []
    thing.rawlink(told.append)
    assert len(told) == 2  # not inside of the call
    wait_all_parked()
    assert told == [thing] * 3
    with pytest.raises(TypeError, match="rawlink"):
        thing.rawlink("no function")


def test_a_link_that_fails_is_reported_and_the_others_are_told(unhandled: Unhandled) -> None:
    event = Event()
    told: list[object] = []

    def fail(_: object) -> None:
        raise ValueError("a link")

    event.rawlink(fail)
    event.rawlink(told.append)
    event.set()
    assert told == [event]
    assert [str(error) for _, error in unhandled] == ["a link"]


def test_iwait_takes_events_and_results() -> None:
    event, result, greenlet = Event(), AsyncResult[int](), graftlet.spawn_later(2, int)
    graftlet.spawn_later(3, event.set)
    graftlet.spawn_later(1, result.set, 5)
    things: list[Any] = [event, result, greenlet]
    assert list(graftlet.iwait(things)) == [result, greenlet, event]
    assert graftlet.wait([event, Event()], timeout=1) == [event]


# -- AsyncResult


def test_a_value() -> None:
    result = AsyncResult[int]()
    assert (result.ready(), result.successful(), result.value, result.exc_info) == (
        False,
        False,
        None,
        (),
    )
    assert "unset" in repr(result)
    waiters = [graftlet.spawn(result.get), graftlet.spawn(result.wait)]
    wait_all_parked()
    result.set(5)
    assert [waiter.get() for waiter in waiters] == [5, 5]
    assert (result.ready(), result.successful(), result.value) == (True, True, 5)
    assert result.exception is None
    assert result.exc_info == ()
    assert (result.get(), result.get_nowait(), result.wait()) == (5, 5, 5)
    assert "value=5" in repr(result)
    result.set(6)
    assert result.get() == 6


def test_nothing_yet() -> None:
    result = AsyncResult[int]()
    with assert_no_switches():
        for call in (result.get_nowait, lambda: result.get(block=False)):
            with pytest.raises(Timeout):
                call()
    with pytest.raises(Timeout) as caught:
        result.get(timeout=3)
    assert caught.value.seconds == 3
    assert result.wait(timeout=3) is None


def test_an_exception_keeps_its_traceback() -> None:
    def fail() -> None:
        raise ValueError("from afar")

    result = AsyncResult[int]()
    try:
        fail()
    except ValueError as error:
        result.set_exception(error)
    for _ in range(3):
        with pytest.raises(ValueError, match="afar") as caught:
            result.get()
        names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert names.count("fail") == 1
        assert names[-1] == "fail"
    assert result.wait() is None
    assert result.exc_info[:2] == (ValueError, result.exception)
    assert not result.successful()
    assert "exception=" in repr(result)
    with pytest.raises(TypeError, match="exception"):
        result.set_exception("nothing to raise")  # type: ignore[arg-type] # that is the test


def test_a_class_is_made_an_exception() -> None:
    result = AsyncResult[int]()
    result.set_exception(KeyError)
    with pytest.raises(KeyError):
        result.get()


def test_as_the_receiver_of_a_link(unhandled: Unhandled) -> None:
    def work(value: object) -> object:
        if isinstance(value, Exception):
            raise value
        graftlet.sleep(value)  # type: ignore[arg-type] # a number
        return value

    good, bad, killed = AsyncResult[int](), AsyncResult[int](), AsyncResult[object]()
    for argument, result in ((1, good), (ValueError("no"), bad)):
        graftlet.spawn(work, argument).link(result)
    victim = graftlet.spawn(work, 100)
    victim.link(killed)
    wait_all_parked()
    victim.kill()
    assert good.get() == 1
    with pytest.raises(ValueError, match="no"):
        bad.get()
    assert bad.exc_info and bad.exc_info[0] is ValueError
    assert isinstance(killed.get(), GreenletExit)
    assert len(unhandled) == 1
