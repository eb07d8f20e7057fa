"""A task that parks while nobody is ready makes the poll itself (`Hub._look_in_place`), and all holds that holds of the hub's.

Native threads are at the other end, so the clock is the real one.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # typeshed has no stubs of it
import dis
import gc
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import greenlet
import pytest

import graftlet
from graftlet import BlockingCallOnHub, InternalError
from graftlet.core import _original
from graftlet.core._poller import Watch
from graftlet.core._signals import MainHandler
from graftlet.core._task import Reason
from graftlet.testing._clock import WatchingPoller, WrappedPoller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graftlet.core._hub import Hub

INFINITY = float("inf")
#: Seconds: for what must not happen.
LONG = 30.0
#: At these nothing is ever raised, and the compiler leaves them out of a ``try``.
QUIET = {dis.opmap.get(name) for name in ("NOP", "NOT_TAKEN", "JUMP_FORWARD")}


@pytest.fixture
def clock() -> Callable[[], float]:
    return _original.monotonic


class Pipe:
    """A pipe that greenlets of this hub read, one at a time."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.watch = hub.watches[self.reading] = Watch(self.reading)
        self.watch.hub = hub
        hub.poller.arm(self.watch)

    def read(self, deadline: float = INFINITY) -> bytes:
        while True:
            try:
                return os.read(self.reading, 100)
            except BlockingIOError:
                pass
            self.watch.reader = self.hub.current
            try:
                if not self.hub.park(self.watch, deadline):
                    return b"timed out"
            finally:
                self.watch.reader = None

    def write(self, data: bytes) -> None:
        os.write(self.writing, data)

    def close(self) -> None:
        self.hub.forget(self.watch)
        os.close(self.reading)
        if self.writing >= 0:
            os.close(self.writing)


@pytest.fixture
def pipes(hub: Hub) -> Iterator[tuple[Pipe, Pipe]]:
    made = Pipe(hub), Pipe(hub)
    yield made
    for each in made:
        each.close()


@contextmanager
def switches() -> Iterator[list[tuple[Any, Any]]]:
    """Each switch of greenlets in this native thread, from and to."""
    seen: list[tuple[Any, Any]] = []
    before = greenlet.settrace(lambda _, pair: seen.append(pair))
    try:
        yield seen
    finally:
        greenlet.settrace(before)


@contextmanager
def when_polling(hub: Hub, call: Callable[[], object], times: int = 1) -> Iterator[None]:
    """The first ``times`` that the hub, or a task in its place, is about to sleep, a native thread makes this call.

    At the end none of them is left.
    """
    begun: list[Any] = []

    class Poller(WrappedPoller):
        def poll(self, timeout: float | None) -> list[tuple[int, int]]:
            if timeout != 0 and len(begun) < times:
                ended = _original.allocate_lock()
                ended.acquire()
                begun.append(ended)
                _original.start_new_thread(later, (ended,))
            return super().poll(timeout)

    def later(ended: Any) -> None:
        time.sleep(0.001)
        try:
            call()
        finally:
            ended.release()

    before, hub.poller = hub.poller, Poller(hub)
    try:
        yield
    finally:
        hub.poller = before
        for each in begun:
            each.acquire()


def test_who_is_woken_by_its_own_poll_does_not_switch(hub: Hub, pipes: tuple[Pipe, Pipe]) -> None:
    pipe, _ = pipes
    with when_polling(hub, lambda: pipe.write(b"x"), times=2), switches() as seen:
        assert [pipe.read(), pipe.read(hub.clock() + LONG)] == [b"x", b"x"]
    assert seen == []


def test_two_that_wake_each_other_need_no_hub(hub: Hub, pipes: tuple[Pipe, Pipe]) -> None:
    there, back = pipes

    def answer() -> None:
        while True:
            back.write(there.read())

    other = graftlet.spawn(answer)
    graftlet.sleep(0)
    with switches() as seen:
        for number in range(3):
            there.write(b"%d" % number)
            assert back.read() == b"%d" % number
    assert len(seen) == 6
    assert hub.raw not in [target for _, target in seen]
    other.kill(block=True)


