"""`Lock` and `RLock`, for greenlets and native threads alike.

Rule: a lock is a native lock first. ``acquire`` tries the C lock, and only if that fails it enters the wait
queue, *tries again*, and parks. ``release`` releases the C lock and then looks for waiters. Whoever runs may take
the lock again before them, for a lock that changes hands with every release costs two switches each time; but
only so often, then the one who waits first is given the lock by the next release (the C lock stays locked for
it). One that is killed in the same instant gives it on. An acquire that was asked not to block never switches:
finalizers rely on it.

The methods, their arguments and their errors are those of ``_thread.lock`` and ``_thread.RLock``
(Modules/_threadmodule.c), for these classes take their place.
"""

import sys
from collections import OrderedDict
from os import getpid as _process
from types import TracebackType
from typing import Any, Final, NoReturn

from greenlet import getcurrent

from graftlet.core import _original
from graftlet.core._current import blocking_hub, per_thread
from graftlet.core._deadlines import INFINITY
from graftlet.core._fork import free_in_children
from graftlet.core._hub import Hub, Task
from graftlet.core._waitqueue import Turn, deadline_after

_allocate_lock: Final = _original.allocate_lock
_making: Final = free_in_children(_allocate_lock())


def _check(blocking: bool, timeout: float) -> None:
    """Raise what the native lock raises for such arguments; asks a free one, which never waits."""
    _allocate_lock().acquire(blocking, timeout)


class _Turn(Turn):
    """One wait for a lock."""

    __slots__ = ("process",)

    #: The process in which it waits: the child of a fork finds the turns of its parent.
    process: int


class _Waitable:
    """A native lock and the queue of those who wait for it.

    Who waits is in the queue until it has the lock, and taking its turn out *is* the hand-over: only who has the
    native lock may do that, and leaves it locked.
    """

    __slots__ = ("__weakref__", "_native", "_overtaken", "_passing_in", "_turns")

    #: So often may others take the lock before the one who waits first. Each hand-over to one who has to be woken
    #: costs two switches, and makes all others wait (benchmarks, contended).
    _PATIENCE: Final = 12

    def __init__(self) -> None:
        self._native = _allocate_lock()
        self._turns: OrderedDict[_Turn, None] | None = None  # most locks are never contended
        #: How often that has happened to those who wait.
        self._overtaken = 0
        #: The hub that will soon call `_pass_on`.
        self._passing_in: Hub | None = None

    def _wait(self, timeout: float) -> bool:
        """Acquire the native lock, parking as often as need be; False after ``timeout`` seconds."""
        if timeout == 0:
            return False
        deadline = INFINITY if timeout == -1 else deadline_after(timeout)
        turns = self._turns
        if turns is None:
            with _making:  # two threads may come here at once: one queue wins
                turns = self._turns
                if turns is None:
                    turns = self._turns = OrderedDict()
        native = self._native
        turn = _Turn(self)
        if turn._hub is None:
            turn.process = _process()
        turns[turn] = None
        try:
            # A ``locked`` that is true costs a tenth of an ``acquire`` that fails.
            while not (served := not native.locked() and native.acquire(False)) and turn.park(
                deadline
            ):
                # Invariant: reset before the look at the queue, for who hands over takes the turn out first.
                turn.notified = False
                if turn not in turns:
                    return True
                self._overtaken += 1  # woken, and too late
        except BaseException:
            if _removed(turns, turn):
                self._look()
            else:
                self._free()  # handed over to one who was killed in the same instant
            raise
        if not _removed(turns, turn):
            return True
        if not served:
            self._look()
        return served

    def _look(self) -> None:
        """Nobody who waits may overlook that the lock is free."""
        if self._turns and self._native.acquire(False):
            self._free()

    def _free(self) -> None:
        """Hand the lock, which is held, over; or free it and have the first who waits take it.

        A greenlet of this hub is not woken for that, it would often come too late: whoever runs now may take the
        lock again before anybody else runs. The hub looks when that is over.
        """
        if self._overtaken >= self._PATIENCE and self._native.locked() and self._hand_over():
            return
        self._native.release()
        try:
            hub = per_thread.hub
        except AttributeError:
            hub = None
        turns = self._turns
        while turns and (hub is None or self._passing_in is not hub):
            try:
                for turn in turns:
                    if turn._hub is hub and hub is not None:
                        self._passing_in = hub
                        hub.inbox.append(
                            self._pass_on
                        )  # `Hub.post`, unrolled (benchmarks, contended)
                        if hub.asleep:
                            hub.poller.wake()
                        return
                    if _is_gone(turn):
                        turns.pop(turn, None)
                        break
                    if not turn.notified:
                        turn.notify()
                        return
                else:
                    return
            except RuntimeError:
                pass  # another thread has changed the queue in between

    def _hand_over(self) -> bool:
        """Give the lock, which is held, to the first who waits; False if there is none."""
        turns = self._turns
        while turns:
            try:
                turn = next(iter(turns))
                del turns[turn]
            except (StopIteration, KeyError, RuntimeError):
                continue  # another thread was faster
            if not _is_gone(turn):
                self._overtaken = 0
                turn.notify()
                return True
        return False

    def _pass_on(self) -> None:
        """On the hub: hand the lock over to a greenlet that waits here, unless somebody has taken it again."""
        hub = per_thread.hub
        if self._passing_in is hub:
            self._passing_in = None
        turns = self._turns
        if not turns:
            return
        # Invariant: whoever has the lock instead looks for waiters after it has freed it.
        if self._native.locked() or not self._native.acquire(False):
            self._overtaken += 1
            return
        try:
            first = turn = next(iter(turns))
            if turn._hub is not hub:
                turn = next(turn for turn in turns if turn._hub is hub)
            del turns[turn]
        except (StopIteration, KeyError, RuntimeError):
            # Nobody waits here, or another thread has changed the queue in between.
            self._free()
            return
        self._overtaken = 0 if turn is first else self._overtaken + 1
        turn.notified = True
        task = turn._task
        if task.waiting is turn:
            task.waiting = None
            # In the place that it would have, had it been woken at once.
            hub.ready.appendleft(task)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {_type_name(type(self))!r} object")

    def locked(self) -> bool:
        """Whether anybody holds it."""
        return self._native.locked()

    def _state(self) -> str:
        return "locked" if self._native.locked() else "unlocked"


