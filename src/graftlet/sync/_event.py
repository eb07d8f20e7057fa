"""`Event` and `AsyncResult`: one happens or not, the other happens with a value or an exception.

Rule: the outcome is a single attribute, so whoever looks sees all of it or nothing.
"""

from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from graftlet.core._errors import Thrown, exception_from
from graftlet.core._greenlet import ExcInfo
from graftlet.core._timeout import Timeout
from graftlet.sync._linkable import Linkable

Value = TypeVar("Value")


class Event(Linkable):
    """A flag to wait for, as `threading.Event`.

    All that `graftlet.wait` and `graftlet.iwait` take can be an Event, too.
    """

    __slots__ = ("_flag",)

    def __init__(self) -> None:
        super().__init__()
        self._flag = False

    def __repr__(self) -> str:
        state = "set" if self._flag else "unset"
        return f"<graftlet.event.{type(self).__name__} at {id(self):#x}: {state}>"

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._flag

    isSet = is_set  # noqa: N815 - the name that threading.Event and gevent's have, too
    ready = is_set

    def set(self) -> None:
        """Set the flag; all who wait are woken, even if it is cleared before they run."""
        self._flag = True
        if self._waiters._turns or self._links:
            self._tell_everybody()

    def clear(self) -> None:
        """Unset the flag."""
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set.

        Args:
            timeout: how many seconds at most; None waits for ever.

        Returns: False if the time was over first.
        """
        return self._flag or self._wait_until_ready(timeout)


class Source(Protocol):
    """What an `AsyncResult` can be linked to: something that has ended well or not."""

    def successful(self) -> bool:
        """Whether it has ended without an exception."""

    @property
    def value(self) -> Any:
        """What it ended with."""

    @property
    def exception(self) -> BaseException | None:
        """The exception that it ended with."""


_Outcome = tuple[Any, BaseException | None, TracebackType | None]


class AsyncResult(Linkable, Generic[Value]):
    """A value, or an exception, that somebody will set and any number of greenlets wait for.

    It can be the receiver of a link, and then takes over how the greenlet ends::

        result = AsyncResult()
        greenlet.link(result)
    """

    __slots__ = ("_outcome",)

    def __init__(self) -> None:
        super().__init__()
        self._outcome: _Outcome | None = None

    def __repr__(self) -> str:
        what = "unset"
        if self._outcome is not None:
            value, exception, _ = self._outcome
            what = f"value={value!r}" if exception is None else f"exception={exception!r}"
        return f"<graftlet.event.{type(self).__name__} at {id(self):#x}: {what}>"

    def ready(self) -> bool:
        """Whether a value or an exception has been set."""
        return self._outcome is not None

    def successful(self) -> bool:
        """Whether a value has been set."""
        return self._outcome is not None and self._outcome[1] is None

    @property
    def value(self) -> Value | None:
        """The value; None if there is none (yet)."""
        return None if self._outcome is None else self._outcome[0]

    @property
    def exception(self) -> BaseException | None:
        """The exception; None if there is none (yet)."""
        return None if self._outcome is None else self._outcome[1]

    @property
    def exc_info(self) -> ExcInfo | tuple[()]:
        """The exception's type, value and traceback; empty if there is none."""
        if self._outcome is None:
            return ()
        _, exception, traceback = self._outcome
        return () if exception is None else (type(exception), exception, traceback)

    def set(self, value: Value | None = None) -> None:
        """Set the value, and wake all who wait. A second call replaces what the first one set."""
        self._finish((value, None, None))

    def set_exception(self, exception: Thrown, exc_info: ExcInfo | tuple[()] | None = None) -> None:
        """Set an exception, which is raised in all who wait.

        Args:
            exception: a class or an instance.
            exc_info: the traceback that it gets is the last of the three; without, its own.

        Raises:
            TypeError: ``exception`` is no exception.
        """
        instance = exception_from(exception)
        traceback = exc_info[2] if exc_info else instance.__traceback__
        self._finish((None, instance, traceback))

    def __call__(self, source: Source) -> None:
        """Take over how ``source`` (a greenlet) has ended."""
        if source.successful():
            self.set(source.value)
        else:
            assert source.exception is not None
            self.set_exception(source.exception, getattr(source, "exc_info", None))

    def _finish(self, outcome: _Outcome) -> None:
        self._outcome = outcome
        if self._waiters._turns or self._links:
            self._tell_everybody()

    def get(self, block: bool = True, timeout: float | None = None) -> Value:
        """Return the value, or raise the exception, that was set.

        Args:
            block: whether to wait for it.
            timeout: how many seconds to wait at most; None waits for ever.

        Raises:
            Timeout: nothing has been set (in time).
        """
        if self._outcome is None and not (block and self._wait_until_ready(timeout)):
            raise Timeout(timeout if block else 0)
        assert self._outcome is not None
        value, exception, traceback = self._outcome
        if exception is not None:
            raise exception.with_traceback(traceback)
        result: Value = value
        return result

    def get_nowait(self) -> Value:
        """As `get`, without waiting."""
        return self.get(block=False)

    def wait(self, timeout: float | None = None) -> Value | None:
        """Wait until something has been set, and return the value.

        Args:
            timeout: how many seconds at most; None waits for ever.

        Returns: None if it was an exception, or if the time was over first.
        """
        if self._outcome is None:
            self._wait_until_ready(timeout)
        return self.value
