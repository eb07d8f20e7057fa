"""`Lock`, for greenlets and native threads alike.

Rule: nothing but what a `Waitable` is, and the methods, arguments and errors of ``_thread.lock``
(Modules/_threadmodule.c), for this class takes its place.
"""

import sys
from types import TracebackType
from typing import Any

from greenlet import getcurrent

from graftlet.core._current import blocking_hub
from graftlet.core._task import Task
from graftlet.sync._old_hold import OldTurns
from graftlet.sync._waitable import Waitable, allocate_lock, check, type_name


class Lock(Waitable):
    """A mutual exclusion lock, as `threading.Lock`."""

    __module__ = "graftlet.lock"
    __slots__ = ("_taker",)

    def __init__(self) -> None:
        # As in Waitable, unrolled: locks are made by the thousand.
        self._native = allocate_lock()
        self._turns = self._passing_in = None
        self._overtaken = 0
        self._retaken = False
        #: The (raw) greenlet that took it last: for the deadlock report only.
        self._taker: Any = None

    def __init_subclass__(cls) -> None:
        if cls.__module__ != "_thread":
            raise TypeError(f"type {type_name(cls.__mro__[1])!r} is not an acceptable base type")

    @classmethod
    def of(cls, native: Any) -> "Lock":
        """A cooperative lock that works on ``native``, a ``_thread.lock``, and so has its state."""
        self = object.__new__(cls)
        Lock.__init__(self)
        self._native = native
        if native.locked():
            self._turns = OldTurns()
        return self

    def give_back(self, native: Any) -> bool:
        """Undo `of`; False if ``native`` can't have this one's state."""
        return native is self._native and not self._turns

    def __repr__(self) -> str:
        return f"<{self._state()} {type_name(type(self))} object at {id(self):#x}>"

    @property
    def holder(self) -> Any:
        """The greenlet that holds it; None if it is free or its holder is not parked."""
        return _task_of(self._taker) if self._native.locked() else None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock.

        Args:
            blocking: whether to wait for it.
            timeout: how many seconds to wait at most; -1 waits for ever.

        Returns: whether it was taken.

        Raises: ValueError, OverflowError, TypeError: as ``threading.Lock.acquire``.
        """
        if timeout != -1 or (blocking is not True and blocking is not False):
            check(blocking, timeout)
        if self._native.acquire(False) or (blocking and self._wait(timeout)):
            try:
                self._taker = getcurrent()
            except RuntimeError:
                pass  # finalizers that run at the interpreter's very end: there are no greenlets then
            return True
        return False

    def release(self) -> None:
        """Free the lock; whoever holds it (RuntimeError if nobody does)."""
        if self._turns:
            self._free()
            return
        self._native.release()
        if self._turns:  # another thread has come in between
            self._look()

    def __enter__(self) -> bool:
        if self._native.acquire(False) or self._wait(-1):
            try:
                self._taker = getcurrent()
            except RuntimeError:
                pass  # as in `acquire`
        return True

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        # `release`, unrolled (benchmarks, lock).
        if self._turns:
            self._free()
            return
        self._native.release()
        if self._turns:  # another thread has come in between
            self._look()

    acquire_lock = acquire
    release_lock = release
    locked_lock = Waitable.locked

    def _at_fork_reinit(self) -> None:
        """In the child of a fork: free, and nobody waits."""
        self._native = allocate_lock()
        self._turns = self._passing_in = None
        self._overtaken = 0
        self._retaken = False


def _task_of(raw: Any) -> Task | None:
    """The parked task that runs (or ran last) in ``raw``."""
    hub = blocking_hub()
    if hub is None or raw is None:
        return None
    if hub.main.raw is raw:
        return hub.main
    return next((worker.task for worker in hub.workers if worker.raw is raw), None)


class ThreadLock(Lock):
    """What takes the place of ``_thread.lock``: in everything that it says of itself, too."""

    __module__ = "_thread"
    __slots__ = ()

    if sys.version_info < (3, 13):  # goes with 3.12

        def __new__(cls) -> "ThreadLock":
            raise TypeError("cannot create '_thread.lock' instances")


def make_lock() -> ThreadLock:
    """As ``_thread.allocate_lock``."""
    lock = object.__new__(ThreadLock)
    Lock.__init__(lock)
    return lock


ThreadLock.__name__ = ThreadLock.__qualname__ = "lock"
if sys.version_info >= (3, 15):
    # Before, they could be left out.
    Lock.__exit__.__defaults__ = None
