"""Semaphores: as the standard library's; no token is lost or made; first come, first served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graftlet
from graftlet.lock import BoundedSemaphore, Semaphore
from graftlet.testing import assert_no_switches, fresh_hub, wait_all_parked
from tests.sync.worlds import Threads, World, agree, blocks_natively, raised

if TYPE_CHECKING:
    from graftlet.core._hub import Hub


# -- As the standard library's


@blocks_natively
@pytest.mark.parametrize("kind", ["semaphore", "bounded_semaphore"])
def test_arguments_and_results(kind: str) -> None:
    def body(world: World) -> list[str]:
        make = getattr(world, kind)
        semaphore = make(2)
        return [
            raised(make, -1),
            raised(semaphore.acquire),
            raised(semaphore.acquire, False),
            raised(semaphore.acquire, False),
            raised(semaphore.acquire, blocking=False, timeout=1),
            raised(semaphore.acquire, timeout=0),
            raised(semaphore.acquire, timeout=-1),
            raised(semaphore.acquire, timeout=world.short),
            raised(semaphore.release),
            raised(semaphore.release, 0),
            raised(semaphore.release, -1),
            raised(semaphore.release, n=2),
            raised(semaphore.acquire, True, 0),
            raised(semaphore.release),
            raised(semaphore.__enter__),
            raised(semaphore.__exit__, None, None, None),
            raised(make().acquire, False),
        ]

    agree(body)


@blocks_natively
def test_waiters_get_what_is_released() -> None:
    def body(world: World) -> object:
        semaphore = world.semaphore(0)
        jobs = [world.spawn(semaphore.acquire, True, world.long) for _ in range(5)]
        world.settle()
        semaphore.release(2)
        semaphore.release(3)
        return [job() for job in jobs], semaphore.acquire(False)

    agree(body)


@blocks_natively
def test_not_more_than_so_many_at_once() -> None:
    def body(world: World) -> object:
        semaphore = world.bounded_semaphore(3)
        inside: list[int] = []
        most: list[int] = []

        def work() -> None:
            for _ in range(3):
                with semaphore:
                    inside.append(1)
                    most.append(len(inside))
                    world.settle()
                    inside.pop()

        jobs = [world.spawn(work) for _ in range(7)]
        for job in jobs:
            job()
        return max(most) <= 3, len(most), raised(semaphore.release)

    agree(body)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from(["acquire", "release"]), st.integers(1, 3)), max_size=12),
)
@pytest.mark.parametrize("kind", ["semaphore", "bounded_semaphore"])
def test_the_same_results_without_waiting(
    kind: str, value: int, operations: list[tuple[str, int]]
) -> None:
    def body(world: World) -> list[str]:
        semaphore = getattr(world, kind)(value)
        return [
            raised(semaphore.acquire, False) if name == "acquire" else raised(semaphore.release, n)
            for name, n in operations
        ]

    assert body(World()) == body(Threads())


# -- Its own


def test_counter_and_locked() -> None:
    semaphore = Semaphore(2)
    assert (semaphore.counter, semaphore.locked()) == (2, False)
    semaphore.acquire()
    semaphore.acquire()
    assert (semaphore.counter, semaphore.locked()) == (0, True)
    assert "counter=0" in repr(semaphore)


def test_a_huge_value_costs_nothing() -> None:
    semaphore = BoundedSemaphore(10**12)
    for _ in range(2000):
        assert semaphore.acquire(False)
    assert semaphore.counter == 10**12 - 2000
    semaphore.release(1500)
    assert semaphore.counter == 10**12 - 500
    with pytest.raises(ValueError, match="too many"):
        semaphore.release(501)
    assert semaphore.counter == 10**12 - 500
    semaphore.release(500)
    assert semaphore.counter == 10**12


def test_a_reserve_ends() -> None:
    semaphore = Semaphore(Semaphore.MANY)
    for _ in range(Semaphore.MANY):
        assert semaphore.acquire(False)
    assert not semaphore.acquire(False)
    semaphore.release(Semaphore.MANY)
    assert semaphore.counter == Semaphore.MANY


def test_without_waiting_it_never_switches() -> None:
    semaphore = Semaphore(1)
    with assert_no_switches():
        assert semaphore.acquire(False)
        assert not semaphore.acquire(False)
        assert not semaphore.acquire(timeout=0)
        semaphore.release()


def test_first_come_first_served_even_if_the_holder_wants_it_again() -> None:
    semaphore = Semaphore(1)
    order: list[str] = []

    def take(name: str, times: int) -> None:
        for _ in range(times):
            with semaphore:
                order.append(name)
                graftlet.sleep(0)

    graftlet.joinall([graftlet.spawn(take, name, 3) for name in "abc"])
    assert "".join(order) == "abcabcabc"


def test_a_token_for_a_greenlet_killed_in_the_same_instant_goes_to_the_next() -> None:
    semaphore = Semaphore(0)
    first = graftlet.spawn(semaphore.acquire)
    second = graftlet.spawn(semaphore.acquire)
    wait_all_parked()
    semaphore.release()
    first.kill()
    assert second.get() is True
    assert semaphore.counter == 0


def test_a_token_in_the_instant_of_the_timeout_is_taken_or_stays() -> None:
    semaphore = Semaphore(0)
    waiter = graftlet.spawn(semaphore.acquire, timeout=1)
    graftlet.spawn_later(1, semaphore.release)
    assert waiter.get() + semaphore.counter == 1


def test_a_token_from_a_finalizer_in_the_middle_of_a_wait() -> None:
    """Whatever runs between entering the queue and parking finds the waiter there."""
    semaphore = Semaphore(0)

    class Releasing(list[None]):
        """The tokens, and a finalizer that runs at the worst moment."""

        def __delitem__(self, index: Any) -> None:
            try:
                super().__delitem__(index)
            finally:
                if semaphore._turns:
                    semaphore._tokens = []
                    semaphore.release()

    semaphore._tokens = Releasing()
    assert semaphore.acquire(timeout=5)
    assert semaphore.counter == 0


def test_a_token_for_a_waiter_that_leaves_in_the_same_instant_stays() -> None:
    """As if the waiter's thread ran between the two steps of the hand-over."""

    class Left(Semaphore):
        def _take(self) -> bool:
            taken = super()._take()
            if taken:
                self._turns.clear()
            return taken

    semaphore = Left(0)
    waiter = graftlet.spawn(semaphore.acquire)
    wait_all_parked()
    semaphore.release()
    assert semaphore.counter == 1
    waiter.kill()
    wait_all_parked()
    # To find its turn gone means that it had got a token. It hadn't, in this test.
    assert semaphore.counter == 2