def test_a_deadline_passes(hub: Hub, pipes: tuple[Pipe, Pipe]) -> None:
    pipe, _ = pipes
    called: list[object] = []
    hub.call_at(hub.clock() + 0.001, lambda: called.append(greenlet.getcurrent()))
    assert pipe.read(hub.clock() + 0.01) == b"timed out"
    assert called == [hub.raw], "callbacks run on the hub"


def test_the_end_of_data_and_data_in_one_edge(hub: Hub, pipes: tuple[Pipe, Pipe]) -> None:
    pipe, _ = pipes
    pipe.write(b"x")
    writing, pipe.writing = pipe.writing, -1
    os.close(writing)
    pipe.watch.reader = hub.current
    hub.park(pipe.watch)
    pipe.watch.reader = None
    assert pipe.watch.distrust
    assert [pipe.read(), pipe.read()] == [b"x", b""]


def test_a_post_of_another_thread_runs_on_the_hub(hub: Hub, pipes: tuple[Pipe, Pipe]) -> None:
    pipe, _ = pipes
    ran: list[object] = []

    def call() -> None:
        ran.append(greenlet.getcurrent())
        pipe.write(b"x")

    with when_polling(hub, lambda: hub.post(call)):
        assert pipe.read() == b"x"
    assert ran == [hub.raw]


def test_many_who_wait_for_one_descriptor(hub: Hub, pipes: tuple[Pipe, Pipe]) -> None:
    pipe, _ = pipes
    woken: list[int] = []

    def wait(number: int) -> None:
        hub.park(pipe.watch)
        woken.append(number)

    waiting = [graftlet.spawn(wait, number) for number in range(3)]
    graftlet.sleep(0)
    pipe.watch.more = [(each, False) for each in waiting]
    with when_polling(hub, lambda: pipe.write(b"x")):
        assert pipe.read() == b"x"
        graftlet.joinall(waiting)
    pipe.watch.more = None
    assert sorted(woken) == [0, 1, 2]


@pytest.mark.parametrize("poller", ["main", "other"])
def test_a_signal_runs_in_main(hub: Hub, pipes: tuple[Pipe, Pipe], poller: str) -> None:
    pipe, never = pipes
    ran: list[object] = []

    def handler(number: int, frame: object) -> None:
        assert hub.is_running(hub.main)
        ran.append(greenlet.getcurrent())
        pipe.write(b"x")

    _signal.signal(_signal.SIGUSR1, MainHandler(handler))
    other = graftlet.spawn(never.read)
    graftlet.sleep(0)
    try:
        with when_polling(hub, lambda: os.kill(os.getpid(), _signal.SIGUSR1)):
            if poller == "main":
                assert pipe.read() == b"x"
            else:
                # Main waits first; the other one polls.
                hub.call_at(0, lambda: hub.wake(other, never.watch))
                assert pipe.read() == b"x"
    finally:
        _signal.signal(_signal.SIGUSR1, _signal.SIG_DFL)
    assert ran == [hub.main.raw]
    other.kill(block=True)


def test_an_exception_of_a_handler_that_is_not_ours_reaches_main(
    hub: Hub, pipes: tuple[Pipe, Pipe]
) -> None:
    pipe, _ = pipes
    reader = graftlet.spawn(pipe.read)
    before = _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    try:
        with (
            when_polling(hub, lambda: os.kill(os.getpid(), _signal.SIGINT)),
            pytest.raises(KeyboardInterrupt),
        ):
            hub.park(Reason("an interrupt"), hub.clock() + LONG)
    finally:
        _signal.signal(_signal.SIGINT, before)
    assert not hub.asleep
    pipe.write(b"x")
    assert reader.get() == b"x"


