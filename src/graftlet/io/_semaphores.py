"""``_multiprocessing.SemLock``: the semaphores that processes share, under ``multiprocessing.Lock`` etc.

Rules:

* *The semaphore stays the kernel's* (sem_overview(7)). ``acquire`` tries it without blocking. Nobody can poll
  a semaphore, so if that fails a native thread waits for it, with the very deadline: whether the semaphore
  came in time only the kernel can tell (``multiprocessing.Condition`` counts on it).
* *One native thread for each semaphore*, however many greenlets wait: all but the first wait for their turn.
* *A semaphore is for a greenlet that waits for it.* If that has been killed when its native thread gets the
  semaphore at last, it is released again.
* *The owner is a greenlet.* The C code goes by native threads, so a recursive lock has a plain semaphore
  inside, and its owner and depth are kept here. One that existed before patching and has no name can't be
  opened a second time: then the native object is recursive, and the thread only looks whether it is free.

The methods, arguments and errors are those of Modules/_multiprocessing/semaphore.c.
"""

import contextlib
import os
from types import TracebackType
from typing import Any, Final
from weakref import WeakSet

from graftlet.core import _original
from graftlet.core._current import blocking_hub
from graftlet.core._deadlines import INFINITY
from graftlet.core._hub import Hub
from graftlet.core._waitqueue import LONGEST_NATIVE_WAIT
from graftlet.io._native_call import NativeCall
from graftlet.sync._lock import Lock

# Values of ``kind`` (enum in semaphore.c).
RECURSIVE_MUTEX: Final = 0
SEMAPHORE: Final = 1

#: A native thread whose greenlet has left finds that out after so many seconds at most.
PATIENCE: Final = 0.25

#: Those that somebody ever had to wait for.
_contended: Final[WeakSet["SemLock"]] = WeakSet()


