"""Recycled workers: nothing of a job is left for the next one."""

from __future__ import annotations

import contextvars
import gc
import sys
import weakref
from typing import TYPE_CHECKING, NoReturn

import greenlet
import pytest

import graftlet
from graftlet import Greenlet, GreenletExit
from graftlet.core._deadlines import INFINITY
from graftlet.core._hub import Hub
from graftlet.testing import FakeClock, wait_all_parked

if TYPE_CHECKING:
    from tests.conftest import Unhandled

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")


def on_the_same_worker(*functions: object) -> list[Greenlet]:
    """Run `functions` one after the other; they must have had one and the same worker."""
    raws = []
    jobs = []
    for function in functions:
        assert callable(function)

        def work(function: object = function) -> object:
            raws.append(greenlet.getcurrent())
            assert callable(function)
            return function()

        job = graftlet.spawn(work)
        job.join()
        jobs.append(job)
    assert len(set(raws)) == 1
    return jobs


def test_workers_are_used_again(hub: Hub) -> None:
    on_the_same_worker(*[lambda: None] * 10)
    assert len(hub.workers) == 1
    graftlet.joinall([graftlet.spawn(graftlet.sleep, 1) for _ in range(5)])
    assert len(hub.workers) == len(hub.idle) == 5


def test_those_that_do_not_wait_share_one_worker(hub: Hub) -> None:
    """A worker that has finished starts the next one of the batch directly."""
    graftlet.joinall([graftlet.spawn(lambda: None) for _ in range(100)])
    assert len(hub.workers) == 1


@pytest.mark.usefixtures("shuffled_hub")
def test_mixed_ones_need_as_many_workers_as_wait_at_once(hub: Hub) -> None:
    jobs = [graftlet.spawn(graftlet.sleep, number % 2) for number in range(100)]
    graftlet.joinall(jobs)
    assert len(hub.workers) <= 100
    assert len(hub.idle) == len(hub.workers)


def test_only_so_many_idle_workers_are_kept(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "MAX_IDLE", 3)
    graftlet.joinall([graftlet.spawn(graftlet.sleep, 1) for _ in range(10)])
    assert len(hub.idle) == len(hub.workers) == 3
    graftlet.joinall([graftlet.spawn(graftlet.sleep, 1) for _ in range(10)])
    assert len(hub.idle) == len(hub.workers) == 3


def test_the_default_bound_is_kept(hub: Hub) -> None:
    count = hub.MAX_IDLE + 100
    graftlet.joinall([graftlet.spawn(graftlet.sleep, 1) for _ in range(count)])
    assert len(hub.idle) == len(hub.workers) == hub.MAX_IDLE


# -- What is reset


def test_the_context_is_reset() -> None:
    def set_it() -> str:
        found = variable.get()
        variable.set("the job's before")
        return found

    jobs = on_the_same_worker(set_it, set_it, set_it)
    assert [job.value for job in jobs] == ["default"] * 3


def test_the_context_is_reset_after_a_raw_one() -> None:
    def set_it() -> None:
        variable.set("the job's before")

    graftlet.spawn_raw(set_it).join()
    job = graftlet.spawn_raw(variable.get)
    job.join()
    assert job.value == "default"


def test_the_context_is_reset_when_the_next_one_starts_directly(hub: Hub) -> None:
    variable.set("main's")
    jobs = [graftlet.spawn(variable.set, "the job's before"), graftlet.spawn_raw(variable.get)]
    graftlet.joinall(jobs)
    assert jobs[1].value == "default"
    assert len(hub.workers) == 1


def test_the_name_is_reset() -> None:
    def rename() -> str:
        found = graftlet.getcurrent().name
        graftlet.getcurrent().name = "the job's before"
        return found

    jobs = on_the_same_worker(rename, rename)
    assert all(str(job.value).startswith("Greenlet-") for job in jobs)


def test_the_exception_state_is_reset(unhandled: Unhandled) -> None:
    def fail() -> NoReturn:
        raise ZeroDivisionError

    def fail_in_handler() -> NoReturn:
        try:
            fail()
        except ZeroDivisionError:
            graftlet.sleep(1)
            raise KeyError from None

    jobs = on_the_same_worker(fail, sys.exc_info, fail_in_handler, sys.exc_info)
    assert [job.value for job in jobs[1::2]] == [(None, None, None)] * 2
    assert len(unhandled) == 2


def test_exception_states_of_many_stay_apart() -> None:
    def work(number: int) -> object:
        try:
            raise KeyError(number)
        except KeyError:
            for _ in range(3):
                graftlet.sleep(0)
            return sys.exc_info()[1].args  # type: ignore[union-attr] # it is there

    before = sys.exc_info()  # the test's caller may be handling something
    jobs = [graftlet.spawn(work, number) for number in range(10)]
    assert [job.get() for job in jobs] == [(number,) for number in range(10)]
    assert sys.exc_info() == before


