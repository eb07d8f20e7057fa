"""`Timeout`: an exception that is raised in a greenlet after some seconds, wherever it waits.

Rule: a Timeout that was cancelled is never raised, even if its time had come already and its greenlet
just had not run yet.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from graftlet.core._current import get_hub
from graftlet.core._errors import Thrown, exception_from
from graftlet.core._hub import Hub
from graftlet.core._task import Task, Timer

Result = TypeVar("Result")


class Timeout(BaseException):
    """Raised in the current greenlet after ``seconds``, unless cancelled first.

    Args:
        seconds: None (or no argument) never raises anything.
        exception: a class or an instance to raise instead of this Timeout.

    With False for ``exception`` it is this Timeout that is raised, and the ``with`` statement swallows
    it; None and True raise it, too.

    Used as a context manager it is started at the beginning and cancelled at the end::

        with Timeout(2, False):
            slow_call()

    It is a BaseException, so that ``except Exception`` around a blocking call can't swallow it. Always
    check which Timeout you have caught: somebody further out may have one, too.
    """

    def __init__(
        self,
        seconds: float | None = None,
        exception: Thrown | bool | None = None,
    ) -> None:
        super().__init__()
        if seconds is not None and not isinstance(seconds, (int, float)):
            raise TypeError(f"Timeout: seconds must be a number or None, not {seconds!r}")
        if exception is not None and not isinstance(exception, bool):
            exception_from(exception)  # TypeError at once, and not when the time has come
        self.seconds = seconds
        self.exception = exception
        self._timer: Timer | None = None
        self._hub: Hub | None = None
        self._task: Task | None = None
        self._thrown: BaseException | None = None

    @classmethod
    def start_new(
        cls,
        timeout: "Timeout | float | None" = None,
        exception: Thrown | bool | None = None,
    ) -> "Timeout":
        """Make and start a Timeout; an existing one is started unless it is running already."""
        if isinstance(timeout, Timeout):
            if not timeout.pending:
                timeout.start()
            return timeout
        new = cls(timeout, exception)
        new.start()
        return new

    @property
    def pending(self) -> bool:
        """Whether it runs: it has been started, has not been raised, and was not cancelled."""
        return self._timer is not None

    def start(self) -> None:
        """Begin to count, for the greenlet that calls.

        Raises:
            RuntimeError: it has been started already.
        """
        if self._timer is not None:
            raise RuntimeError(f"{self!r} has been started already; cancel it first")
        if self.seconds is None:
            return
        self._hub = hub = get_hub()
        self._task = hub.current
        self._thrown = None
        self._timer = hub.call_at(hub.clock() + self.seconds, self._expire)

    def _expire(self) -> None:
        self._timer = None
        assert self._hub is not None and self._task is not None
        if self._task.done:
            return
        if self.exception is None or isinstance(self.exception, bool):
            self._thrown = self.with_traceback(None)
        else:
            self._thrown = exception_from(self.exception)
        self._hub.throw(self._task, self._thrown)

    def cancel(self) -> None:
        """It will not be raised any more. Can be called at any time, also twice."""
        timer = self._timer
        if timer is not None:
            self._timer = None
            assert self._hub is not None
            self._hub.deadlines.abandon(timer)
        elif self._thrown is not None:
            thrown, self._thrown = self._thrown, None
            assert self._task is not None
            pending = self._task.pending
            if pending is not None:
                pending[:] = [exception for exception in pending if exception is not thrown]
                if not pending:
                    self._task.pending = None

    close = cancel

    def __enter__(self) -> "Timeout":
        if not self.pending:
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.cancel()
        return value is self and self.exception is False

    def __repr__(self) -> str:
        state = " pending" if self.pending else ""
        what = "" if self.exception is None else f" exception={self.exception!r}"
        return f"<{type(self).__name__} at {id(self):#x} seconds={self.seconds}{what}{state}>"

    def __str__(self) -> str:
        if self.seconds is None:
            return ""
        plural = "" if self.seconds == 1 else "s"
        return f"{self.seconds} second{plural}"


def with_timeout(
    seconds: float | None,
    function: Callable[..., Result],
    /,
    *args: Any,
    timeout_value: Any = ...,
    **kwargs: Any,
) -> Result | Any:
    """Return ``function(*args, **kwargs)``, given at most ``seconds``.

    Args:
        timeout_value: what to return when the time is over; if it is not given, `Timeout` is raised.
    """
    timeout = Timeout(seconds)
    timeout.start()
    try:
        return function(*args, **kwargs)
    except Timeout as raised:
        if raised is timeout and timeout_value is not ...:
            return timeout_value
        raise
    finally:
        timeout.cancel()


Timeout.__module__ = "graftlet"  # in tracebacks by the name that users import