def test_a_finalizer_that_would_wait_is_refused(hub: Hub, pipes: tuple[Pipe, Pipe]) -> None:
    """Garbage may be collected while a task polls: what a finalizer does must not end the task's own wait."""
    pipe, _ = pipes
    refused: list[BaseException] = []

    class Poller(WrappedPoller):
        def poll(self, timeout: float | None) -> list[tuple[int, int]]:
            calls: tuple[Callable[[], None], ...] = (
                lambda: graftlet.sleep(1),
                lambda: graftlet.sleep(0),
                graftlet.idle,
            )
            for call in calls:
                with pytest.raises(BlockingCallOnHub, match="finalizer") as raised:
                    call()
                refused.append(raised.value)
            pipe.write(b"x")
            return super().poll(timeout)

    before, hub.poller = hub.poller, Poller(hub)
    try:
        assert pipe.read() == b"x"
    finally:
        hub.poller = before
    assert len(refused) == 3
    assert (list(hub.ready), hub.idlers) == ([], [])


def test_a_finalizer_that_spawns_and_wakes(hub: Hub, pipes: tuple[Pipe, Pipe]) -> None:
    pipe, other = pipes
    order: list[str] = []
    reader = graftlet.spawn(other.read)
    graftlet.sleep(0)

    class Poller(WrappedPoller):
        def poll(self, timeout: float | None) -> list[tuple[int, int]]:
            if not order:
                order.append("polled")
                other.write(b"y")
                hub.wake(reader, other.watch)
                graftlet.spawn(pipe.write, b"x")
            return super().poll(timeout)

    before, hub.poller = hub.poller, Poller(hub)
    try:
        assert pipe.read() == b"x"
    finally:
        hub.poller = before
    assert reader.get() == b"y"


