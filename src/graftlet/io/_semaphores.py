"""``_multiprocessing.SemLock``: the semaphores that processes share, under ``multiprocessing.Lock`` etc.

Rules:

* *The semaphore stays the kernel's* (sem_overview(7)). ``acquire`` tries it without blocking; only if that
  fails it enters the wait queue, tries again, and parks. ``release`` posts it, and then wakes one who waits
  in this process, too.
* *Nobody can poll a semaphore*, so while greenlets wait for one, one native thread (the *watcher*) does, for
  all of them. What it gets it leaves in `SemLock._gifts` and wakes the first of them. A gift that nobody
  waits for (killed, timed out) goes back to the semaphore: none is ever lost.
* *The owner is a greenlet.* The C code goes by native threads, so a recursive lock has a plain semaphore
  inside, and its owner and depth are kept here. One that existed before patching and has no name can't be
  opened a second time: then the native object is recursive, and the watcher only looks whether it is free.

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
from graftlet.core._deadlock import own_threads
from graftlet.core._hub import Hub
from graftlet.core._waitqueue import Turn, WaitQueue, deadline_after

# Values of ``kind`` (enum in semaphore.c).
RECURSIVE_MUTEX: Final = 0
SEMAPHORE: Final = 1

#: A watcher whom nobody needs any more finds that out after so many seconds at most.
PATIENCE: Final = 0.25
#: Seconds between two tries where no native thread can be started.
_PAUSE: Final = 0.01

#: Those that a greenlet ever had to wait for: they may have a watcher, gifts, and others who wait.
_contended: Final[WeakSet["SemLock"]] = WeakSet()


class SemLock:
    """A semaphore, or a recursive lock, that processes share."""

    __slots__ = (
        "__weakref__",
        "_depth",
        "_gifts",
        "_looks_only",
        "_native",
        "_owner",
        "_recursive",
        "_waiters",
        "_watcher",
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
        if self._waiters or self._gifts or (self._depth and not self._looks_only):
            return False
        for _ in range(self._depth - 1):
            native.acquire(False)
        return True

    def _work_on(self, native: Any, kind: int) -> None:
        self._native = native
        self._recursive = kind == RECURSIVE_MUTEX
        #: Whether the watcher must not keep what it acquires: it would own it.
        self._looks_only = bool(native.kind == RECURSIVE_MUTEX)
        # Who acquired it last, as ``threading.get_ident`` says; and of a recursive lock how often.
        # Invariant (recursive): written only by who has the semaphore.
        self._owner = 0
        self._depth = 0
        self._waiters = WaitQueue()
        #: One item for each time that the watcher has acquired it for whoever comes first.
        self._gifts: list[None] = []
        #: The watcher: who may start one takes it; the watcher gives it back.
        self._watcher = _original.allocate_lock()

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
        if self._recursive and self._owner == me and self._depth:
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
        if self._waiters:
            self._waiters.wake_one()

    def _try(self, timeout: float | None = None) -> bool:
        """Acquire the semaphore if that can be done without waiting."""
        if self._gifts:
            try:
                self._gifts.pop()
            except IndexError:
                pass  # another thread was faster
            else:
                return True
        if self._looks_only and self._native._count():
            return False  # C would take all greenlets of a thread for one owner
        return bool(self._native.acquire(False, timeout))

    def _wait(self, timeout: float | None) -> bool:
        """Acquire the semaphore, parking as often as need be; False after ``timeout`` seconds."""
        deadline = INFINITY
        if timeout is not None:
            if (seconds := float(timeout)) <= 0:
                return False
            deadline = deadline_after(seconds)
        _contended.add(self)
        hub = blocking_hub()
        turn = self._waiters.enter(self)
        if hub is not None:
            hub.external += 1  # another process may release it
        served = False
        try:
            while not (served := self._try()):
                if not self._park(hub, turn, deadline):
                    break
                if served := self._try():
                    break
                self._waiters.enter_again(turn)
        finally:
            if hub is not None:
                hub.external -= 1
            self._waiters.leave(turn, served)
            self._return_gifts()
            if self._waiters:
                self._start_watcher()  # the one that served us has ended
        return served

    def _park(self, hub: Hub | None, turn: Turn, deadline: float) -> bool:
        if self._start_watcher():
            return turn.park(deadline)
        again = (_original.monotonic() if hub is None else hub.clock()) + _PAUSE
        return turn.park(min(deadline, again)) or again < deadline

    # -- The watcher

    def _start_watcher(self) -> bool:
        """See to it that there is a watcher; False if there can't be one."""
        watcher = self._watcher
        if watcher.acquire(False):
            try:
                _original.start_new_thread(self._watch, (watcher,))
            except RuntimeError:  # no more threads, or the interpreter is ending
                watcher.release()
                return False
        return True

    def _watch(self, watcher: Any) -> None:
        """In the native thread: acquire it once for those who wait, as long as anybody does."""
        me = _original.get_ident()
        own_threads.add(me)
        try:
            while self._waiters:
                if self._native.acquire(True, PATIENCE):
                    if self._looks_only:
                        self._native.release()
                    else:
                        self._gifts.append(None)
                    break
        except OSError:
            pass  # those who wait will meet the same error
        finally:
            # Invariant: first the gift, then the end, then the waking: who is woken and finds no gift
            # can start a watcher again.
            watcher.release()
            self._waiters.wake_one()
            self._return_gifts()
            own_threads.discard(me)  # another thread may get this ident

    def _return_gifts(self) -> None:
        """Whoever leaves the queue, or brings a gift, looks whether there is one that nobody wants."""
        while self._gifts and not self._waiters:
            try:
                self._gifts.pop()
            except IndexError:
                return
            with contextlib.suppress(ValueError):  # released too often meanwhile: it is not missing
                self._native.release()

    # -- What multiprocessing.synchronize asks for

    def _count(self) -> int:
        """How often this process has acquired it and not released."""
        return self._depth if self._recursive else int(self._native._count()) - len(self._gifts)

    def _is_mine(self) -> bool:
        """Whether the current greenlet is the one that acquired it last, and it is not released."""
        return self._count() > 0 and bool(self._owner == _me())

    def _get_value(self) -> int:
        """The semaphore's value."""
        return int(self._native._get_value()) + len(self._gifts)

    def _is_zero(self) -> bool:
        """Whether the semaphore's value is 0."""
        return bool(self._native._is_zero()) and not self._gifts

    def _after_fork(self) -> None:
        """In a child process: nobody here has acquired it."""
        self._native._after_fork()
        self._forget()
        self._owner = 0
        self._depth = 0

    def _forget(self) -> None:
        """In a child process: those who wait, and the watcher, are in the parent."""
        self._waiters = WaitQueue()
        self._gifts = []
        self._watcher = _original.allocate_lock()


def _me() -> int:
    hub = blocking_hub()
    return _original.get_ident() if hub is None else hub.ident_of(hub.current)


def _begin_anew() -> None:
    """In the child of a fork."""
    for semaphore in list(_contended):
        semaphore._forget()
        if semaphore._looks_only and semaphore._depth == 0:
            semaphore._native._after_fork()  # the watcher may have had it at this very moment
    _contended.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
