"""A signal handler may raise in the main greenlet wherever CPython looks for signals: nothing may be lost.

Rule: CPython runs handlers at the beginning of a function, after a call of a C function and at a jump
back (``CHECK_EVAL_BREAKER`` in Python/bytecodes.c). A trace function raises at each of these points
in turn, as long as the main greenlet is in our code; afterwards tokens, items and waiters are counted.
"""

from __future__ import annotations

import dis
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import greenlet
import pytest

import graftlet
from graftlet.event import AsyncResult, Event
from graftlet.lock import BoundedSemaphore, Condition, Lock, RLock, Semaphore
from graftlet.pool import Pool
from graftlet.queue import Channel, LifoQueue, PriorityQueue, Queue, SimpleQueue
from graftlet.testing import fresh_hub, wait_all_parked

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

OURS = ("graftlet/sync/", "graftlet/core/_waitqueue")
#: A lock taken in the instant of an interrupt stays taken, as in CPython: what stands on one is not asked about it.
#: The locks themselves are, by `of_locks`.
NOT_OURS = ("graftlet/sync/_lock", "graftlet/sync/_rlock", "graftlet/sync/_waitable")
LOCKS = (*NOT_OURS, "graftlet/core/_waitqueue")


class Interrupt(Exception):
    """What the signal handler raises."""


@cache
def _instructions(code: CodeType) -> dict[int, str]:
    return {each.offset: each.opname for each in dis.get_instructions(code)}


class Interrupter:
    """Raises `Interrupt` at the point number ``at``, once."""

    def __init__(self, at: int, ours: tuple[str, ...], not_ours: tuple[str, ...]) -> None:
        self.at = at
        self.ours = ours
        self.not_ours = not_ours
        self.points = 0
        self.where = ""
        self.main = greenlet.getcurrent()
        #: The instruction before, of each frame; None if that was a call of a Python function.
        self.before: dict[int, str | None] = {}

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        if "graftlet/" not in frame.f_code.co_filename:
            return None
        frame.f_trace = self.trace_frame  # without it, 3.13 ignores the next line
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        self.before[id(frame)] = "BEGIN"
        return self.trace_frame

    def trace_frame(self, frame: FrameType, event: str, _: object) -> Any:
        if greenlet.getcurrent() is not self.main:
            return self.trace_frame
        if event == "opcode":
            now = _instructions(frame.f_code)[frame.f_lasti]
            if now in {"RESUME", "GEN_START"}:
                return self.trace_frame
            before, self.before[id(frame)] = self.before.get(id(frame)), now
            if before is not None and (
                before in {"BEGIN", "JUMP_BACKWARD", "JUMP_ABSOLUTE"} or before.startswith("CALL")
            ):
                self._pass(frame)
        elif event == "return" and frame.f_back is not None:
            self.before.pop(id(frame), None)
            if id(frame.f_back) in self.before:
                self.before[id(frame.f_back)] = None
        return self.trace_frame

    def _pass(self, frame: FrameType) -> None:
        name = frame.f_code.co_filename
        if not any(part in name for part in self.ours) or any(
            part in name for part in self.not_ours
        ):
            return
        self.points += 1
        if self.points == self.at:
            self.where = f"{frame.f_code.co_name}, line {frame.f_lineno}"
            raise Interrupt


def interrupted(
    operation: Callable[[], object], at: int, of_locks: bool
) -> tuple[Interrupter, bool]:
    """Run ``operation`` with an interrupt; whether it came through."""
    interrupter = Interrupter(at, LOCKS, ()) if of_locks else Interrupter(at, OURS, NOT_OURS)
    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # without it, 3.12 has no events of this kind
    sys.settrace(interrupter.trace)
    try:
        operation()
    except Interrupt:
        return interrupter, False
    finally:
        sys.settrace(before)
    return interrupter, True


def at_every_point(
    scenario: Callable[[Callable[[Callable[[], object]], bool]], None], *, of_locks: bool = False
) -> None:
    """Run ``scenario(run)`` once for each point; ``run(operation)`` says whether it came through."""
    at = 0
    done = False
    while not done:
        at += 1
        where = "nowhere"

        def run(operation: Callable[[], object], at: int = at) -> bool:
            nonlocal done, where
            interrupter, through = interrupted(operation, at, of_locks)
            done = interrupter.points < at
            where = interrupter.where
            return through

        with fresh_hub():
            try:
                scenario(run)
                wait_all_parked()
            except BaseException as error:
                raise AssertionError(f"interrupted at point {at}, {where}") from error
    assert at > 1, "nothing was interrupted"