def test_no_event_is_lost_where_the_stack_is_at_its_limit(
    hub: Hub, pipes: tuple[Pipe, Pipe]
) -> None:
    pipe, back = pipes
    read: list[bytes] = []

    def echo() -> None:
        while data := pipe.read():
            back.write(data)

    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        else:
            pipe.write(b"x")
            read.append(back.read(hub.clock() + LONG))

    assert isinstance(hub.poller, WatchingPoller)
    hub.poller = (
        hub.poller._real
    )  # the other one is written in Python, and needs some stack of its own
    gc.disable()  # so do callbacks of the collector
    server = graftlet.spawn(echo)
    graftlet.sleep(0)
    refused = 0
    try:
        for depth in range(sys.getrecursionlimit() // 2, sys.getrecursionlimit()):
            try:
                deep(depth)
            except RecursionError:
                refused += 1
                if refused > 30:
                    break
    finally:
        gc.enable()
    assert refused > 30
    pipe.write(b"end")
    rest = b""
    while not rest.endswith(b"end"):
        rest += back.read(hub.clock() + LONG)
    server.kill(block=True)
    assert set(b"".join(read)) == {ord("x")}


@pytest.mark.parametrize("way", ["yield", "sleep", "wait for data"])
def test_whatever_is_raised_in_the_middle_leaves_nothing_of_the_wait(  # noqa: C901 - one scenario
    hub: Hub, pipes: tuple[Pipe, Pipe], way: str
) -> None:
    """As a handler would that C code has installed, at any bytecode up to the switch."""
    pipe, _ = pipes
    turns: list[int] = []
    stop: list[bool] = []

    def others() -> None:
        while not stop:
            turns.append(1)
            graftlet.sleep(0)

    def wait() -> None:
        if way == "yield":
            graftlet.sleep(0)
        elif way == "sleep":
            graftlet.sleep(0.0001)
        else:
            pipe.watch.reader = hub.current
            pipe.write(b"x")
            try:
                hub.park(pipe.watch)
            finally:
                pipe.watch.reader = None
                os.read(pipe.reading, 100)

    here = greenlet.getcurrent()
    codes = {type(hub).park.__code__, type(hub)._look_in_place.__code__}
    gc.disable()
    raised = 0
    for busy in (False, True):
        other = graftlet.spawn(others) if busy else None
        graftlet.sleep(0)
        for number in range(1, 400):
            left = number
            me = hub.current

            def trace(frame: Any, event: str, _: object) -> Any:
                nonlocal left
                if frame.f_code not in codes or left < 0:
                    return None if event == "call" else trace
                frame.f_trace_opcodes = True
                if (
                    event == "opcode"
                    and greenlet.getcurrent() is here
                    and frame.f_code.co_code[frame.f_lasti] not in QUIET
                ):
                    left -= 1
                    if left == 0:
                        left = -1
                        raise ZeroDivisionError
                return trace

            sys.settrace(trace)
            try:
                wait()
            except (ZeroDivisionError, InternalError):  # the other if the poll fails, as on the hub
                raised += 1
            else:
                if left >= 0:
                    break
            finally:
                sys.settrace(None)
            assert me.waiting is None
            assert me not in hub.ready
            assert hub.current is me
            before = len(turns)
            graftlet.sleep(0)
            assert not busy or len(turns) > before
        if other is not None:
            stop.append(True)
            other.join()
    gc.enable()
    assert raised > 50


def test_a_greenlet_of_the_program_that_is_ended_while_it_waits(hub: Hub) -> None:
    """It ends in the middle of whoever ends it (or drops it), who goes on as if nothing had been."""
    reason = Reason("what never comes")
    own: list[Any] = []
    ended: list[str] = []

    def work() -> None:
        try:
            hub.park(reason)
        finally:
            ended.append("ended")

    def task() -> None:
        own.append(greenlet.greenlet(work))
        own[0].switch()

    first = graftlet.spawn(task)
    graftlet.sleep(0)
    me = hub.current
    own[0].parent = greenlet.getcurrent()
    own[0].throw()
    assert ended == ["ended"]
    assert hub.current is me
    assert me not in hub.ready
    # Its task goes on where it left off.
    first.raw = next(worker.raw for worker in hub.workers if worker.task is first)
    hub.wake(first, reason)
    first.join()


@pytest.mark.parametrize("what", ["deadline", "time-out", "kill", "data", "post", "signal"])
def test_who_yields_all_the_time_goes_on_at_once_and_keeps_nothing_from_coming(
    hub: Hub, pipes: tuple[Pipe, Pipe], what: str
) -> None:
    pipe, _ = pipes
    came: list[str] = []
    seen: list[object] = []
    yields = 1000

    def spin() -> None:
        with switches() as went_round:
            for _ in range(yields):
                graftlet.sleep(0)
        seen.extend(went_round)
        try:
            with graftlet.Timeout(0.002 if what == "time-out" else LONG, False):
                if what == "deadline":
                    hub.call_at(hub.clock() + 0.002, lambda: came.append(what))
                elif what == "kill":
                    hub.call_at(hub.clock() + 0.002, lambda: spinning.kill(block=False))
                begin.release()
                while not came:
                    graftlet.sleep(0)
        finally:
            came.append("the end")

    def later() -> None:
        begin.acquire()
        if what == "data":
            pipe.write(b"x")
        elif what == "post":
            hub.post(lambda: came.append(what))
        elif what == "signal":
            os.kill(os.getpid(), _signal.SIGUSR1)
        ended.release()

    reading = graftlet.spawn(lambda: came.append(pipe.read().decode()))
    _signal.signal(_signal.SIGUSR1, MainHandler(lambda *_: came.append(what)))
    begin, ended = _original.allocate_lock(), _original.allocate_lock()
    begin.acquire()
    ended.acquire()
    _original.start_new_thread(later, ())
    spinning = graftlet.spawn(spin)
    try:
        spinning.join()
    finally:
        ended.acquire()
        _signal.signal(_signal.SIGUSR1, _signal.SIG_DFL)
        reading.kill()
    expected = {"data": ["x"], "time-out": [], "kill": []}.get(what, [what])
    assert came == [*expected, "the end"]
    assert yields > len(seen)  # each that went round the hub were two
