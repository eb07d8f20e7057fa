"""Conditions: as the standard library's; the lock is held again after every wait; no notification is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graftlet
from graftlet import Greenlet, GreenletExit, Timeout
from graftlet.lock import Condition, Lock, RLock
from graftlet.testing import fresh_hub, wait_all_parked
from tests.sync.worlds import World, agree, blocks_natively, raised

if TYPE_CHECKING:
    from collections.abc import Callable


# -- As the standard library's


@blocks_natively
@pytest.mark.parametrize("kind", ["lock", "rlock", "none"])
def test_arguments_and_results(kind: str) -> None:
    def body(world: World) -> list[object]:
        condition = world.condition(getattr(world, kind)() if kind != "none" else None)
        results: list[object] = [
            raised(condition.wait),
            raised(condition.notify),
            raised(condition.notify_all),
            raised(condition.wait_for, lambda: False),
            raised(condition.release),
        ]
        with condition as entered:
            results += [
                entered,
                condition.wait(world.short),
                condition.wait(0),
                condition.wait(-1),
                condition.wait_for(lambda: 0, world.short),
                condition.wait_for(lambda: 0, 0),
                condition.wait_for(lambda: "yes", 0),
                condition.wait_for(lambda: "yes"),
                raised(condition.notify),
                raised(condition.notify, 3),
                raised(condition.notify_all),
            ]
        results += [condition.acquire(), condition.release()]

        def take() -> object:
            taken = condition.acquire(True, world.long)
            condition.notify()
            condition.release()
            return taken

        if kind != "lock":
            with condition, condition:
                job = world.spawn(take)
                # Both holds are given up for the wait.
                results += [condition.wait(world.long)]
        else:
            job = world.spawn(take)
        return [*results, job()]

    agree(body)


@blocks_natively
def test_everybody_who_waits_is_notified() -> None:
    def body(world: World) -> object:
        condition = world.condition()
        waiting: list[int] = []
        ready = False

        def wait(number: int) -> object:
            with condition:
                waiting.append(number)
                return condition.wait_for(lambda: ready and number, world.long)

        jobs = [world.spawn(wait, number) for number in range(1, 6)]
        while len(waiting) < 5:
            world.settle()
        with condition:
            ready = True
            condition.notify_all()
        return [job() for job in jobs]

    agree(body)


@blocks_natively
def test_a_bounded_buffer() -> None:
    def body(world: World) -> object:
        condition = world.condition()
        items: list[int] = []
        taken: list[int] = []

        def put() -> None:
            for number in range(20):
                with condition:
                    condition.wait_for(lambda: len(items) < 2)
                    items.append(number)
                    condition.notify_all()

        def take() -> None:
            for _ in range(20):
                with condition:
                    condition.wait_for(lambda: items)
                    taken.append(items.pop(0))
                    condition.notify_all()

        jobs = [world.spawn(task) for task in (put, take, put, take)]
        for job in jobs:
            job()
        return sorted(taken)

    agree(body)


# -- Its own


def test_a_notification_for_one_killed_in_the_same_instant_goes_to_the_next() -> None:
    condition = Condition()

    def wait() -> bool:
        with condition:
            return condition.wait()

    first, second = graftlet.spawn(wait), graftlet.spawn(wait)
    wait_all_parked()
    with condition:
        condition.notify()
    first.kill()
    assert second.get() is True
    assert isinstance(first.get(), GreenletExit)


@pytest.mark.parametrize("make", [Lock, RLock])
def test_whatever_is_thrown_the_lock_is_held_again(make: Callable[[], Any]) -> None:
    condition = Condition(make())
    seen: list[str] = []

    def wait() -> None:
        with condition:
            try:
                condition.wait()
            except Timeout:
                seen.append(f"timeout, owned: {condition._is_owned()}")
            graftlet.sleep(5)

    waiter = graftlet.spawn(wait)
    wait_all_parked()
    with condition:
        waiter.kill(Timeout(1))
        wait_all_parked()  # it wants the lock back, which we hold,
        waiter.kill(ValueError("second"))  # and is disturbed in that, too
        wait_all_parked()
        waiter.kill(KeyError("third"))
        wait_all_parked()
        assert seen == []
    waiter.join()
    assert seen == ["timeout, owned: True"]
    # The second one came at the next blocking call; with it the greenlet ended.
    assert isinstance(waiter.exception, ValueError)
    assert not condition.locked() if make is Lock else condition.acquire(False)


@pytest.fixture(autouse=True)
def _expected(unhandled: list[tuple[Greenlet, BaseException]]) -> None:
    """Greenlets end with what the tests throw at them."""


def test_a_lock_of_somebody_else_that_fails_is_not_tried_for_ever() -> None:
    class Broken:
        """Can be taken once."""

        taken = False

        def acquire(self, blocking: bool = True) -> bool:
            if not blocking:
                return not self.taken
            if self.taken is None:
                raise OSError("broken")
            self.taken = True
            return True

        def release(self) -> None:
            self.taken = None  # type: ignore[assignment] # broken from now on

        def _is_owned(self) -> bool:
            return True

    condition = Condition(Broken())
    condition.acquire()
    with pytest.raises(OSError, match="broken"):
        condition.wait(1)
    assert len(condition._waiters) == 0


def test_not_entered_if_the_lock_can_not_be_released() -> None:
    lock = Lock()
    condition = Condition(lock)
    condition._is_owned = lambda: True
    with pytest.raises(RuntimeError):
        condition.wait()
    assert len(condition._waiters) == 0


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("wait"), st.sampled_from([None, 1])),
            st.tuples(st.just("notify"), st.integers(1, 2)),
            st.tuples(st.just("kill"), st.integers(0, 9)),
            st.tuples(st.just("pass"), st.integers(0, 2)),
            st.tuples(st.just("run"), st.just(0)),
        ),
        max_size=30,
    ),
    st.integers(0, 2**16),
)
def test_no_notification_is_lost_or_made(actions: list[tuple[str, Any]], order: int) -> None:
    with fresh_hub(seed=order) as hub:
        condition = Condition()
        waiters: list[Greenlet] = []
        notified = 0
        told = 0
        #: What both were when a greenlet began to wait.
        before: dict[Greenlet, tuple[int, int]] = {}

        def wait(timeout: float | None) -> None:
            nonlocal told
            with condition:
                before[graftlet.getcurrent()] = (notified, told)
                woken = condition.wait(timeout)
                told += woken

        for action, argument in actions:
            if action == "wait":
                waiters.append(graftlet.spawn(wait, argument))
            elif action == "notify":
                with condition:
                    notified += min(argument, len(condition._waiters))
                    condition.notify(argument)
            elif action == "kill" and waiters:
                waiters[argument % len(waiters)].kill()
            elif action == "pass":
                hub.clock.advance(argument)  # type: ignore[attr-defined] # fresh_hub's FakeClock
            elif action == "run":
                graftlet.sleep(0)
        wait_all_parked()
        waiting = [waiter for waiter in waiters if not waiter.ready()]
        assert told <= notified
        for waiter in waiting:
            # Who came later is not meant; everybody who came first has been told, or has gone.
            notified_before, told_before = before[waiter]
            assert told - told_before >= notified - notified_before
        assert len(condition._waiters) == len(waiting)
        graftlet.killall(waiting)
        assert condition.acquire(False)
