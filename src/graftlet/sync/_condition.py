"""`Condition`: wait for something that others, holding the same lock, say has come about.

Rule: whoever waits enters the queue before it gives the lock up, so a notification can't fall in between;
and it leaves `Condition.wait` only with the lock taken again, whatever was thrown at it: the
``with`` statement around it would otherwise release a lock that somebody else has. A notification that
reaches a greenlet that is killed goes to the next one.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NoReturn, TypeVar

from graftlet.core._current import get_hub
from graftlet.core._waitqueue import Turn, WaitQueue, deadline_after
from graftlet.sync._lock import Lock
from graftlet.sync._rlock import RLock

Result = TypeVar("Result")

# The steps of a wait.
_RELEASE: Final = 0
_PARK: Final = 1
_LEAVE: Final = 2
_RESTORE: Final = 3


def raise_first(thrown: list[BaseException]) -> NoReturn:
    """Raise the first one, and each other one at this greenlet's next blocking calls."""
    first = thrown.pop(0)
    if thrown:
        hub = get_hub()
        for error in thrown:
            hub.throw(hub.current, error)
    try:
        raise first
    finally:
        del first  # or the exception would refer to itself through this frame


class Condition:
    """A condition variable, as `threading.Condition`.

    Args:
        lock: a `Lock`, an `RLock` or anything with ``acquire`` and ``release``; None: a new `RLock`.
    """

    __slots__ = (
        "__weakref__",
        "_acquire_restore",
        "_failures",
        "_is_owned",
        "_lock",
        "_release_save",
        "_waiters",
    )

    def __init__(self, lock: Any = None) -> None:
        if lock is None:
            lock = RLock()
        self._lock = lock
        self._waiters: Final = WaitQueue()
        # As threading.Condition: a lock that can be taken more than once brings these with it.
        self._release_save: Callable[[], Any] = getattr(lock, "_release_save", self._release_once)
        self._acquire_restore: Callable[[Any], object] = getattr(
            lock, "_acquire_restore", self._acquire_once
        )
        self._is_owned: Callable[[], bool] = getattr(lock, "_is_owned", self._is_locked)
        # What comes out of our own locks' acquire was thrown at us. Somebody else's may have failed.
        self._failures: tuple[type[BaseException], ...] = (
            () if isinstance(lock, (Lock, RLock)) else (Exception,)
        )

    def __repr__(self) -> str:
        waiters = len(self._waiters)
        return f"<graftlet.lock.Condition at {id(self):#x}: {self._lock!r} waiters={waiters}>"

    # -- The lock

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        """Take the lock, as its own ``acquire`` does."""
        return bool(self._lock.acquire(*args, **kwargs))

    def release(self) -> None:
        """Free the lock."""
        self._lock.release()

    def locked(self) -> bool:
        """Whether the lock is held."""
        return bool(self._lock.locked())

    def __enter__(self) -> bool:
        return bool(self._lock.__enter__())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.__exit__(kind, value, traceback)

    def _release_once(self) -> None:
        self._lock.release()

    def _acquire_once(self, _: Any) -> None:
        self._lock.acquire()

    def _is_locked(self) -> bool:
        if self._lock.acquire(False):
            self._lock.release()
            return False
        return True

    # -- Waiting

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock up, wait to be notified, and take the lock again.

        Args:
            timeout: how many seconds to wait at most; None waits for ever.

        Returns: False if the time was over first.

        Raises:
            RuntimeError: the lock isn't held.
        """
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        deadline = deadline_after(timeout)
        turns = self._waiters._turns
        turn = Turn(self)
        # What `_release_save` returns, should a signal's handler raise in there after the release.
        saved: Any = (self._lock._count, self._lock._owner) if type(self._lock) is RLock else None
        turns[turn] = None
        step = _RELEASE
        doubtful = notified = False
        thrown: list[BaseException] = []
        # Each step is begun once, whatever is thrown; the last one until it succeeds.
        while True:
            try:
                if step == _RELEASE:
                    step = _PARK
                    saved = self._release_save()
                if step == _PARK:
                    step = _LEAVE
                    if timeout is None or timeout > 0:
                        turn.park(deadline)
                if step == _LEAVE:
                    try:
                        del turns[turn]
                    except KeyError:
                        notified = True
                    step = _RESTORE
                if not (doubtful and self._is_owned()):
                    self._acquire_restore(saved)
                break
            except BaseException as error:
                if step == _RESTORE and isinstance(error, self._failures):
                    raise
                thrown.append(error)
                if step == _PARK:  # it came out of the release
                    step = _LEAVE
                    doubtful = True
        if thrown:
            if notified:
                self._waiters.wake_one()
            raise_first(thrown)
        return notified

    def wait_for(self, predicate: Callable[[], Result], timeout: float | None = None) -> Result:
        """Wait until ``predicate()``, called with the lock held, is true.

        Args:
            timeout: how many seconds to wait at most; None waits for ever.

        Returns: what ``predicate`` returned last.

        Raises:
            RuntimeError: the lock isn't held.
        """
        result = predicate()
        if timeout is None:
            while not result:
                self.wait()
                result = predicate()
            return result
        deadline = deadline_after(timeout)
        while not result and (left := deadline - deadline_after(0)) > 0:
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake ``n`` of those who wait; they go on when they get the lock.

        Raises:
            RuntimeError: the lock isn't held.
        """
        if not self._is_owned():
            raise RuntimeError("cannot notify on un-acquired lock")
        for _ in range(n):
            if not self._waiters.wake_one():
                return

    def notify_all(self) -> None:
        """Wake all who wait.

        Raises:
            RuntimeError: the lock isn't held.
        """
        self.notify(len(self._waiters))
