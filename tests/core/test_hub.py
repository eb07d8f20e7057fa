"""The invariants of the one trap: DESIGN, section 2. Each has its direct tests here.

`test_machine.py` has them in all orders, `test_waitqueue.py` those of the hand-over.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import greenlet
import pytest

import graftlet
from graftlet import BlockingCallOnHub, InternalError
from graftlet.core._poller import Watch
from graftlet.core._task import Reason
from graftlet.testing import FakeClock, assert_no_switches, wait_all_parked

if TYPE_CHECKING:
    from collections.abc import Callable

    from graftlet.core._hub import Hub


class Wait:
    """Parks again and again, and writes down how each wait ended."""

    def __init__(self, hub: Hub, *deadlines: float) -> None:
        self.hub = hub
        self.reasons = [Reason(f"wait {number}") for number in range(len(deadlines))]
        self.outcomes: list[object] = []
        self.greenlet = graftlet.spawn(self.work, deadlines)
        wait_all_parked()

    def work(self, deadlines: tuple[float, ...]) -> None:
        for reason, deadline in zip(self.reasons, deadlines, strict=True):
            try:
                self.outcomes.append(self.hub.park(reason, deadline))
            except KeyError as error:
                self.outcomes.append(error)

    def wake(self, number: int) -> bool:
        return self.hub.wake(self.greenlet, self.reasons[number])


INFINITY = float("inf")

# -- 1. One wake, and never one of another wait


def test_a_second_wake_is_dropped(hub: Hub) -> None:
    wait = Wait(hub, INFINITY, INFINITY)
    assert [wait.wake(0), wait.wake(0), wait.wake(1)] == [True, False, False]
    wait_all_parked()
    assert wait.outcomes == [True]
    assert wait.wake(0) is False, "a late wake never reaches the next wait"
    wait_all_parked()
    assert wait.outcomes == [True]
    assert wait.wake(1) is True
    wait.greenlet.join()
    assert wait.outcomes == [True, True]
    assert wait.wake(1) is False


def test_a_wake_before_the_deadline_in_the_same_instant(hub: Hub, clock: FakeClock) -> None:
    wait = Wait(hub, 5, INFINITY)
    clock.advance(5)
    assert wait.wake(0)
    wait_all_parked()
    assert wait.outcomes == [True]
    wait.wake(1)
    wait.greenlet.join()


def test_a_wake_after_the_deadline_in_the_same_instant(hub: Hub, clock: FakeClock) -> None:
    wait = Wait(hub, 5, INFINITY)
    results: list[bool] = []
    hub.call_at(
        5, lambda: results.append(wait.wake(0))
    )  # on the hub, after the greenlet's deadline
    graftlet.sleep(6)
    assert (wait.outcomes, results) == ([False], [False])
    wait.wake(1)
    wait.greenlet.join()


def test_a_deadline_never_reaches_the_next_wait(hub: Hub, clock: FakeClock) -> None:
    wait = Wait(hub, 5, INFINITY, 20)
    wait.wake(0)
    graftlet.sleep(10)
    assert wait.outcomes == [True]
    wait.wake(1)
    wait.greenlet.join()
    assert (wait.outcomes, clock()) == ([True, True, False], 20)


@pytest.mark.parametrize("first", ["wake", "throw"])
def test_a_throw_and_a_wake_in_the_same_instant(hub: Hub, first: str) -> None:
    wait = Wait(hub, INFINITY, INFINITY)
    error = KeyError()
    if first == "wake":
        assert wait.wake(0)
        hub.throw(wait.greenlet, error)
    else:
        hub.throw(wait.greenlet, error)
        assert not wait.wake(0)
    wait_all_parked()
    assert wait.outcomes == [error]
    assert wait.wake(1)
    wait.greenlet.join()
    assert wait.outcomes == [error, True]


def test_a_throw_and_the_deadline_in_the_same_instant(hub: Hub, clock: FakeClock) -> None:
    wait = Wait(hub, 5, INFINITY)
    error = KeyError()
    clock.advance(5)
    hub.throw(wait.greenlet, error)
    wait_all_parked()
    assert wait.outcomes == [error]
    wait.wake(1)
    wait.greenlet.join()
    assert wait.outcomes == [error, True]


def test_three_throws_are_raised_one_at_each_wait(hub: Hub) -> None:
    wait = Wait(hub, INFINITY, INFINITY, INFINITY, INFINITY)
    errors = [KeyError(number) for number in range(3)]
    for error in errors:
        hub.throw(wait.greenlet, error)
    wait_all_parked()
    assert wait.outcomes == errors
    wait.wake(3)
    wait.greenlet.join()


# -- 2. The undo: see test_waitqueue.py, and the leak check after every single test


# -- 3. In the run queue at most once


def test_one_is_ready_at_most_once(hub: Hub, clock: FakeClock) -> None:
    wait = Wait(hub, 5, INFINITY)
    clock.advance(5)
    hub.deadlines.fire(clock())
    wait.wake(0)
    hub.throw(wait.greenlet, KeyError())
    hub.throw(wait.greenlet, KeyError())
    wait.wake(0)
    assert list(hub.ready).count(wait.greenlet) == 1
    wait.greenlet.join()


def test_a_thrown_one_that_yields_is_ready_once(hub: Hub) -> None:
    def work() -> None:
        for _ in range(3):
            try:
                graftlet.sleep(0)
            except KeyError:
                pass

    greenlet = graftlet.spawn(work)
    graftlet.sleep(0)
    assert list(hub.ready) == [greenlet]
    for _ in range(2):
        hub.throw(greenlet, KeyError())
    assert list(hub.ready) == [greenlet]
    greenlet.join()


# -- 4. One batch, then the poll


def test_those_that_never_wait_do_not_starve_deadlines_and_descriptors(
    hub: Hub, clock: FakeClock
) -> None:
    stop: list[str] = []
    rounds = 0

    def busy() -> None:
        nonlocal rounds
        while len(stop) < 3:
            rounds += 1
            clock.advance(0.25)
            graftlet.sleep(0)

    def read() -> None:
        watch = hub.watches[reading] = Watch(reading)
        watch.reader = graftlet.getcurrent()
        hub.poller.arm(watch)
        hub.park(watch)
        watch.reader = None
        hub.forget(watch)
        stop.append("descriptor")

    reading, writing = os.pipe()
    greenlets = [graftlet.spawn(busy), graftlet.spawn(read)]
    graftlet.spawn_later(1, stop.append, "deadline")
    os.write(writing, b"x")
    hub.post(lambda: stop.append("post"))
    graftlet.joinall(greenlets)
    assert sorted(stop) == ["deadline", "descriptor", "post"]
    assert rounds <= 6
    os.close(reading)
    os.close(writing)


def test_what_was_ready_in_time_is_no_time_out_however_late_the_hub_looks(
    hub: Hub, clock: FakeClock
) -> None:
    woken: list[tuple[str, bool]] = []

    def read() -> None:
        watch = hub.watches[reading] = Watch(reading)
        watch.reader = graftlet.getcurrent()
        hub.poller.arm(watch)
        woken.append(("descriptor", hub.park(watch, clock() + 1)))
        watch.reader = None
        hub.forget(watch)

    def wait_for_post() -> None:
        reason = Reason("a post")
        task = graftlet.getcurrent()
        posts.append(lambda: hub.wake(task, reason))
        woken.append(("post", hub.park(reason, clock() + 1)))

    def wait_for_nothing() -> None:
        woken.append(("nothing", hub.park(Reason("nothing"), clock() + 1)))

    posts: list[Callable[[], object]] = []
    reading, writing = os.pipe()
    greenlets = [graftlet.spawn(wait) for wait in (read, wait_for_post, wait_for_nothing)]
    wait_all_parked()
    os.write(writing, b"x")
    hub.post(posts[0])
    clock.advance(5)
    graftlet.joinall(greenlets)
    assert sorted(woken) == [("descriptor", True), ("nothing", False), ("post", True)]
    os.close(reading)
    os.close(writing)


def test_a_greenlet_spawned_in_a_batch_runs_in_the_next(hub: Hub) -> None:
    seen: list[object] = []

    def generation(number: int) -> None:
        seen.append(number)
        if number < 5:
            graftlet.spawn(generation, number + 1)

    hub.post(lambda: seen.append("post"))
    graftlet.spawn(generation, 0)
    wait_all_parked()
    assert seen == [0, "post", 1, 2, 3, 4, 5]


def test_a_batch_passes_from_one_to_the_next(hub: Hub) -> None:
    seen: list[int] = []
    on_hub = 0

    def count(event: str, switch: tuple[greenlet.greenlet, greenlet.greenlet]) -> None:
        nonlocal on_hub
        on_hub += switch[1] is hub.raw

    def turn(number: int) -> None:
        for _ in range(10):
            seen.append(number)
            graftlet.sleep(0)

    greenlets = [graftlet.spawn(turn, number) for number in range(5)]
    before = greenlet.settrace(count)
    try:
        graftlet.joinall(greenlets)
    finally:
        greenlet.settrace(before)
    assert seen == [*range(5)] * 10
    # Once a round, for each start and each end, and for main: not for each of the 50 waits.
    assert 10 <= on_hub <= 25


def test_a_post_that_posts_again_starves_nobody(hub: Hub) -> None:
    seen: list[str] = []

    def again() -> None:
        seen.append("post")
        if len(seen) < 100 and "greenlet" not in seen:
            hub.post(again)

    hub.post(again)
    hub.post(lambda: graftlet.spawn(seen.append, "greenlet"))
    graftlet.sleep(1)
    assert seen.index("greenlet") <= 3


# -- Every wait reads a dozen of the hub's attributes


def test_the_hub_has_no_more_attributes_than_cpython_finds_fast(hub: Hub) -> None:
    assert len(vars(hub)) <= 30


# -- 5. Only non-blocking calls on the hub


def test_a_blocking_call_on_the_hub_is_refused(hub: Hub) -> None:
    errors: list[BaseException] = []

    def callback() -> None:
        for call in (
            lambda: graftlet.sleep(1),
            lambda: graftlet.sleep(0),
            lambda: graftlet.spawn(graftlet.sleep, 1).join(),
            graftlet.idle,
        ):
            with pytest.raises(BlockingCallOnHub, match="never wait") as raised:
                call()
            errors.append(raised.value)

    hub.post(callback)
    graftlet.sleep(5)
    assert len(errors) == 4
    assert (hub.idlers, len(hub.ready)) == ([], 0)


def test_what_fails_on_the_hub_reaches_main_and_the_hub_goes_on(hub: Hub) -> None:
    seen: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError("on the hub")

    hub.post(fail)
    hub.post(lambda: seen.append("the next post"))
    graftlet.spawn(seen.append, "a greenlet")
    with pytest.raises(InternalError, match=r"ZeroDivisionError on the hub.*report it") as raised:
        graftlet.sleep(5)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    wait_all_parked()
    assert sorted(seen) == ["a greenlet", "the next post"]


def test_an_interrupt_on_the_hub_reaches_main_as_it_is(hub: Hub) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    hub.post(interrupt)
    with pytest.raises(KeyboardInterrupt):
        graftlet.sleep(5)


def test_finalizers_may_use_calls_that_do_not_block(hub: Hub) -> None:
    """The garbage collector may run one in the middle of the hub's own work."""
    parked = graftlet.spawn(hub.park, Reason("what never comes"))
    ended = graftlet.spawn(lambda: None)
    wait_all_parked()

    class Resource:
        def __del__(self) -> None:
            with assert_no_switches():
                parked.kill()
                ended.kill()
                graftlet.spawn(lambda: None)
                graftlet.getcurrent()

    resources = [Resource()]
    hub.post(resources.clear)
    parked.join()
    assert isinstance(parked.value, graftlet.GreenletExit)
    wait_all_parked()


