"""The exceptions of the runtime itself.

Rule: three kinds of trouble are three different classes. What the user got wrong is a ``TypeError``,
``ValueError`` or ``RuntimeError`` at the call; a program that can never go on is a `Deadlock`; a
fault of graftlet is an `InternalError`, which asks for a report.
"""

import sys
from typing import TypeAlias

from greenlet import GreenletExit

#: What can be thrown at a greenlet: a class or an instance.
Thrown: TypeAlias = BaseException | type[BaseException]


def exception_from(exception: Thrown) -> BaseException:
    """An instance to raise, from a class or an instance (TypeError if it is neither)."""
    if isinstance(exception, BaseException):
        return exception
    given: object = exception  # whatever the annotations say
    if isinstance(given, type) and issubclass(given, BaseException):
        return given()
    raise TypeError(f"an exception (class or instance) is needed, not {exception!r}")


class Deadlock(RuntimeError):
    """Nothing in this program can ever run again.

    Raised in the main greenlet when every greenlet is parked, no deadline is pending, no file
    descriptor is waited for, and neither another native thread nor a signal handler could wake
    anybody. The text names each parked greenlet, what it waits for, who holds that, and from
    which line.
    """


class InternalError(RuntimeError):
    """A fault of graftlet itself. Please report it, with the text and the traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message} (this is a fault of graftlet: please report it)")


class BlockingCallOnHub(RuntimeError):
    """Something that would have to wait was called on the hub, where nothing may wait.

    Only finalizers and callbacks that the garbage collector or a timer runs there can meet this.
    """


if sys.version_info >= (3, 13):
    #: A wait that can't end, for the interpreter does, and other threads run no more.
    ShutdownError: TypeAlias = PythonFinalizationError  # noqa: F821 - 3.13 has it
else:  # goes with 3.12; that is what the other is derived from
    ShutdownError: TypeAlias = RuntimeError

# In tracebacks by the names that users import.
Deadlock.__module__ = InternalError.__module__ = BlockingCallOnHub.__module__ = "graftlet"

__all__ = (
    "BlockingCallOnHub",
    "Deadlock",
    "GreenletExit",
    "InternalError",
    "ShutdownError",
    "Thrown",
    "exception_from",
)