def test_locals_are_given_up() -> None:
    from graftlet.sync._local import local

    mine = local()

    def set_it() -> object:
        found = getattr(mine, "value", "unset")
        mine.value = "the job's before"
        return found

    jobs = on_the_same_worker(set_it, set_it)
    assert [job.value for job in jobs] == ["unset", "unset"]
    assert [job.locals for job in jobs] == [None, None]


def test_nothing_keeps_an_ended_job_alive(hub: Hub) -> None:
    class Payload:
        pass

    payload = Payload()
    job = graftlet.spawn(lambda argument: graftlet.sleep(1), payload)
    context_holder = weakref.ref(job)
    argument = weakref.ref(payload)
    job.join()
    del payload
    gc.collect()
    assert argument() is None, "an ended greenlet keeps its arguments"
    graftlet.spawn(lambda: None).join()
    del job
    gc.collect()
    assert context_holder() is None
    assert len(hub.idle) == 1


def test_a_deadline_that_never_came_keeps_no_ended_job_alive(hub: Hub) -> None:
    """Ten thousand connections that each waited with a time-out of an hour, a millisecond each."""

    def work() -> None:
        hub.spawned = graftlet.spawn(lambda: None)  # type: ignore[attr-defined] # anything to join
        hub.spawned.join(3600)  # type: ignore[attr-defined] # as above

    for _ in range(10):
        graftlet.joinall([graftlet.spawn(work) for _ in range(100)])
    assert len(hub.deadlines) < 300
    assert all(alarm.deadline == INFINITY for _, _, alarm in hub.deadlines.heap)
    del hub.spawned  # type: ignore[attr-defined] # as above


# -- A kill never hits the next job


def test_a_kill_of_an_ended_job_does_not_hit_the_next() -> None:
    first = graftlet.spawn(graftlet.sleep, 1)
    first.join()
    second = graftlet.spawn(graftlet.sleep, 1)
    wait_all_parked()
    assert second.raw is not None
    assert first.raw is None
    first.kill()
    first.kill(KeyError)
    assert second.get() is None


def test_a_kill_posted_to_a_job_that_ends_meanwhile_does_not_hit_the_next(hub: Hub) -> None:
    first = graftlet.spawn(lambda: "done")
    second = graftlet.spawn(graftlet.sleep, 1)
    hub.post(lambda: first._kill_here(GreenletExit()))
    graftlet.joinall([first, second])
    assert (first.value, second.value) == ("done", None)
    assert len(hub.workers) == 1


def test_pending_exceptions_end_with_their_job() -> None:
    def work() -> str:
        try:
            graftlet.sleep(5)
        except GreenletExit:
            return "ended with two more to come"
        return "slept"

    first = graftlet.spawn(work)
    wait_all_parked()
    for _ in range(3):
        first.kill()
    first.join()
    second = graftlet.spawn(work)
    assert first.value == "ended with two more to come"
    assert first.pending is None
    assert second.get() == "slept"


def test_a_timer_of_an_ended_job_does_not_hit_the_next(clock: FakeClock) -> None:
    first = graftlet.spawn(lambda: graftlet.Timeout(1).start())
    first.join()
    second = graftlet.spawn(graftlet.sleep, 5)
    assert second.get() is None
    assert clock() == 5


# -- The workers themselves


def test_greenlets_of_ones_own_may_wait_inside_of_a_job(clock: FakeClock) -> None:
    """Others that use package greenlet (SQLAlchemy's asyncio bridge does) run inside of a job."""

    def inner(value: int) -> int:
        graftlet.sleep(2)
        return value + 1

    def work() -> int:
        child = greenlet.greenlet(inner)
        result: int = child.switch(1)
        return result

    jobs = [graftlet.spawn(work) for _ in range(3)]
    assert [job.get() for job in jobs] == [2, 2, 2]
    assert clock() == 2


def test_a_closed_hub_leaves_nothing_behind() -> None:
    from graftlet.testing import fresh_hub

    with fresh_hub() as hub:
        graftlet.joinall([graftlet.spawn(graftlet.sleep, 1) for _ in range(5)])
        raws = [weakref.ref(worker.raw) for worker in hub.workers]
        gone = weakref.ref(hub)
    del hub
    gc.collect()
    assert gone() is None
    assert [raw() for raw in raws] == [None] * 5


def test_a_thread_that_ends_leaves_no_hub_behind() -> None:
    import threading

    gone: list[weakref.ref[Hub]] = []

    def work() -> None:
        graftlet.joinall([graftlet.spawn(graftlet.sleep, 0.001) for _ in range(5)])
        gone.append(weakref.ref(graftlet.get_hub()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    gc.collect()
    assert gone[0]() is None