# -- 6. Everything that parks says what it waits for


def test_every_wait_has_a_reason(hub: Hub) -> None:
    reading, writing = os.pipe()

    def read() -> None:
        watch = hub.watches[reading] = Watch(reading)
        watch.reader = graftlet.getcurrent()
        hub.poller.arm(watch)
        try:
            hub.park(watch)
        finally:
            watch.reader = None
            hub.forget(watch)

    sleeper = graftlet.spawn(graftlet.sleep, 5)
    joiner = graftlet.spawn(sleeper.join)
    waiter = graftlet.spawn(graftlet.wait, [sleeper])
    finisher = graftlet.spawn(graftlet.wait)
    reader = graftlet.spawn(read)
    wait_all_parked()
    assert repr(sleeper.waiting) == "a sleep to end"
    assert repr(joiner.waiting) == repr(sleeper)
    assert repr(sleeper) in repr(waiter.waiting)
    assert repr(finisher.waiting) == "everything else to end"
    assert repr(reader.waiting) == f"file descriptor {reading}"
    assert graftlet.getcurrent().waiting is None
    graftlet.killall([sleeper, joiner, waiter, finisher, reader])
    os.close(reading)
    os.close(writing)


# -- Calls that are made in main, as those of signal handlers are


def wait_for_others() -> object:
    return graftlet.wait(timeout=10)


