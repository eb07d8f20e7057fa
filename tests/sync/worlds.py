"""The same test body on real threads with the standard library, and on graftlet.

Rule: a body knows only its world: what it spawns with, the classes it uses, how it waits for the others.
What it returns must be the same in every world.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

import graftlet
from graftlet import event as graftlet_event
from graftlet import lock as graftlet_lock
from graftlet import queue as graftlet_queue
from graftlet.testing import wait_all_parked

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class Job:
    """Something that runs beside the body."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._call = (function, args)
        self._value: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        function, args = self._call
        try:
            self._value = function(*args)
        except BaseException as error:
            self._error = error

    def outcome(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


class World:
    """Greenlets, and graftlet's classes."""

    #: Time-outs that pass, seconds: by the fake clock here, really elsewhere.
    short = 0.004
    long = 30.0

    def __init__(self) -> None:
        self.semaphore: Any = graftlet_lock.Semaphore
        self.bounded_semaphore: Any = graftlet_lock.BoundedSemaphore
        self.condition: Any = graftlet_lock.Condition
        self.lock: Any = graftlet_lock.Lock
        self.rlock: Any = graftlet_lock.RLock
        self.event: Any = graftlet_event.Event
        self.queue: Any = graftlet_queue.Queue
        self.lifo_queue: Any = graftlet_queue.LifoQueue
        self.priority_queue: Any = graftlet_queue.PriorityQueue
        self.simple_queue: Any = graftlet_queue.SimpleQueue

    def spawn(self, function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        """Start ``function``; call what is returned to wait for its result."""
        job = Job(function, *args)
        greenlet = graftlet.spawn(job.run)

        def join() -> Any:
            assert greenlet.join(self.long)
            return job.outcome()

        return join

    def settle(self) -> None:
        """Let the others run until they wait."""
        wait_all_parked()

    def run(self, body: Callable[[World], Result]) -> Result:
        return body(self)


class NativeThreads(World):
    """Native threads without a hub, and graftlet's classes."""

    def spawn(self, function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        job = Job(function, *args)
        thread = threading.Thread(target=job.run, daemon=True)
        thread.start()

        def join() -> Any:
            thread.join(self.long)
            assert not thread.is_alive()
            return job.outcome()

        return join

    def settle(self) -> None:
        # Only makes the interesting order likely: a body's result doesn't depend on it.
        time.sleep(0.002)

    def run(self, body: Callable[[World], Result]) -> Result:
        # Not in the main thread: that one has a hub.
        result: Result = self.spawn(body, self)()
        return result


class Threads(NativeThreads):
    """Native threads, and the standard library's classes."""

    def __init__(self) -> None:
        super().__init__()
        self.semaphore = threading.Semaphore
        self.bounded_semaphore = threading.BoundedSemaphore
        self.condition = threading.Condition
        self.lock = threading.Lock
        self.rlock = threading.RLock
        self.event = threading.Event
        self.queue = queue.Queue
        self.lifo_queue = queue.LifoQueue
        self.priority_queue = queue.PriorityQueue
        self.simple_queue = queue.SimpleQueue


def agree(body: Callable[[World], object]) -> None:
    """Run ``body`` in every world and compare."""
    expected = Threads().run(body)
    for world in (World(), NativeThreads()):
        assert world.run(body) == expected, type(world).__name__


def raised(function: Callable[..., object], *args: Any, **kwargs: Any) -> str:
    """The name of what a call raises, or what it returns."""
    try:
        return repr(function(*args, **kwargs))
    except Exception as error:
        return type(error).__name__


#: A test that blocks the main thread natively while it waits for native threads.
blocks_natively = pytest.mark.usefixtures("may_block_hub")
