"""What a hub schedules, and what goes with it: tasks, timers, and the texts of what they wait for.

Rule: these hold state and decide nothing. Whoever changes a task's ``waiting`` is its hub, or is on
the hub's own thread and puts the task into its run queue (see `graftlet.core._hub`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Optional

from greenlet import greenlet

from graftlet.core._deadlines import INFINITY, Alarm

if TYPE_CHECKING:
    from contextvars import Context

    from graftlet.core._hub import Hub


class Task(Alarm):
    """What a hub schedules. `graftlet.Greenlet` is the kind that users see."""

    __slots__ = ("context", "done", "hub", "pending", "raw", "timed_out", "waiting")

    #: Whether the program takes it for a thread, which may lose control at any time.
    is_thread: ClassVar[bool] = False
    hub: Optional["Hub"]
    #: Where it goes on: the greenlet (of package greenlet) that parked. None before its start.
    raw: greenlet | None
    # Invariant: not None exactly while the task is parked and nobody has woken it.
    waiting: object
    timed_out: bool
    #: Exceptions that will be raised in it, one at each return from `Hub.park`, and calls (of signal
    #: handlers) that will be made in it then.
    pending: list[BaseException | Callable[[], object]] | None
    context: Optional["Context"]
    done: bool

    def __init__(self) -> None:
        # Not by super().__init__(): this runs once per spawn, and the call costs more than its body.
        self.deadline = INFINITY
        self.armed = None
        self.hub = None
        self.raw = None
        self.waiting = None
        self.timed_out = False
        self.pending = None
        self.context = None
        self.done = False

    def execute(self) -> None:
        """The task's whole work, run by a worker. Must not raise."""
        raise NotImplementedError

    def end_with_thread(self) -> None:
        """A main task's native thread has ended."""

    def keepsakes(self) -> object:
        """What a task that is frozen at the interpreter's end must keep alive."""
        return self

    def due(self) -> None:
        if self.waiting is not None:
            self.waiting = None
            self.timed_out = True
            hub = self.hub
            assert hub is not None
            hub.ready.append(self)


class Carried:
    """What a running task keeps in the native thread's own state, where no greenlet switch reaches it.

    Nobody else may find it there: `Hub.park` puts it away, and brings it back when the task goes on.
    """

    __slots__ = ()

    def put_away(self) -> Any:
        """Take it out of the thread's state; returns what `bring_back` needs, None if nothing is there."""
        raise NotImplementedError

    def bring_back(self, kept: Any) -> None:
        """Put there again what `put_away` has returned."""
        raise NotImplementedError


class Reason:
    """What a task waits for where there is no object to name: only a text, for people."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


#: What those wait for who called `graftlet.idle`, and `graftlet.wait` without objects.
idlers_wait: Final = Reason("the hub to be idle")
finishers_wait: Final = Reason("everything else to end")


class Timer(Alarm):
    """Calls back once, on the hub, when its deadline has passed."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        super().__init__()
        self._callback = callback

    def due(self) -> None:
        self._callback()