@pytest.mark.parametrize("make", [Semaphore, BoundedSemaphore])
def test_a_semaphores_tokens(make: type[Semaphore]) -> None:
    def acquire_at_once(run: Any) -> None:
        semaphore = make(1)
        through = run(semaphore.acquire)
        assert semaphore.counter == 1 - through

    def wait(run: Any) -> None:
        semaphore = make(3)
        for _ in range(3):
            semaphore.acquire()
        graftlet.spawn(semaphore.release)
        through = run(semaphore.acquire)
        wait_all_parked()
        assert semaphore.counter == 1 - through
        assert not semaphore._turns

    def wait_in_vain(run: Any) -> None:
        semaphore = make(1)
        semaphore.acquire()
        assert run(lambda: semaphore.acquire(timeout=1)) in {True, False}
        assert semaphore.counter == 0
        assert not semaphore._turns

    def release(run: Any) -> None:
        semaphore = make(2)
        semaphore.acquire()
        semaphore.acquire()
        waiter = graftlet.spawn(semaphore.acquire)
        wait_all_parked()
        through = run(semaphore.release)
        wait_all_parked()
        # Interrupted at its beginning it has released nothing. Then it does now.
        if not waiter.ready():
            assert not through
            assert semaphore.counter == 0
            semaphore.release()
        assert waiter.get()
        assert semaphore.counter == 0

    for scenario in (acquire_at_once, wait, wait_in_vain, release):
        at_every_point(scenario)


@pytest.mark.parametrize("overtaken", [0, Lock._PATIENCE], ids=["passed on", "handed over"])
def test_those_who_wait_for_a_lock(overtaken: int) -> None:
    def release(run: Any) -> None:
        lock = Lock()
        lock.acquire()
        served: list[int] = []

        def wait(number: int) -> None:
            with lock:
                served.append(number)

        for number in range(3):
            graftlet.spawn(wait, number)
        wait_all_parked()
        lock._overtaken = overtaken
        run(lock.release)
        wait_all_parked()
        if not served:
            # Interrupted before it was released, or before anybody looked for waiters: the next use makes up for it.
            lock.acquire(blocking=False)
            lock.release()
            wait_all_parked()
        assert served == [0, 1, 2]
        assert not lock.locked()
        assert not lock._turns

    at_every_point(release, of_locks=True)


@pytest.mark.parametrize("make", [Lock, RLock])
def test_a_lock_waited_for_in_vain(make: type[Lock | RLock]) -> None:
    def wait_in_vain(run: Any) -> None:
        lock = make()
        graftlet.spawn(lock.acquire).join()
        run(lambda: lock.acquire(timeout=1))
        assert not lock._turns

    at_every_point(wait_in_vain, of_locks=True)


@pytest.mark.parametrize("make", [Event, AsyncResult])
def test_waiting_and_setting(make: Callable[[], Any]) -> None:
    def wait(run: Any) -> None:
        thing = make()
        graftlet.spawn(thing.set)
        run(thing.wait)
        assert not thing._waiters._turns

    def set_it(run: Any) -> None:
        thing = make()
        waiters = [graftlet.spawn(thing.wait) for _ in range(3)]
        told: list[object] = []
        thing.rawlink(told.append)
        wait_all_parked()
        if not run(thing.set):
            thing.set()
        graftlet.joinall(waiters)
        assert told == [thing]

    at_every_point(wait)
    at_every_point(set_it)


