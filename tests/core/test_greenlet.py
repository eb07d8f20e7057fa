"""What can be asked of a greenlet: repr, name, value, exception, join, get."""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING, NoReturn

import pytest

import graftlet
from graftlet import Greenlet, GreenletExit, Timeout
from graftlet.testing import FakeClock, assert_no_switches, wait_all_parked

if TYPE_CHECKING:
    from graftlet.core._hub import Hub
    from tests.conftest import Unhandled


def simple_greenlet(*args: object, **kwargs: object) -> object:
    return args, kwargs


def fail() -> NoReturn:
    raise ZeroDivisionError("in fail")


# -- repr and name


def test_repr() -> None:
    greenlet = Greenlet(simple_greenlet, 1, 2, 3, foo=4)
    assert repr(greenlet) == f"<Greenlet at {id(greenlet):#x}: simple_greenlet(1, 2, 3, foo=4)>"


def test_repr_of_a_subclass() -> None:
    class Mine(Greenlet):
        def _run(self) -> None: ...

    assert repr(greenlet := Mine()) == f"<Mine at {id(greenlet):#x}: _run>"


def test_repr_names_methods_and_callables() -> None:
    class Job:
        def work(self) -> None: ...

        def __call__(self) -> None: ...

        def __repr__(self) -> str:
            return "a job"

    assert ": Job.work(1)>" in repr(Greenlet(Job().work, 1))
    assert ": a job()>" in repr(Greenlet(Job()))
    assert ": print('x')>" in repr(Greenlet(print, "x"))


def test_repr_shortens_long_arguments() -> None:
    greenlet = Greenlet(simple_greenlet, "x" * 1000, list(range(1000)), key={1: "y" * 1000})
    assert len(repr(greenlet)) < 400
    assert "..." in repr(greenlet)
    assert "'xxxxxxxx" in repr(greenlet)


def test_repr_survives_arguments_that_have_none() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    assert "Broken" in repr(Greenlet(simple_greenlet, Broken(), key=Broken()))


def test_repr_after_the_end_holds_no_arguments() -> None:
    greenlet = graftlet.spawn(simple_greenlet, 1, foo=2)
    greenlet.join()
    assert repr(greenlet) == f"<Greenlet at {id(greenlet):#x}: simple_greenlet>"
    assert (greenlet.args, greenlet.kwargs) == ((), {})


def test_name() -> None:
    first, second = Greenlet(fail), Greenlet(fail)
    assert first.name.startswith("Greenlet-")
    assert first.name != second.name
    first.name = "the first"
    assert first.name == "the first"
    assert graftlet.getcurrent().name == "MainGreenlet"


# -- The state


def test_the_states_of_a_greenlet_that_returns() -> None:
    greenlet = Greenlet(graftlet.sleep, 1)

    def state() -> tuple[object, ...]:
        return greenlet.started, greenlet.ready(), greenlet.dead, greenlet.successful()

    assert state() == (False, False, False, False)
    greenlet.start()
    assert state() == (True, False, False, False)
    wait_all_parked()
    assert state() == (True, False, False, False)
    greenlet.join()
    assert state() == (False, True, True, True)
    assert (greenlet.value, greenlet.exception) == (None, None)
    assert not greenlet.exc_info


def test_the_states_of_a_greenlet_that_fails(unhandled: Unhandled) -> None:
    greenlet = graftlet.spawn(fail)
    greenlet.join()
    assert (greenlet.ready(), greenlet.dead, greenlet.successful()) == (True, True, False)
    assert greenlet.value is None
    assert isinstance(greenlet.exception, ZeroDivisionError)
    assert greenlet.exc_info
    kind, value, trace = greenlet.exc_info
    assert (kind, value) == (ZeroDivisionError, greenlet.exception)
    assert [frame.name for frame in traceback.extract_tb(trace)][-1] == "fail"
    assert unhandled == [(greenlet, value)]


def test_the_states_of_a_greenlet_that_is_killed() -> None:
    greenlet = graftlet.spawn(graftlet.sleep, 1)
    wait_all_parked()
    greenlet.kill()
    assert not greenlet.ready()
    greenlet.join()
    assert (greenlet.ready(), greenlet.dead, greenlet.successful()) == (True, True, True)
    assert isinstance(greenlet.value, GreenletExit)
    assert greenlet.exception is None
    assert not greenlet.exc_info


# -- join


