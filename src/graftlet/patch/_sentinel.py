"""The lock by which Python 3.12 and older know that a native thread has ended.

Rule: C releases this lock, at the very end of its thread, and tells nobody. So whoever waits for it must
wait natively: a greenlet has a native thread do that, and other greenlets run meanwhile. From Python 3.13
on a thread has a handle instead (`graftlet.patch._threads.ThreadHandle`); this module can go with 3.12.
"""

import sys
from typing import Any

from graftlet.core._current import blocking_hub
from graftlet.io._native_call import NativeCall


class SentinelLock:
    """Stands for the ``_tstate_lock`` of a native thread."""

    __slots__ = ("__weakref__", "_native")

    def __init__(self, native: Any) -> None:
        self._native = native

    def give_back(self, native: Any) -> bool:
        """Undo patching."""
        return native is self._native

    def __repr__(self) -> str:
        return f"<the end of a native thread: {self._native!r}>"

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As ``threading.Lock.acquire``: wait for the thread's end."""
        if self._native.acquire(False):
            return True
        hub = blocking_hub() if blocking and timeout != 0 else None
        if hub is None:
            return bool(self._native.acquire(blocking, timeout))
        return bool(_Acquire(hub, self._native.acquire, True, timeout).outcome())

    def release(self) -> None:
        """As ``threading.Lock.release``: let the others see the thread's end, too."""
        self._native.release()

    def locked(self) -> bool:
        """Whether the thread runs."""
        return bool(self._native.locked())

    def _at_fork_reinit(self) -> None:
        self._native._at_fork_reinit()


class _Acquire(NativeCall):
    __slots__ = ()

    def end(self, wanted: bool) -> None:
        if not wanted and self.error is None and self.value:
            self._function.__self__.release()  # type: ignore[attr-defined] # a lock's own method


def sentinels() -> set[int]:
    """The ids of these locks, of all threads that run."""
    threading = sys.modules.get("threading")
    threads = [] if threading is None else list(threading._active.values())
    return {id(getattr(thread, "_tstate_lock", None)) for thread in threads}