@pytest.mark.parametrize("make", [Queue, LifoQueue, PriorityQueue, SimpleQueue])
def test_a_queue_stays_usable(make: type[Any]) -> None:
    def usable(there: Any, items: set[int], lost: int) -> None:
        wait_all_parked()
        assert not there._getters._turns if make is not SimpleQueue else not there._waiters._turns
        there.put(8)
        items.add(8)
        left = {there.get(timeout=1) for _ in range(there.qsize())}
        assert left <= items
        assert len(items - left) <= lost
        getter = graftlet.spawn(there.get)
        wait_all_parked()
        there.put(9)
        assert getter.get() == 9

    def get(run: Any) -> None:
        there = make()
        there.put(1)
        there.put(2)
        # As with the standard library's, the item of a get that is interrupted at its end is lost.
        run(there.get)
        usable(there, {1, 2}, 1)

    def wait_to_get(run: Any) -> None:
        there = make()
        graftlet.spawn(there.put, 1)
        run(there.get)
        usable(there, {1}, 1)

    def wait_in_vain(run: Any) -> None:
        there = make()

        def wait() -> None:
            try:
                there.get(timeout=1)
            except Exception as error:
                if isinstance(error, Interrupt):
                    raise

        run(wait)
        usable(there, set(), 0)

    def put(run: Any) -> None:
        there = make()
        through = run(lambda: there.put(1))
        usable(there, {1}, 1 - through)

    def put_for_getters(run: Any) -> None:
        there = make()
        getters = [graftlet.spawn(there.get) for _ in range(2)]
        wait_all_parked()
        run(lambda: there.put(1))
        there.put(2)
        there.put(3)
        graftlet.joinall(getters)
        assert {1, 2, 3} >= {getter.value for getter in getters}
        assert there.qsize() <= 1

    for scenario in (get, wait_to_get, wait_in_vain, put, put_for_getters):
        at_every_point(scenario)


def test_a_bounded_queue_stays_usable() -> None:
    def wait_to_put(run: Any) -> None:
        there: Queue[int] = Queue(1)
        there.put(1)
        graftlet.spawn(there.get)
        through = run(lambda: there.put(2))
        wait_all_parked()
        assert there.qsize() <= 1
        assert not through or there.qsize() == 1
        assert not there._putters._turns
        putter = graftlet.spawn(there.put, 3)
        wait_all_parked()
        while there.qsize():
            there.get()
            wait_all_parked()
        assert putter.ready()

    def join(run: Any) -> None:
        there: Queue[int] = Queue()
        there.put(1)
        graftlet.spawn(there.task_done)
        run(there.join)
        assert not there._joiners._turns

    def task_done(run: Any) -> None:
        there: Queue[int] = Queue()
        there.put(1)
        run(there.task_done)
        there.put_nowait(2)
        assert there.unfinished_tasks in {1, 2}

    at_every_point(wait_to_put)
    at_every_point(join)
    at_every_point(task_done)


def test_a_channel_stays_usable() -> None:
    def usable(there: Channel[int]) -> None:
        wait_all_parked()
        assert not there._getters._turns
        assert not there._offers._turns
        getter = graftlet.spawn(there.get)
        there.put(9)
        assert getter.get() == 9

    def put(run: Any) -> None:
        there: Channel[int] = Channel()
        getter = graftlet.spawn(there.get)
        if not run(lambda: there.put(1)) and not getter.ready():
            there.put(1)
        assert getter.get() == 1
        usable(there)

    def get(run: Any) -> None:
        there: Channel[int] = Channel()
        putter = graftlet.spawn(there.put, 1)
        if not run(there.get):
            wait_all_parked()
            if not putter.ready():
                assert there.get() == 1
        putter.get()
        usable(there)

    at_every_point(put)
    at_every_point(get)


@pytest.mark.parametrize("make", [Lock, RLock])
def test_a_condition_has_its_lock_again(make: Callable[[], Any]) -> None:
    def wait(run: Any) -> None:
        condition = Condition(make())

        def notify() -> None:
            with condition:
                condition.notify()

        with condition:
            graftlet.spawn(notify)
            run(condition.wait)
            assert condition._is_owned()
        assert not condition._waiters._turns
        wait_all_parked()
        assert condition.acquire(False)

    at_every_point(wait)


def test_a_pools_places() -> None:
    def spawn(run: Any) -> None:
        pool = Pool(1)
        run(lambda: pool.spawn(graftlet.sleep, 1))
        pool.join()
        assert pool.free_count() == 1

    def wait_to_spawn(run: Any) -> None:
        pool = Pool(1)
        pool.spawn(graftlet.sleep, 1)
        run(lambda: pool.spawn(graftlet.sleep, 1))
        pool.join()
        assert pool.free_count() == 1

    def add(run: Any) -> None:
        pool = Pool(1)
        greenlet = graftlet.spawn(graftlet.sleep, 1)
        run(lambda: pool.add(greenlet))
        assert pool.free_count() == 1 - len(pool)
        greenlet.join()
        assert pool.free_count() == 1

    def call(run: Any) -> None:
        pool = Pool(1)
        run(lambda: pool.map(abs, [-1, -2]))
        pool.join()
        assert pool.free_count() == 1

    for scenario in (spawn, wait_to_spawn, add, call):
        at_every_point(scenario)
