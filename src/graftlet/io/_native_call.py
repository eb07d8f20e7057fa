"""One call in a native thread of its own: for what may wait for ever.

Rule: a child, a lock or a FIFO may keep a call waiting without end, and would keep a thread of a bounded
pool (`graftlet.io._offload`). A thread of this kind ends with its call, so a program that forks later has no
more threads then than it had before. A greenlet that is killed (or times out) meanwhile leaves the call
alone; what that does in the end, `NativeCall.end` must undo.
"""

from collections.abc import Callable
from typing import Any

from graftlet.core import _original
from graftlet.core._hub import Hub
from graftlet.core._own_threads import own_threads, start_own_thread
from graftlet.core._task import Task


def ended() -> None:
    """What a call that has ended still has to do."""


class NativeCall:
    """One call in a native thread of its own, for one greenlet."""

    __slots__ = (
        "_args",
        "_back",
        "_ended",
        "_function",
        "_guard",
        "_hub",
        "_task",
        "error",
        "value",
    )

    def __init__(self, hub: Hub, function: Callable[..., Any], *args: Any) -> None:
        self._hub = hub
        self._task: Task = hub.current
        self._function: Callable[..., Any] = function
        self._args = args
        self.value: Any = None
        #: What the call has raised; and before it has ended, something, too.
        self.error: BaseException | None = RuntimeError("the native thread has not ended")
        self._guard = _original.allocate_lock()
        #: Whether the thread has its outcome, or the greenlet has left: what comes second sees it.
        self._ended = False
        #: Whether the outcome has come back to the hub.
        self._back = False

    def __repr__(self) -> str:
        function = self._function
        function = getattr(function, "func", function)  # of a `partial`: not its arguments
        return f"{getattr(function, '__name__', function)}() in a native thread"

    def outcome(self) -> Any:
        """Make the call, and return or raise what it does. For a greenlet that leaves it goes on."""
        self.start()
        return self.wait()

    def start(self) -> None:
        """Begin the call. Raises: RuntimeError: there is no native thread to be had."""
        try:
            start_own_thread(self._make)
        except BaseException:
            self.end(False)
            raise
        self._hub.external += 1

    def wait(self) -> Any:
        """Return or raise what the call does, when it has been begun."""
        hub = self._hub
        try:
            while not self._back:
                hub.park(self)
        except BaseException:
            if self._is_second():
                self.end(False)
            else:
                hub.external -= 1
                self.leave()
            raise
        self.end(True)
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # its traceback refers to this frame
        value, self.value = self.value, None
        return value

    def leave(self) -> None:
        """The greenlet has left, the call goes on."""

    def end(self, wanted: bool) -> None:
        """The call has ended. If its outcome is not wanted: undo what it did. In either thread, once."""

    def _is_second(self) -> bool:
        with self._guard:
            before, self._ended = self._ended, True
            return before

    def _make(self) -> None:
        """In the native thread."""
        me = _original.get_ident()
        own_threads.add(me)
        try:
            self.value = self._function(*self._args)
            self.error = None
        except BaseException as error:
            self.error = error
        # Invariant: when the greenlet goes on, nothing of its arguments is left here: it may count on it that a
        # finalizer runs at once, and in its own thread. `wait` takes the outcome out.
        self._args = ()
        self._function = ended  # a `partial` has arguments of its own
        if self._is_second():
            self.end(False)
        else:
            self._hub.post(self._come_back)
        own_threads.discard(me)  # another thread may get this ident

    def _come_back(self) -> None:
        """On the hub."""
        self._back = True
        self._hub.external -= 1
        self._hub.wake(self._task, self)
