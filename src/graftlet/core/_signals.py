"""Signal handlers run in the main greenlet, as CPython runs them in the main thread.

Rule: CPython calls a Python handler between two bytecodes of its main thread, whatever greenlet is running
there, be it the hub. A `MainHandler` stands in between and has the handler called where it belongs: main's
wait, if it is in one, is interrupted, the handler runs, and main goes on waiting, unless the handler
raised something. So Ctrl-C raises KeyboardInterrupt in main and nowhere else.
"""

# Not ``signal``, which takes longer to import than all of graftlet's core.
import _signal  # type: ignore[import-not-found] # typeshed has no stubs of it
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from graftlet.core._current import hub_or_none

Handler = Callable[[int, FrameType | None], Any]
#: The untouched functions. Handlers go in and come out as they are, `MainHandler` and all.
install: Final = _signal.signal
installed: Final = _signal.getsignal
#: ``None`` where the platform has no interval timers.
set_timer: Final[Any] = getattr(_signal, "setitimer", None)
get_timer: Final[Any] = getattr(_signal, "getitimer", None)


class MainHandler:
    """Calls a signal handler in the main greenlet."""

    __slots__ = ("handler",)

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        hub = hub_or_none()
        if hub is None:
            self.handler(number, frame)
        else:
            call = _Call(self.handler, number, frame)
            hub.run_in_main(call)
            call.frame = None  # if it is made later, the frame is the one in which main waits


class _Call:
    """One call of a handler."""

    __slots__ = ("frame", "handler", "number")

    def __init__(self, handler: Handler, number: int, frame: FrameType | None) -> None:
        self.handler = handler
        self.number = number
        self.frame = frame

    def __call__(self) -> None:
        self.handler(self.number, self.frame or sys._getframe(1))


class OwnHandler:
    """A handler for graftlet's own purposes: the program knows of none, and has it back when it asks."""

    __slots__ = ()


def wrapped(handler: Any) -> Any:
    """What to install instead of ``handler``, which may also be SIG_DFL, SIG_IGN or None."""
    if callable(handler) and not isinstance(handler, (MainHandler, OwnHandler)):
        return MainHandler(handler)
    return handler


def unwrapped(handler: Any) -> Any:
    """The program's own handler."""
    if isinstance(handler, OwnHandler):
        return _signal.SIG_DFL
    return handler.handler if isinstance(handler, MainHandler) else handler


def take_interrupts() -> None:
    """Ctrl-C is main's: done when the main thread's hub is made. Only from the main thread."""
    if installed(_signal.SIGINT) is _signal.default_int_handler:
        install(_signal.SIGINT, MainHandler(_signal.default_int_handler))


def rewrap_all(change: Callable[[Any], Any]) -> None:
    """Install ``change(handler)`` for each signal that has a handler written in Python.

    Only from the main thread.
    """
    for number in _signal.valid_signals():
        handler = installed(number)
        if isinstance(handler, OwnHandler):
            continue
        if callable(handler) and (changed := change(handler)) is not handler:
            install(number, changed)


def program_has_handlers() -> bool:
    """Whether the program itself has installed any handler, which might wake anybody."""
    return any(
        callable(handler) and handler is not _signal.default_int_handler
        for handler in map(unwrapped, map(installed, _signal.valid_signals()))
    )