@pytest.mark.parametrize(
    ("wait", "seconds", "result"),
    [
        (lambda: graftlet.sleep(10), 10, None),
        (lambda: graftlet.spawn(graftlet.sleep, 10).join(), 10, True),
        (lambda: graftlet.spawn(graftlet.sleep, 20).join(10), 10, False),
        (lambda: len(graftlet.joinall([graftlet.spawn(graftlet.sleep, 10)])), 10, 1),
        (lambda: len(graftlet.wait([graftlet.spawn(graftlet.sleep, 10)])), 10, 1),
        (lambda: graftlet.spawn(graftlet.sleep, 20) and wait_for_others(), 10, False),
        (wait_for_others, 4, True),
    ],
)
def test_a_call_for_main_is_made_in_main_and_its_wait_goes_on(
    hub: Hub, clock: FakeClock, wait: Callable[[], object], seconds: float, result: object
) -> None:
    seen: list[tuple[object, float]] = []

    def call() -> None:
        seen.append((graftlet.getcurrent(), clock()))

    def disturb() -> None:
        for _ in range(4):
            graftlet.sleep(1)
            hub.run_in_main(call)

    graftlet.spawn(disturb)
    assert wait() == result
    assert clock() == seconds
    assert seen == [(hub.main, time) for time in (1, 2, 3, 4)]
    graftlet.wait()