class SemLock:
    """A semaphore, or a recursive lock, that processes share."""

    __slots__ = (
        "__weakref__",
        "_depth",
        "_front",
        "_looks_only",
        "_native",
        "_owner",
        "_recursive",
    )

    SEM_VALUE_MAX: Final[int] = 0 if _original.SemLock is None else _original.SemLock.SEM_VALUE_MAX

    def __init__(self, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> None:
        assert _original.SemLock is not None
        plain = SEMAPHORE if kind == RECURSIVE_MUTEX else kind
        self._work_on(_original.SemLock(plain, value, maxvalue, name, unlink), kind)

    @classmethod
    def _rebuild(cls, handle: int, kind: int, maxvalue: int, name: str | None, /) -> "SemLock":
        """As in C: the semaphore that another process has made."""
        assert _original.SemLock is not None
        plain = SEMAPHORE if kind == RECURSIVE_MUTEX else kind
        self = cls.__new__(cls)
        self._work_on(_original.SemLock._rebuild(handle, plain, maxvalue, name), kind)
        return self

    @classmethod
    def of(cls, native: Any) -> "SemLock | None":
        """A cooperative one in the state of ``native``, a ``_multiprocessing.SemLock``.

        None if it is a recursive lock that another native thread holds.
        """
        assert _original.SemLock is not None
        kind = native.kind
        depth = native._count()
        mine = native._is_mine()
        self = cls.__new__(cls)
        if kind == RECURSIVE_MUTEX:
            if depth > 0 and not mine:
                return None
            if depth == 0 and native.name is not None:
                native = _original.SemLock._rebuild(
                    native.handle, SEMAPHORE, native.maxvalue, native.name
                )
        self._work_on(native, kind)
        if mine:
            self._owner = _me()
        if kind == RECURSIVE_MUTEX:
            self._depth = depth
            for _ in range(depth - 1):
                native.release()
        return self

    def give_back(self, native: Any) -> bool:
        """Undo `of`; False if ``native`` can't have this one's state."""
        if self._front.locked() or (self._depth and not self._looks_only):
            return False
        for _ in range(self._depth - 1):
            native.acquire(False)
        return True

    def _work_on(self, native: Any, kind: int) -> None:
        self._native = native
        self._recursive = kind == RECURSIVE_MUTEX
        #: Whether the native thread must not keep what it acquires: it would own it.
        self._looks_only = bool(native.kind == RECURSIVE_MUTEX)
        # Who acquired it last, as ``threading.get_ident`` says; and of a recursive lock how often.
        # Invariant (recursive): written only by who has the semaphore.
        self._owner = 0
        self._depth = 0
        #: Who waits for the semaphore itself; the others wait for this.
        self._front = Lock()

    # -- What C has as members

    @property
    def handle(self) -> int:
        """The address of the semaphore."""
        return int(self._native.handle)

    @property
    def kind(self) -> int:
        """Whether it is a recursive lock (0) or a semaphore (1)."""
        return RECURSIVE_MUTEX if self._recursive else SEMAPHORE

    @property
    def maxvalue(self) -> int:
        """The value that ``release`` must not exceed."""
        return int(self._native.maxvalue)

    @property
    def name(self) -> str | None:
        """The semaphore's name; None if it has none any more."""
        name: str | None = self._native.name
        return name

    # -- Acquiring

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Acquire the semaphore or lock.

        Args:
            block: whether to wait for it.
            timeout: how many seconds to wait at most; None waits for ever.

        Returns: whether it was acquired.
        """
        me = _me()
        if self._recursive and self._depth and self._owner == me:
            self._depth += 1
            return True
        if self._try(timeout) or (block and self._wait(timeout)):
            self._owner = me
            if self._recursive:
                self._depth = 1
            return True
        return False

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        exc_tb: TracebackType | None = None,
        /,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Release the semaphore or lock.

        Raises:
            AssertionError: it is a recursive lock, and not the current greenlet's.
            ValueError: it was released too often.
        """
        if self._recursive:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if self._depth > 1:
                self._depth -= 1
                return
            self._depth = 0
            self._owner = 0
        self._native.release()
        if self._owner and self._native._count() <= 0:
            self._owner = 0

    def _try(self, timeout: float | None = None) -> bool:
        """Acquire the semaphore if that can be done without waiting."""
        if self._looks_only and self._native._count():
            return False  # C would take all greenlets of a thread for one owner
        return bool(self._native.acquire(False, timeout))  # checks the argument

    def _wait(self, timeout: float | None) -> bool:
        """Acquire the semaphore, parking as often as need be; False after ``timeout`` seconds."""
        if timeout is None:
            deadline = INFINITY
            self._front.acquire()
        else:
            if (left := float(timeout)) <= 0:
                return False
            deadline = _original.monotonic() + left
            if not self._front.acquire(timeout=min(left, LONGEST_NATIVE_WAIT)):
                return False
        _contended.add(self)
        hub = blocking_hub()
        try:
            while not self._try():
                if hub is None:
                    if not _acquire(self._native, self._looks_only, deadline):
                        return False
                elif not _Acquiring(hub, self._native, self._looks_only, deadline).outcome():
                    return False
                if not self._looks_only:
                    break
        finally:
            self._front.release()
        return True

    # -- What multiprocessing.synchronize asks for

    def _count(self) -> int:
        """How often this process has acquired it and not released."""
        return self._depth if self._recursive else int(self._native._count())

    def _is_mine(self) -> bool:
        """Whether the current greenlet is the one that acquired it last, and it is not released."""
        return self._count() > 0 and self._owner == _me()

    def _get_value(self) -> int:
        """The semaphore's value."""
        return int(self._native._get_value())

    def _is_zero(self) -> bool:
        """Whether the semaphore's value is 0."""
        return bool(self._native._is_zero())

    def _after_fork(self) -> None:
        """In a child process: nobody here has acquired it."""
        self._native._after_fork()
        self._front._at_fork_reinit()
        self._owner = 0
        self._depth = 0


def _acquire(
    native: Any, looks_only: bool, deadline: float, call: "_Acquiring | None" = None
) -> bool:
    """Wait natively until the deadline, or until nobody wants the outcome of ``call`` any more."""
    while call is None or not call.is_over():
        left = deadline - _original.monotonic()
        if native.acquire(True, max(0, min(left, PATIENCE))):
            if looks_only:
                native.release()
            return True
        if left <= PATIENCE:
            break
    return False


class _Acquiring(NativeCall):
    """A native thread waits for a semaphore."""

    __slots__ = ("_keeps", "_native")

    def __init__(self, hub: Hub, native: Any, looks_only: bool, deadline: float) -> None:
        super().__init__(hub, _acquire, native, looks_only, deadline, self)
        self._native = native
        self._keeps = not looks_only

    def __repr__(self) -> str:
        return f"{self._native!r}, which another process may hold"

    def is_over(self) -> bool:
        """Whether the greenlet has left."""
        return self._ended

    def outcome(self) -> bool:
        """Whether it was acquired in time."""
        try:
            return bool(super().outcome())
        finally:
            self._args = (self._native, False, 0)  # no cycle; and if it begins only now, no wait

    def end(self, wanted: bool) -> None:
        """Give the semaphore back if nobody wants it."""
        if not wanted and self.error is None and self.value and self._keeps:
            with contextlib.suppress(ValueError):  # released too often meanwhile: it is not missing
                self._native.release()


def _me() -> int:
    hub = blocking_hub()
    return _original.get_ident() if hub is None else hub.ident_of(hub.current)


def _begin_anew() -> None:
    """In the child of a fork."""
    for semaphore in list(_contended):
        semaphore._front._at_fork_reinit()
        if semaphore._looks_only and semaphore._depth == 0:
            semaphore._native._after_fork()  # the native thread may have had it at this very moment
    _contended.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