class Lock(_Waitable):
    """A mutual exclusion lock, as `threading.Lock`."""

    __module__ = "graftlet.lock"
    __slots__ = ("_taker",)

    def __init__(self) -> None:
        # As in _Waitable, unrolled: locks are made by the thousand.
        self._native = _allocate_lock()
        self._turns = self._passing_in = None
        self._overtaken = 0
        #: The (raw) greenlet that took it last: for the deadlock report only.
        self._taker: Any = None

    def __init_subclass__(cls) -> None:
        if cls.__module__ != "_thread":
            raise TypeError(f"type {_type_name(cls.__mro__[1])!r} is not an acceptable base type")

    @classmethod
    def of(cls, native: Any) -> "Lock":
        """A cooperative lock that works on ``native``, a ``_thread.lock``, and so has its state."""
        self = object.__new__(cls)
        Lock.__init__(self)
        self._native = native
        return self

    def give_back(self, native: Any) -> bool:
        """Undo `of`; False if ``native`` can't have this one's state."""
        return native is self._native and not self._turns

    def __repr__(self) -> str:
        return f"<{self._state()} {_type_name(type(self))} object at {id(self):#x}>"

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
            _check(blocking, timeout)
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
    locked_lock = _Waitable.locked

    def _at_fork_reinit(self) -> None:
        """In the child of a fork: free, and nobody waits."""
        self._native = _allocate_lock()
        self._turns = self._passing_in = None
        self._overtaken = 0


