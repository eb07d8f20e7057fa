"""Killing: before the start, at a blocking call, after the end, from elsewhere."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

import graftlet
from graftlet import Greenlet, GreenletExit
from graftlet.core._task import Reason
from graftlet.testing import FakeClock, assert_no_switches, wait_all_parked

if TYPE_CHECKING:
    from graftlet.core._hub import Hub
    from tests.conftest import Unhandled


class Custom(Exception):
    pass


def sleep_and_tell(seen: list[object], seconds: float = 10) -> str:
    try:
        graftlet.sleep(seconds)
    except BaseException as error:
        seen.append(error)
        raise
    return "slept"


# -- Before the start


@pytest.mark.parametrize("how", ["made", "spawned", "later"])
def test_killed_before_its_start_it_never_runs(how: str) -> None:
    seen: list[object] = []
    greenlet = Greenlet(seen.append, "ran")
    if how == "spawned":
        greenlet.start()
    elif how == "later":
        greenlet.start_later(5)
    with assert_no_switches():
        greenlet.kill()
        assert greenlet.ready()
        assert greenlet.dead
        assert greenlet.successful()
        assert not greenlet.started
        assert isinstance(greenlet.value, GreenletExit)
        assert isinstance(greenlet.get(), GreenletExit)
    greenlet.start()
    graftlet.sleep(10)
    assert seen == []


def test_killed_before_its_start_with_an_exception_of_ones_own() -> None:
    greenlet = Greenlet(graftlet.sleep)
    error = Custom()
    greenlet.kill(error)
    assert not greenlet.successful()
    assert greenlet.exception is error
    with pytest.raises(Custom):
        greenlet.get()


def test_a_link_and_a_joiner_are_told_of_a_kill_before_the_start() -> None:
    seen: list[object] = []
    greenlet = graftlet.spawn_later(5, seen.append, "ran")
    greenlet.link(seen.append)
    joiner = graftlet.spawn(greenlet.join)
    wait_all_parked()
    greenlet.kill()
    joiner.join()
    assert seen == [greenlet]


# -- At a blocking call


def test_the_exception_is_raised_where_it_waits(clock: FakeClock) -> None:
    seen: list[object] = []
    greenlet = graftlet.spawn(sleep_and_tell, seen)
    wait_all_parked()
    with assert_no_switches():
        greenlet.kill()
    assert seen == []
    greenlet.join()
    assert [type(each) for each in seen] == [GreenletExit]
    assert greenlet.value is seen[0]
    assert clock() == 0


@pytest.mark.parametrize("exception", [Custom, Custom("why")], ids=["class", "instance"])
def test_an_exception_of_ones_own(unhandled: Unhandled, exception: Custom | type[Custom]) -> None:
    seen: list[object] = []
    greenlet = graftlet.spawn(sleep_and_tell, seen)
    wait_all_parked()
    greenlet.kill(exception)
    greenlet.join()
    assert isinstance(greenlet.exception, Custom)
    assert seen == [greenlet.exception]
    assert greenlet.value is None
    assert not greenlet.successful()
    assert unhandled == [(greenlet, greenlet.exception)]
    if isinstance(exception, Custom):
        assert greenlet.exception is exception


def test_a_subclass_of_greenlet_exit_is_a_kill() -> None:
    class Leave(GreenletExit):
        pass

    greenlet = graftlet.spawn(graftlet.sleep, 1)
    wait_all_parked()
    greenlet.kill(Leave)
    greenlet.join()
    assert isinstance(greenlet.value, Leave)
    assert greenlet.successful()


@pytest.mark.parametrize("wrong", [3, "why", object, None])
def test_what_is_no_exception_is_refused(wrong: object) -> None:
    greenlet = graftlet.spawn(graftlet.sleep, 1)
    with pytest.raises(TypeError, match="exception"):
        greenlet.kill(wrong)  # type: ignore[arg-type] # that is the point
    assert greenlet.get() is None
    with pytest.raises(TypeError, match="exception"):
        greenlet.kill(wrong)  # type: ignore[arg-type] # ... also when it has ended


def test_a_kill_can_be_caught(clock: FakeClock) -> None:
    def survive() -> str:
        with pytest.raises(GreenletExit):
            graftlet.sleep(1)
        graftlet.sleep(2)
        return "survived"

    greenlet = graftlet.spawn(survive)
    wait_all_parked()
    greenlet.kill()
    assert greenlet.get() == "survived"
    assert clock() == 2


def test_a_greenlet_that_is_ready_is_killed_at_its_blocking_call() -> None:
    seen: list[object] = []
    greenlet = graftlet.spawn(sleep_and_tell, seen, 0)
    graftlet.sleep(0)
    greenlet.kill()
    greenlet.join()
    assert isinstance(greenlet.value, GreenletExit)
    assert len(seen) == 1


def test_two_kills_are_raised_one_after_the_other() -> None:
    seen: list[object] = []

    def survive_twice() -> None:
        for _ in range(2):
            try:
                graftlet.sleep(10)
            except Custom as error:
                seen.append(error)

    greenlet = graftlet.spawn(survive_twice)
    wait_all_parked()
    errors = [Custom(1), Custom(2)]
    for error in errors:
        greenlet.kill(error)
    greenlet.join()
    assert seen == errors


def test_a_second_kill_never_reaches_beyond_the_end() -> None:
    greenlets = [graftlet.spawn(graftlet.sleep, 10) for _ in range(3)]
    wait_all_parked()
    for greenlet in greenlets:
        for _ in range(3):
            greenlet.kill()
    graftlet.joinall(greenlets)
    # The same workers serve these.
    assert [g.get() for g in [graftlet.spawn(sleep_and_tell, [], 1) for _ in range(3)]] == [
        "slept"
    ] * 3


# -- Oneself


def test_killing_oneself_raises_at_once() -> None:
    seen: list[str] = []

    def work() -> None:
        try:
            with assert_no_switches():
                graftlet.getcurrent().kill()
        finally:
            seen.append("left")
        seen.append("never")

    greenlet = graftlet.spawn(work)
    assert isinstance(greenlet.get(), GreenletExit)
    assert seen == ["left"]


def test_main_can_be_killed_too() -> None:
    main = graftlet.getcurrent()
    greenlet = graftlet.spawn(main.kill, Custom)
    with pytest.raises(Custom):
        graftlet.sleep(10)
    greenlet.join()
    with pytest.raises(Custom):
        main.kill(Custom)


def test_a_callback_on_the_hub_kills_who_ran_last(hub: Hub) -> None:
    """On the hub nobody runs: the one who did last is only one who waits."""
    greenlet = graftlet.spawn(graftlet.sleep, 10)
    hub.call_at(hub.clock() + 1, greenlet.kill)
    graftlet.sleep(0)
    me = hub.current
    never = Reason("what never comes")
    hub.call_at(hub.clock() + 1, lambda: graftlet.getcurrent().kill(Custom))
    hub.call_at(hub.clock() + 2, lambda: hub.wake(me, never))
    with pytest.raises(Custom):
        hub.park(never)
    assert isinstance(greenlet.get(), GreenletExit)
    graftlet.sleep(10)


# -- After the end


def test_killing_an_ended_one_changes_nothing() -> None:
    greenlet = graftlet.spawn(sleep_and_tell, [], 0)
    greenlet.join()
    with assert_no_switches():
        greenlet.kill()
        greenlet.kill(Custom, block=True, timeout=5)
    assert greenlet.value == "slept"


# -- Waiting for the end


def test_kill_and_wait(clock: FakeClock) -> None:
    def reluctant() -> None:
        try:
            graftlet.sleep(10)
        finally:
            graftlet.sleep(3)

    greenlet = graftlet.spawn(reluctant)
    wait_all_parked()
    greenlet.kill(block=True, timeout=1)
    assert not greenlet.ready()
    assert clock() == 1
    greenlet.kill(Custom, block=False)  # cuts the sleep in its ``finally`` short
    graftlet.get_hub().on_unhandled = lambda *_: None
    greenlet.kill(block=True)
    assert greenlet.ready()
    assert clock() == 1


def test_kill_and_wait_for_one_that_was_not_started() -> None:
    greenlet = Greenlet(graftlet.sleep)
    with assert_no_switches():
        greenlet.kill(block=True)
    assert greenlet.ready()


def test_throw_lets_everybody_run_once() -> None:
    seen: list[object] = []
    greenlet = graftlet.spawn(sleep_and_tell, seen)
    wait_all_parked()
    graftlet.getcurrent()
    greenlet.throw(GreenletExit)
    assert greenlet.ready()
    assert len(seen) == 1


# -- From another native thread


def test_killed_from_another_native_thread(clock: FakeClock) -> None:
    outcomes: list[object] = []
    greenlets = [graftlet.spawn(graftlet.sleep, 10) for _ in range(2)]

    def kill() -> None:
        greenlets[0].kill(Custom)
        greenlets[1].kill(block=True)
        outcomes.append(greenlets[1].value)

    graftlet.get_hub().on_unhandled = lambda *_: None
    thread = threading.Thread(target=kill)
    with clock.hold():
        wait_all_parked()
        thread.start()
        graftlet.joinall(greenlets)
        thread.join()
    assert clock() == 0
    assert isinstance(greenlets[0].exception, Custom)
    assert [type(outcome) for outcome in outcomes] == [GreenletExit]


def test_killed_from_another_native_thread_before_its_start(clock: FakeClock) -> None:
    seen: list[str] = []
    greenlet = graftlet.spawn_later(10, seen.append, "ran")
    thread = threading.Thread(target=greenlet.kill)
    with clock.hold():
        thread.start()
        thread.join()
        greenlet.join()
    assert isinstance(greenlet.value, GreenletExit)
    assert seen == []


def test_a_kill_from_another_thread_comes_too_late() -> None:
    greenlet = graftlet.spawn(lambda: "done")
    thread = threading.Thread(target=greenlet.kill, args=(Custom,))
    thread.start()
    thread.join()
    assert greenlet.get() == "done"  # it ends in the batch, before the hub looks at posts
    wait_all_parked()
    assert greenlet.successful()
