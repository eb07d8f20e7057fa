"""`RLock`, for greenlets and native threads alike.

Rule: a `Waitable` that has an owner. ``_owner`` and ``_count`` are written only by who holds the native lock. The
methods, their arguments and their errors are those of ``_thread.RLock`` (Modules/_threadmodule.c), for this class
takes its place.
"""

import sys
from types import TracebackType
from typing import Any

from graftlet.core import _original
from graftlet.core._current import blocking_hub, per_thread
from graftlet.sync._old_hold import OldHold, OldTurns, current_holder
from graftlet.sync._waitable import Waitable, allocate_lock, check, type_name


class RLock(Waitable):
    """A re-entrant lock, as `threading.RLock`: owned by a greenlet (or a native thread)."""

    __module__ = "graftlet.lock"
    __slots__ = ("_count", "_owner")

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        # C's RLock takes any arguments and ignores them (a DeprecationWarning since 3.14).
        self._native = allocate_lock()
        self._turns = self._passing_in = None
        self._overtaken = 0
        self._retaken = False
        # Invariant: written only by who holds the native lock. A Task, or a native thread's ident.
        self._owner: Any = None
        self._count = 0

    @classmethod
    def of(cls, native: Any) -> "RLock":
        """A cooperative lock in the state of ``native``, a ``_thread.RLock``.

        Whoever holds that one holds this one.
        """
        self = cls()
        if native._is_owned():
            self._native = OldHold(native, current_holder())
        elif native.acquire(False):
            native.release()
            return self
        else:
            self._native = OldHold(native, None)
        self._turns = OldTurns()
        return self

    def give_back(self, native: Any) -> bool:
        """Undo `of`; False if ``native`` can't have this one's state."""
        if self._turns or (self._count and not self._is_owned()):
            return False
        if self._count:
            for _ in range(self._count):
                native.acquire()
            # Whoever is in a ``with`` block of this one will leave it by this one's method.
            self._native = OldHold(native, self._owner)
            self._owner = None
            self._count = 0
        return True

    def __repr__(self) -> str:
        owner = self._owner
        return (
            f"<{self._state()} {type_name(type(self))} object owner={_ident_of(owner)} "
            f"count={self._count} at {id(self):#x}>"
        )

    @property
    def holder(self) -> Any:
        """Who owns it: a greenlet, the ident of a native thread, or None."""
        old = self._native
        return old.holder if self._owner is None and type(old) is OldHold else self._owner

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, once more if the current greenlet owns it already.

        Args:
            blocking: whether to wait for it.
            timeout: how many seconds to wait at most; -1 waits for ever.

        Returns: whether it was taken.

        Raises: ValueError, OverflowError, TypeError: as ``threading.RLock.acquire``.
        """
        if timeout != -1 or (blocking is not True and blocking is not False):
            check(blocking, timeout)
        try:
            me = per_thread.hub.current
        except AttributeError:
            me = _owner_without_hub()
        if self._owner is me:
            self._count += 1
            return True
        native = self._native.acquire(False)
        if not native:
            if self._owner == me:  # the same native thread's ident
                self._count += 1
                return True
            if (old := self._old_hold(me)) is not None:
                old.acquire_again()
                return True
        if native or (blocking and self._wait(timeout)):
            self._owner = me
            self._count = 1
            return True
        return False

    def __enter__(self) -> bool:
        # `acquire` and, below, `release`, unrolled (benchmarks, rlock).
        try:
            me = per_thread.hub.current
        except AttributeError:
            return self.acquire()
        if self._owner is me:
            self._count += 1
            return True
        if self._native.acquire(False):
            self._owner = me
            self._count = 1
            return True
        return self.acquire()

    def release(self) -> None:
        """Undo one `acquire` (RuntimeError unless the current greenlet owns the lock)."""
        try:
            me = per_thread.hub.current
        except AttributeError:
            me = _owner_without_hub()
        if self._owner is not me and self._owner != me:
            if (old := self._old_hold(me)) is None:
                raise RuntimeError("cannot release un-acquired lock")
            old.release_once()
            self._look()
            return
        if self._count > 1:
            self._count -= 1
            return
        self._count = 0
        self._owner = None
        if self._turns:
            self._free()
            return
        self._native.release()
        if self._turns:  # another thread has come in between
            self._look()

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        try:
            mine = self._owner is per_thread.hub.current
        except AttributeError:
            mine = False
        if mine and self._count == 1:
            self._count = 0
            self._owner = None
            if self._turns:
                self._free()
                return
            self._native.release()
            if self._turns:
                self._look()
        else:
            self.release()

    # What threading.Condition uses.

    def _old_hold(self, me: Any) -> OldHold | None:
        """What ``me``, who runs and does not own this lock, holds of its predecessor."""
        old = self._native
        return old if type(old) is OldHold and old.is_of(me) else None

    def _is_owned(self) -> bool:
        me = _me()
        return (self._count > 0 and bool(self._owner == me)) or self._old_hold(me) is not None

    def _release_save(self) -> tuple[int, Any]:
        if self._count == 0:
            me = _me()
            if (old := self._old_hold(me)) is None:
                raise RuntimeError("cannot release un-acquired lock")
            saved = (old.release_save(), me)
            self._look()
            return saved
        saved = (self._count, self._owner)
        self._count = 0
        self._owner = None
        self._free()
        return saved

    def _acquire_restore(self, saved: tuple[int, Any]) -> None:
        if not self._native.acquire(False):
            self._wait(-1)
        self._count, self._owner = saved

    def _recursion_count(self) -> int:
        me = _me()
        if self._owner == me:
            return self._count
        old = self._old_hold(me)
        return 0 if old is None else old.count()

    def _at_fork_reinit(self) -> None:
        """In the child of a fork: free, and nobody waits."""
        self._native = allocate_lock()
        self._turns = self._passing_in = None
        self._overtaken = 0
        self._retaken = False
        self._owner = None
        self._count = 0


def _me() -> Any:
    try:
        return per_thread.hub.current
    except AttributeError:
        return _owner_without_hub()


def _owner_without_hub() -> Any:
    hub = blocking_hub()
    return _original.get_ident() if hub is None else hub.current


def _ident_of(owner: Any) -> int:
    if owner is None:
        return 0
    return owner if isinstance(owner, int) else int(getattr(owner, "ident", id(owner)))


class ThreadRLock(RLock):
    """What takes the place of ``_thread.RLock``."""

    __module__ = "_thread"
    __slots__ = ()

    if sys.version_info >= (3, 15):  # goes with 3.14, and then RLock takes no arguments either

        def __init__(self) -> None:
            super().__init__()


ThreadRLock.__name__ = ThreadRLock.__qualname__ = "RLock"
if sys.version_info >= (3, 15):
    # Before, they could be left out.
    RLock.__exit__.__defaults__ = None
