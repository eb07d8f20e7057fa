"""The lock by which Python 3.12 and older know that a thread has ended: ``Thread._tstate_lock``.

Rule: `Thread.join` (``_wait_for_tstate_lock``) looks at this lock when an exception leaves it, and if it is
locked it takes that for its own doing, releases it and calls the thread ended (bpo-45274). In CPython that
goes wrong with Ctrl-C; here it would with every `Timeout` around a ``join``. So whoever has been interrupted
is told, once, that it is free.

A native thread's lock is released by C, which tells nobody. So whoever waits for it must wait natively: a
greenlet has a native thread do that, and other greenlets run meanwhile.

From Python 3.13 on a thread has a handle instead (`graftlet.patch._threads.ThreadHandle`): all this can go
with 3.12.
"""

import sys
from typing import Any, Final

from graftlet.core._current import blocking_hub
from graftlet.core._deadlines import INFINITY
from graftlet.core._hub import Hub
from graftlet.core._waiting import sleep_until
from graftlet.io._native_call import NativeCall


class SentinelLock:
    """The end of a thread that is a greenlet. ``lock`` is released there."""

    __slots__ = ("__weakref__", "_interrupted", "_lock")

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._interrupted = False

    def __repr__(self) -> str:
        return f"<the end of a thread: {self._lock!r}>"

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As ``threading.Lock.acquire``: wait for the thread's end."""
        try:
            return self._wait(blocking, timeout)
        except BaseException:
            self._interrupted = True
            raise

    def _wait(self, blocking: bool, timeout: float) -> bool:
        return bool(self._lock.acquire(blocking, timeout))

    def release(self) -> None:
        """As ``threading.Lock.release``: let the others see the thread's end, too."""
        self._lock.release()
        _locks_at_exit().discard(self)

    def end(self) -> None:
        """The thread has ended; somebody may have released it already (bpo-45274)."""
        if self._lock.locked():
            self.release()

    def locked(self) -> bool:
        """Whether the thread runs; False if the last call of `acquire` was interrupted."""
        interrupted, self._interrupted = self._interrupted, False
        return not interrupted and bool(self._lock.locked())

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()


class NativeSentinelLock(SentinelLock):
    """The end of a native thread."""

    __slots__ = ()

    def give_back(self, native: Any) -> bool:
        """Undo patching."""
        return native is self._lock

    def _wait(self, blocking: bool, timeout: float) -> bool:
        if self._lock.acquire(False):
            return True
        hub = blocking_hub() if blocking and timeout != 0 else None
        if hub is None:
            return bool(self._lock.acquire(blocking, timeout))
        call = _Acquire(hub, self._lock, timeout)
        try:
            call.start()
        except RuntimeError:
            # Python 3.12 starts no threads when main has ended, and lets all that run go on.
            return self._look_again_and_again(hub, timeout)
        return bool(call.wait())

    def _look_again_and_again(self, hub: Hub, timeout: float) -> bool:
        deadline = INFINITY if timeout < 0 else hub.clock() + timeout
        while not self._lock.acquire(False):
            now = hub.clock()
            if now >= deadline:
                return False
            sleep_until(hub, min(now + _INTERVAL, deadline))
        return True


#: Seconds.
_INTERVAL: Final = 0.005


class _Acquire(NativeCall):
    __slots__ = ("_native",)

    def __init__(self, hub: Hub, native: Any, timeout: float) -> None:
        super().__init__(hub, native.acquire, True, timeout)
        self._native = native

    def end(self, wanted: bool) -> None:
        if not wanted and self.error is None and self.value:
            self._native.release()


def _locks_at_exit() -> set[Any]:
    """The locks that `threading` waits for at the interpreter's end: a new set in the child of each fork."""
    locks: set[Any] = getattr(sys.modules.get("threading"), "_shutdown_locks", set())
    return locks


class Maintenance:
    """``threading._maintain_shutdown_locks``, which looks at the locks of all threads when one starts, or ends.

    Here a lock leaves them when it is released. All are looked at only when there are twice as many as the last time,
    for locks that C has released: the more threads there are, the less often.
    """

    #: Below that there is no need.
    _ENOUGH: Final = 64

    def __init__(self) -> None:
        self._kept = 0

    def maintain(self) -> None:
        """As ``threading._maintain_shutdown_locks``."""
        locks = _locks_at_exit()
        if len(locks) > 2 * self._kept + self._ENOUGH:
            # A copy: other threads may change it meanwhile.
            locks.difference_update([lock for lock in tuple(locks) if not lock.locked()])
            self._kept = len(locks)
        else:
            self._kept = min(self._kept, len(locks))


maintain: Final = Maintenance().maintain


def sentinels() -> set[int]:
    """The ids of these locks, of all threads that run but main, whose lock `threading` releases itself."""
    threading = sys.modules.get("threading")
    if threading is None:
        return set()
    return {
        id(getattr(thread, "_tstate_lock", None))
        for thread in list(threading._active.values())
        if thread is not threading._main_thread
    }


def released_by_c() -> set[int]:
    """The ids of the locks that C releases when a thread ends, main's included (up to Python 3.12)."""
    threads = getattr(sys.modules.get("threading"), "_active", {})
    locks = (getattr(thread, "_tstate_lock", None) for thread in list(threads.values()))
    return {id(lock) for lock in locks if lock is not None}
