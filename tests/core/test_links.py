"""Links: who is told that a greenlet has ended, how, and that everybody is told once."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

import graftlet
from graftlet import Greenlet, GreenletExit
from graftlet.core._links import LinkedCompleted, LinkedExited, LinkedFailed, LinkedKilled
from graftlet.testing import FakeClock, assert_no_switches, wait_all_parked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Unhandled


def succeed() -> str:
    return "done"


def fail() -> NoReturn:
    raise ZeroDivisionError("in fail")


def leave() -> NoReturn:
    raise GreenletExit


def news(spawn: Callable[..., Greenlet], function: Callable[[], object]) -> LinkedExited | None:
    """What the spawner gets from a linked child within ten seconds."""
    child = spawn(function)
    try:
        graftlet.sleep(10)
    except LinkedExited as told:
        news = told
    else:
        return None
    assert news.greenlet is child
    return news


# -- spawn_link and its family


@pytest.mark.parametrize(
    ("spawn", "function", "expected"),
    [
        (graftlet.spawn_link, succeed, LinkedCompleted),
        (graftlet.spawn_link, fail, LinkedFailed),
        (graftlet.spawn_link, leave, LinkedKilled),
        (graftlet.spawn_link_value, succeed, LinkedCompleted),
        (graftlet.spawn_link_value, fail, type(None)),
        (graftlet.spawn_link_exception, succeed, type(None)),
        (graftlet.spawn_link_exception, fail, LinkedFailed),
        (graftlet.spawn_link_exception, leave, type(None)),
    ],
)
def test_the_spawner_is_told(
    spawn: Callable[..., Greenlet],
    function: Callable[[], object],
    expected: type,
    unhandled: Unhandled,
) -> None:
    told = news(spawn, function)
    assert type(told) is expected
    assert len(unhandled) == (function is fail)
    if told is not None:
        assert isinstance(told, LinkedExited)


def test_the_spawner_is_told_of_a_kill() -> None:
    def kill_soon(function: Callable[[], object]) -> Greenlet:
        child = graftlet.spawn_link(function)
        graftlet.spawn_later(1, child.kill)
        return child

    told = news(kill_soon, lambda: graftlet.sleep(5))
    assert type(told) is LinkedKilled
    graftlet.sleep(0)


def test_the_spawner_is_told_at_once_when_the_child_was_killed_before_its_start() -> None:
    child = graftlet.spawn_link(succeed)
    with assert_no_switches():
        child.kill()
    with pytest.raises(LinkedKilled):
        graftlet.sleep(0)


def test_the_news_say_what_happened(unhandled: Unhandled) -> None:
    completed = news(graftlet.spawn_link, succeed)
    failed = news(graftlet.spawn_link, fail)
    killed = news(graftlet.spawn_link, leave)
    assert failed is not None
    assert isinstance(failed.__cause__, ZeroDivisionError)
    assert "succeed> completed successfully" in str(completed)
    assert "fail> failed with ZeroDivisionError" in str(failed)
    assert "leave> was killed with GreenletExit" in str(killed)


def test_the_spawner_is_told_in_the_greenlet_that_spawned() -> None:
    outcomes: list[object] = []

    def parent() -> None:
        outcomes.append(type(news(graftlet.spawn_link, succeed)))

    graftlet.spawn(parent).join()
    graftlet.sleep(20)
    assert outcomes == [LinkedCompleted]


def test_an_ended_spawner_is_not_told() -> None:
    def parent() -> None:
        graftlet.spawn_link(graftlet.sleep, 5)

    graftlet.spawn(parent).join()
    graftlet.sleep(10)


# -- link: a callable


@pytest.mark.parametrize("function", [succeed, fail, leave])
def test_a_callable_is_called_with_the_ended_greenlet(
    function: Callable[[], object], unhandled: Unhandled
) -> None:
    told: dict[str, list[Greenlet]] = {"any": [], "value": [], "exception": [], "raw": []}
    greenlet = graftlet.spawn(function)
    greenlet.link(told["any"].append)
    greenlet.link_value(told["value"].append)
    greenlet.link_exception(told["exception"].append)
    greenlet.rawlink(told["raw"].append)
    greenlet.join()
    wait_all_parked()
    failed = function is fail
    assert told == {
        "any": [greenlet],
        "value": [] if failed else [greenlet],
        "exception": [greenlet] if failed else [],
        "raw": [greenlet],
    }


def test_links_are_told_in_their_order_when_the_result_is_there() -> None:
    told: list[tuple[int, object]] = []

    def receive(number: int, ended: Greenlet) -> None:
        told.append((number, ended.get(block=False)))

    greenlet = graftlet.spawn(succeed)
    for number in range(5):
        greenlet.link(functools.partial(receive, number))
    greenlet.join()
    wait_all_parked()
    assert told == [(number, "done") for number in range(5)]


def test_linking_to_an_ended_greenlet_still_tells(unhandled: Unhandled) -> None:
    told: list[str] = []
    good, bad = graftlet.spawn(succeed), graftlet.spawn(fail)
    graftlet.joinall([good, bad])
    with assert_no_switches():
        good.link(lambda _: told.append("good"))
        good.link_value(lambda _: told.append("good value"))
        good.link_exception(lambda _: told.append("never"))
        good.rawlink(lambda _: told.append("good raw"))
        bad.link_exception(lambda _: told.append("bad exception"))
        bad.link_value(lambda _: told.append("never"))
        assert told == [], "a link is never told inside of the call that makes it"
    wait_all_parked()
    assert told == ["good", "good value", "good raw", "bad exception"]


def test_a_greenlet_that_was_killed_unstarted_still_tells_later_links() -> None:
    told: list[Greenlet] = []
    greenlet = Greenlet(succeed)
    greenlet.kill()
    greenlet.link(told.append)
    wait_all_parked()
    assert told == [greenlet]


def test_unlink() -> None:
    told: list[str] = []

    def first(_: object) -> None:
        told.append("first")

    def second(_: object) -> None:
        told.append("second")

    greenlet = graftlet.spawn(succeed)
    for receiver in (first, second, first):
        greenlet.link(receiver)
    greenlet.unlink(first)
    greenlet.unlink(lambda _: None)  # was never linked: nothing happens
    greenlet.join()
    wait_all_parked()
    assert told == ["second"]


def test_a_bound_method_is_unlinked_by_an_equal_one() -> None:
    class Receiver:
        told = 0

        def receive(self, _: Greenlet) -> None:
            self.told += 1

    receiver = Receiver()
    greenlet = graftlet.spawn(succeed)
    greenlet.link(receiver.receive)
    greenlet.unlink(receiver.receive)
    greenlet.join()
    assert receiver.told == 0


def test_a_link_made_while_links_are_told_is_told() -> None:
    told: list[str] = []
    greenlet = graftlet.spawn(succeed)
    greenlet.link(lambda ended: ended.link(lambda _: told.append("inner")))
    greenlet.join()
    wait_all_parked()
    assert told == ["inner"]


@pytest.mark.parametrize("wrong", [3, "receiver", object()])
def test_a_receiver_of_another_kind_is_refused(wrong: Any) -> None:
    greenlet = Greenlet(succeed)
    with pytest.raises(TypeError, match="link"):
        greenlet.link(wrong)


# -- Receivers that fail


def test_a_receiver_that_fails_is_reported_and_the_others_are_told(unhandled: Unhandled) -> None:
    told: list[Greenlet] = []
    greenlet = graftlet.spawn(succeed)
    greenlet.link(lambda _: fail())
    greenlet.link(told.append)
    greenlet.join()
    wait_all_parked()
    assert told == [greenlet]
    assert greenlet.successful()
    assert [type(error) for _, error in unhandled] == [ZeroDivisionError]


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt])
def test_a_receiver_that_exits_does_so_in_main_and_the_others_are_told(
    exception: type[BaseException],
) -> None:
    def leave_all(_: Greenlet) -> NoReturn:
        raise exception

    told: list[Greenlet] = []
    greenlet = graftlet.spawn(succeed)
    greenlet.link(leave_all)
    greenlet.link(told.append)
    with pytest.raises(exception):
        graftlet.sleep(1)
    assert told == [greenlet]


def test_a_receiver_that_is_a_greenlet_exit_stops_nobody(unhandled: Unhandled) -> None:
    told: list[Greenlet] = []
    greenlet = graftlet.spawn(succeed)
    greenlet.link(lambda _: leave())
    greenlet.link(told.append)
    greenlet.join()
    wait_all_parked()
    assert told == [greenlet]


def test_a_receiver_that_exits_when_an_unstarted_greenlet_is_killed(unhandled: Unhandled) -> None:
    told: list[Greenlet] = []
    greenlet = graftlet.spawn(succeed)
    greenlet.link(lambda _: fail())
    greenlet.link(told.append)
    greenlet.kill()
    wait_all_parked()
    assert told == [greenlet]
    assert [type(error) for _, error in unhandled] == [ZeroDivisionError]


# -- link: a greenlet, or the current one


def test_none_means_the_greenlet_that_links() -> None:
    greenlet = graftlet.spawn(succeed)
    greenlet.link()
    with pytest.raises(LinkedCompleted) as raised:
        graftlet.sleep(1)
    assert raised.value.greenlet is greenlet
    graftlet.sleep(1)


def test_the_news_interrupt_a_join_of_the_same_greenlet() -> None:
    """The classic: ``g = spawn_link(f); g.join()`` raises."""
    greenlet = graftlet.spawn_link(graftlet.sleep, 1)
    with pytest.raises(LinkedCompleted):
        greenlet.join()


def test_linking_to_an_ended_greenlet_raises_at_the_next_wait() -> None:
    greenlet = graftlet.spawn(succeed)
    greenlet.join()
    greenlet.link()
    with pytest.raises(LinkedCompleted):
        graftlet.sleep(1)


def test_unlink_none() -> None:
    greenlet = graftlet.spawn_link(succeed)
    greenlet.unlink()
    graftlet.sleep(1)
    assert greenlet.ready()


def test_another_greenlet_receives_the_news(clock: FakeClock) -> None:
    def receive() -> object:
        try:
            graftlet.sleep(10)
        except LinkedFailed as told:
            return told.greenlet, clock()
        return None

    def fail_later() -> None:
        graftlet.sleep(2)
        fail()

    graftlet.get_hub().on_unhandled = lambda *_: None
    receiver = graftlet.spawn(receive)
    greenlet = graftlet.spawn(fail_later)
    greenlet.link_exception(receiver)
    greenlet.link_value(receiver)
    assert receiver.get() == (greenlet, 2)


def test_a_greenlet_that_ends_of_the_news_passes_them_on(unhandled: Unhandled) -> None:
    """A chain of links: one ends of the other."""
    last = graftlet.spawn(graftlet.sleep, 10)
    middle = graftlet.spawn(graftlet.sleep, 10)
    first = graftlet.spawn(graftlet.sleep, 1)
    first.link(middle)
    middle.link(last)
    graftlet.joinall([first, middle, last])
    assert isinstance(middle.exception, LinkedCompleted)
    assert isinstance(last.exception, LinkedFailed)
    assert last.exception.greenlet is middle
    assert last.exception.__cause__ is middle.exception
    assert [greenlet for greenlet, _ in unhandled] == [middle, last]


def test_an_unstarted_receiver_ends_of_the_news() -> None:
    receiver = graftlet.spawn_later(5, succeed)
    greenlet = graftlet.spawn(succeed)
    greenlet.link(receiver)
    greenlet.join()
    wait_all_parked()
    assert isinstance(receiver.exception, LinkedCompleted)


def test_an_ended_receiver_is_left_alone() -> None:
    receiver = graftlet.spawn(succeed)
    greenlet = graftlet.spawn(graftlet.sleep, 1)
    greenlet.link(receiver)
    graftlet.joinall([receiver, greenlet])
    assert receiver.get() == "done"


def test_a_receiver_of_another_native_thread(clock: FakeClock) -> None:
    outcomes: list[object] = []
    main = graftlet.getcurrent()

    def run() -> None:
        greenlet = graftlet.spawn(succeed)
        greenlet.link(main)
        greenlet.join()

    thread = threading.Thread(target=run)
    with clock.hold():
        thread.start()
        try:
            graftlet.sleep(1)
        except LinkedCompleted as told:
            outcomes.append(told.greenlet.value)
    thread.join()
    assert outcomes == ["done"]


def test_nobody_is_linked_to_itself() -> None:
    def work() -> str:
        with pytest.raises(ValueError, match="itself"):
            graftlet.getcurrent().link()
        return "done"

    assert graftlet.spawn(work).get() == "done"