def test_a_waiter_that_gets_two_tokens_at_once_puts_one_back() -> None:
    """As if another thread released in the middle of the last look."""

    class Busy(Semaphore):
        busy = True

        def _take(self) -> bool:
            if self._turns and self.busy:
                self.busy = False
                self.release()
                self._tokens.append(None)
            return super()._take()

    semaphore = Busy(0)
    assert semaphore.acquire()
    assert semaphore.counter == 1


# -- Races

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("spawn"), st.sampled_from([None, 1, 2])),
        st.tuples(st.just("release"), st.integers(1, 3)),
        st.tuples(st.just("kill"), st.integers(0, 9)),
        st.tuples(st.just("try"), st.just(0)),
        st.tuples(st.just("pass"), st.integers(0, 2)),
        st.tuples(st.just("run"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2), ACTIONS, st.integers(0, 2**16))
def test_no_token_is_lost_or_made(value: int, actions: list[tuple[str, Any]], order: int) -> None:
    with fresh_hub(seed=order) as hub:
        semaphore = BoundedSemaphore(10)
        for _ in range(10 - value):
            semaphore.acquire(False)
        released = value
        served = 0
        waiters: list[graftlet.Greenlet] = []

        def wait(timeout: float | None) -> None:
            nonlocal served
            if semaphore.acquire(timeout=timeout):
                # A kill from now on doesn't matter: the token is its own.
                served += 1

        for action, argument in actions:
            if action == "spawn":
                waiters.append(graftlet.spawn(wait, argument))
            elif action == "release" and released + argument <= 10:
                semaphore.release(argument)
                released += argument
            elif action == "kill" and waiters:
                waiters[argument % len(waiters)].kill()
            elif action == "try":
                served += semaphore.acquire(False)
            elif action == "pass":
                hub.clock.advance(argument)  # type: ignore[attr-defined] # fresh_hub's FakeClock
            elif action == "run":
                graftlet.sleep(0)
        wait_all_parked()
        waiting = [waiter for waiter in waiters if not waiter.ready()]
        assert served + semaphore.counter == released
        assert not (waiting and semaphore.counter), "a token is free while somebody waits"
        assert len(semaphore._turns) == len(waiting)
        graftlet.killall(waiting)


def test_what_a_waiter_waits_for_is_in_the_deadlock_report(hub: Hub) -> None:
    semaphore = Semaphore(0)
    waiter = graftlet.spawn(semaphore.acquire)
    wait_all_parked()
    assert repr(waiter.waiting) == repr(semaphore)
    waiter.kill()