def test_a_call_for_main_may_raise_in_main(hub: Hub) -> None:
    def fail() -> None:
        raise KeyError

    for wait in (lambda: graftlet.sleep(10), lambda: graftlet.spawn(graftlet.sleep, 10).join()):
        graftlet.spawn_later(1, hub.run_in_main, fail)
        with pytest.raises(KeyError):
            wait()
    graftlet.wait()


def test_a_call_for_main_may_wait_itself(hub: Hub, clock: FakeClock) -> None:
    graftlet.spawn_later(1, hub.run_in_main, lambda: graftlet.sleep(3))
    graftlet.sleep(2)
    assert clock() == 4


# -- The hub itself


def test_repr(hub: Hub) -> None:
    assert repr(hub) == f"<Hub at {id(hub):#x} of thread {hub.thread}>"


def test_callbacks_at_one_time_come_in_order(hub: Hub, clock: FakeClock) -> None:
    seen: list[tuple[int, float]] = []
    for number in range(5):
        hub.call_at(2, lambda number=number: seen.append((number, clock())))  # type: ignore[misc] # mypy: lambda with a default
    graftlet.sleep(3)
    assert seen == [(number, 2) for number in range(5)]


def test_closing_twice_does_nothing() -> None:
    from graftlet.testing import fresh_hub

    with fresh_hub() as hub:
        hub.close()
        hub.close()