class RLock(_Waitable):
    """A re-entrant lock, as `threading.RLock`: owned by a greenlet (or a native thread)."""

    __module__ = "graftlet.lock"
    __slots__ = ("_count", "_owner")

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        # C's RLock takes any arguments and ignores them (a DeprecationWarning since 3.14).
        self._native = _allocate_lock()
        self._turns = self._passing_in = None
        self._overtaken = 0
        # Invariant: written only by who holds the native lock. A Task, or a native thread's ident.
        self._owner: Any = None
        self._count = 0

    @classmethod
    def of(cls, native: Any) -> "RLock | None":
        """A cooperative lock in the state of ``native``, a ``_thread.RLock``.

        None if another native thread holds it: its state is not ours to move.
        """
        if not native.acquire(False):
            return None
        native.release()
        self = cls()
        if native._is_owned():
            self._native.acquire()
            self._count = native._release_save()[0]
            self._owner = _me()
        return self

    def give_back(self, native: Any) -> bool:
        """Undo `of`; False if ``native`` can't have this one's state."""
        if self._turns or (self._count and not self._is_owned()):
            return False
        for _ in range(self._count):
            native.acquire()
        return True

    def __repr__(self) -> str:
        owner = self._owner
        return (
            f"<{self._state()} {_type_name(type(self))} object owner={_ident_of(owner)} "
            f"count={self._count} at {id(self):#x}>"
        )

    @property
    def holder(self) -> Any:
        """Who owns it: a greenlet, the ident of a native thread, or None."""
        return self._owner

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, once more if the current greenlet owns it already.

        Args:
            blocking: whether to wait for it.
            timeout: how many seconds to wait at most; -1 waits for ever.

        Returns: whether it was taken.

        Raises: ValueError, OverflowError, TypeError: as ``threading.RLock.acquire``.
        """
        if timeout != -1 or (blocking is not True and blocking is not False):
            _check(blocking, timeout)
        try:
            me = per_thread.hub.current
        except AttributeError:
            me = _owner_without_hub()
        if self._owner is me:
            self._count += 1
            return True
        native = self._native.acquire(False)
        if not native and self._owner == me:  # the same native thread's ident
            self._count += 1
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
            raise RuntimeError("cannot release un-acquired lock")
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

    def _is_owned(self) -> bool:
        return self._count > 0 and bool(self._owner == _me())

    def _release_save(self) -> tuple[int, Any]:
        if self._count == 0:
            raise RuntimeError("cannot release un-acquired lock")
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
        return self._count if self._owner == _me() else 0

    def _at_fork_reinit(self) -> None:
        """In the child of a fork: free, and nobody waits."""
        self._native = _allocate_lock()
        self._turns = self._passing_in = None
        self._overtaken = 0
        self._owner = None
        self._count = 0


def _removed(turns: "OrderedDict[_Turn, None]", turn: _Turn) -> bool:
    """Take the turn out of the queue; False if somebody else has done so."""
    try:
        del turns[turn]
    except KeyError:
        return False
    return True


def _is_gone(turn: _Turn) -> bool:
    """Whether it stayed behind in the parent of a fork, or its hub's native thread has ended."""
    hub = turn._hub
    if hub is None:
        return turn.process != _process()
    return hub.closed or hub.process != _process()


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


def _task_of(raw: Any) -> Task | None:
    """The parked task that runs (or ran last) in ``raw``."""
    hub = blocking_hub()
    if hub is None or raw is None:
        return None
    if hub.main.raw is raw:
        return hub.main
    return next((worker.task for worker in hub.workers if worker.raw is raw), None)


def _type_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__name__}"


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


class ThreadRLock(RLock):
    """What takes the place of ``_thread.RLock``."""

    __module__ = "_thread"
    __slots__ = ()

    if sys.version_info >= (3, 15):  # goes with 3.14, and then RLock takes no arguments either

        def __init__(self) -> None:
            super().__init__()


ThreadLock.__name__ = ThreadLock.__qualname__ = "lock"
ThreadRLock.__name__ = ThreadRLock.__qualname__ = "RLock"
if sys.version_info >= (3, 15):
    # Before, they could be left out.
    Lock.__exit__.__defaults__ = RLock.__exit__.__defaults__ = None