def test_join_waits_for_the_end(clock: FakeClock) -> None:
    greenlet = graftlet.spawn(graftlet.sleep, 3)
    greenlet.join()
    assert clock() == 3
    with assert_no_switches():
        greenlet.join()
        greenlet.join(0)


def test_join_gives_up_in_time(clock: FakeClock) -> None:
    greenlet = graftlet.spawn(graftlet.sleep, 3)
    assert greenlet.join(2) is False
    assert (clock(), greenlet.ready()) == (2, False)
    assert greenlet.join(0) is False
    assert greenlet.join(-1) is False
    assert greenlet.join(1) is True
    assert clock() == 3


def test_join_raises_nothing(unhandled: Unhandled) -> None:
    greenlet = graftlet.spawn(fail)
    assert greenlet.join() is True
    assert len(unhandled) == 1


@pytest.mark.usefixtures("shuffled_hub")
def test_many_join_one(clock: FakeClock) -> None:
    greenlet = graftlet.spawn(graftlet.sleep, 3)
    joiners = [graftlet.spawn(greenlet.join, seconds) for seconds in (1, 2, 4, None)]
    graftlet.joinall(joiners)
    assert [joiner.value for joiner in joiners] == [False, False, True, True]
    assert clock() == 3


def test_nobody_joins_itself() -> None:
    with pytest.raises(RuntimeError, match="can't wait for its own end"):
        graftlet.getcurrent().join()
    greenlet = graftlet.spawn(lambda: graftlet.getcurrent().join(1))
    with pytest.raises(RuntimeError, match="can't wait for its own end"):
        raise_what_ended(greenlet)


def raise_what_ended(greenlet: Greenlet) -> None:
    graftlet.get_hub().on_unhandled = lambda *_: None
    greenlet.get()


def test_a_killed_joiner_leaves_nothing_behind(hub: Hub) -> None:
    greenlet = graftlet.spawn(graftlet.sleep, 3)
    joiners = [graftlet.spawn(greenlet.join) for _ in range(3)]
    wait_all_parked()
    assert len(greenlet._joiners or ()) == 3
    graftlet.killall(joiners[:2])
    assert len(greenlet._joiners or ()) == 1
    greenlet.join()
    joiners[2].join()
    assert len(greenlet._joiners or ()) == 0


def test_a_native_thread_without_a_hub_joins() -> None:
    outcomes: list[object] = []
    greenlet = graftlet.spawn(graftlet.sleep, 0)

    def join() -> None:
        outcomes.append(greenlet.join(0.001))
        outcomes.append(greenlet.join())
        outcomes.append(greenlet.get())

    thread = threading.Thread(target=join)
    thread.start()
    while not outcomes:
        pass
    greenlet.join()
    thread.join()
    assert outcomes == [False, True, None]


# -- get


def test_get_returns_the_value(clock: FakeClock) -> None:
    def work() -> str:
        graftlet.sleep(2)
        return "done"

    greenlet = graftlet.spawn(work)
    assert greenlet.get() == "done"
    assert clock() == 2
    with assert_no_switches():
        assert greenlet.get(block=False) == "done"
        assert greenlet.get(timeout=0) == "done"


def test_get_raises_what_ended_it_with_its_traceback(unhandled: Unhandled) -> None:
    greenlet = graftlet.spawn(fail)
    depths = []
    for _ in range(3):
        with pytest.raises(ZeroDivisionError, match="in fail") as raised:
            greenlet.get()
        assert raised.value is greenlet.exception
        names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert names[-1] == "fail"
        depths.append(len(names))
    assert len(set(depths)) == 1, "the traceback grows with every get()"
    assert len(unhandled) == 1, "reported once, however often it is asked for"


def test_get_returns_the_exit_of_a_killed_one() -> None:
    greenlet = graftlet.spawn(graftlet.sleep, 1)
    greenlet.kill()
    assert isinstance(greenlet.get(), GreenletExit)


def test_get_without_waiting() -> None:
    greenlet = graftlet.spawn(graftlet.sleep, 1)
    with assert_no_switches(), pytest.raises(Timeout):
        greenlet.get(block=False)
    greenlet.join()


def test_get_gives_up_in_time(clock: FakeClock) -> None:
    greenlet = graftlet.spawn(graftlet.sleep, 3)
    with pytest.raises(Timeout) as raised:
        greenlet.get(timeout=2)
    assert (clock(), raised.value.seconds) == (2, 2)
    greenlet.join()
