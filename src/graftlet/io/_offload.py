"""Calls in native threads: for what can only block.

Rule: a `NativePool` has at most ``size`` native threads, made when needed and kept while idle. A call's
outcome goes back to the hub that asked, as a message. A greenlet that is killed (or times out) while its
call runs simply leaves: the call itself can't be stopped, its outcome is dropped.

DNS has a pool of its own (`graftlet.io._resolver`), so that slow names can't starve other work.
"""

import os
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from graftlet.core import _original
from graftlet.core._current import blocking_hub
from graftlet.core._hub import Hub
from graftlet.core._own_threads import own_threads, start_own_thread
from graftlet.core._task import Task
from graftlet.io._native_call import ended

Result = TypeVar("Result")


class NoThread(RuntimeError):
    """The operating system has no native thread to give."""


class _Call:
    """One call under way, and who waits for it."""

    __slots__ = ("args", "back", "error", "function", "hub", "kwargs", "task", "value")

    def __init__(
        self,
        hub: Hub,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.hub = hub
        self.task: Task = hub.current
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.value: Any = None
        self.error: BaseException | None = None
        self.back = False

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", None) or repr(self.function)
        return f"{name}() in a native thread"

    def carry_out(self) -> None:
        """In the native thread."""
        try:
            self.value = self.function(*self.args, **self.kwargs)
        except BaseException as error:
            self.error = error
        # Invariant: as in `NativeCall`. `NativePool.call` takes the outcome out.
        self.function, self.args, self.kwargs = ended, (), {}
        self.hub.post(self._back)

    def _back(self) -> None:
        """On the hub."""
        self.back = True
        self.hub.external -= 1
        self.hub.wake(self.task, self)


class NativePool:
    """At most ``size`` native threads that carry out calls for greenlets.

    Args:
        size: how many there may be.
        keep: how many of them may stay idle; the others end.
    """

    def __init__(self, size: int, keep: int | None = None, _again: bool = False) -> None:
        self.size = size
        self.keep = size if keep is None else keep
        self._calls: deque[_Call] = deque()
        # One release for each call that waits: idle threads block on it natively.
        self._idle: deque[Any] = deque()
        self._threads = 0
        self._guard = _original.allocate_lock()
        if hasattr(os, "register_at_fork") and not _again:
            os.register_at_fork(after_in_child=self._forget_threads)

    def call(self, function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
        """Return ``function(*args, **kwargs)``, carried out in a native thread.

        In a native thread without a hub it is carried out right there.

        Raises: NoThread: it could not be begun, and never will be.
        """
        hub = blocking_hub()
        if hub is None:
            return function(*args, **kwargs)
        call = _Call(hub, function, args, kwargs)
        hub.external += 1
        self._calls.append(call)
        try:
            self._wake_or_start()
        except RuntimeError as error:
            try:
                self._calls.remove(call)
            except ValueError:
                pass  # a thread that had other work has taken it
            else:
                hub.external -= 1
                raise NoThread(f"{call!r}: {error}") from error
        while not call.back:
            hub.park(call)
        if call.error is not None:
            try:
                raise call.error
            finally:
                call.error = None  # the traceback refers to this frame
        value: Result
        value, call.value = call.value, None
        return value

    def _wake_or_start(self) -> None:
        try:
            gate = self._idle.pop()
        except IndexError:
            with self._guard:
                if self._threads >= self.size:
                    return  # a busy thread will take it
                self._threads += 1
            try:
                start_own_thread(self._serve)
            except RuntimeError:
                with self._guard:
                    self._threads -= 1
                raise
        else:
            gate.release()

    def _serve(self) -> None:
        gate = _original.allocate_lock()
        gate.acquire()
        own_threads.add(_original.get_ident())
        while True:
            try:
                call = self._calls.popleft()
            except IndexError:
                if len(self._idle) >= self.keep and self._end():
                    return
                # Idle first, then one more look: a call that came in between is not overlooked.
                self._idle.append(gate)
                if self._calls:
                    try:
                        self._idle.remove(gate)
                    except ValueError:
                        gate.acquire()
                    continue
                gate.acquire()
                continue
            call.carry_out()
            del call

    def _end(self) -> bool:
        """Whether this thread may end: a call that came meanwhile may have counted on it."""
        with self._guard:
            self._threads -= 1
        own_threads.discard(_original.get_ident())  # another thread may get this ident
        if not self._calls:
            return True
        with self._guard:
            self._threads += 1
        own_threads.add(_original.get_ident())
        return False

    def _forget_threads(self) -> None:
        """In the child of a fork: there are no threads here."""
        self.__init__(self.size, self.keep, _again=True)  # type: ignore[misc] # everything begins anew, by design


#: For `offload`, and for whatever of the standard library can only block.
pool: Final = NativePool(32)


def offload(function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
    """Return ``function(*args, **kwargs)``, carried out in a native thread of a bounded pool.

    Other greenlets run meanwhile. A greenlet that is killed meanwhile leaves at once; the call goes on.

    Raises: what ``function`` raises.
    """
    return pool.call(function, *args, **kwargs)
