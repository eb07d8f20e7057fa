"""Signal handlers run in the main greenlet, as CPython runs them in the main thread.

Rule: CPython calls a Python handler between two bytecodes of its main thread, whatever greenlet is running
there, be it the hub. A `MainHandler` stands in between and has the handler called where it belongs: main's
wait, if it is in one, is interrupted, the handler runs, and main goes on waiting, unless the handler
raised something. So Ctrl-C raises KeyboardInterrupt in main and nowhere else.

Never between two lines of a lock or a queue: these take the place of C functions, and are as indivisible as
those. A handler that comes in there is called when the function has returned, or at its wait.
"""

# Not ``signal``, which takes longer to import than all of graftlet's core.
import _signal  # type: ignore[import-not-found] # typeshed has no stubs of it
import _thread
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final
from weakref import ref

from graftlet.core._current import hub_or_none

Handler = Callable[[int, FrameType | None], Any]
#: The untouched functions. Handlers go in and come out as they are, `MainHandler` and all.
install: Final = _signal.signal
installed: Final = _signal.getsignal
#: ``None`` where the platform has no interval timers.
set_timer: Final[Any] = getattr(_signal, "setitimer", None)
get_timer: Final[Any] = getattr(_signal, "getitimer", None)
_set_mask: Final[Any] = getattr(_signal, "pthread_sigmask", None)


#: The signals after which the kernel restarts a call that waits (``signal.siginterrupt``): CPython calls the
#: handler only when that has returned.
restarting: Final[set[int]] = set()


class MainHandler:
    """Calls a signal handler in the main greenlet."""

    __slots__ = ("handler",)

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        hub = hub_or_none()
        if (
            can_repeat
            and _is_indivisible(frame)
            and (hub is None or hub.is_running(hub.main))
            and not wakeup.in_use
        ):
            _here = again(number)
        elif hub is None:
            self.handler(number, frame)
        elif not any(
            isinstance(each, _Call) and each.number == number for each in hub.main.pending or ()
        ):
            # As in C: of a signal that is waiting for its handler already, a second one makes no second call.
            call = _Call(self.handler, number, frame)
            hub.run_in_main(call, interrupts=number not in restarting)
            call.frame = None  # if it is made later, the frame is the one in which main waits


def take_none() -> None:
    """In a native thread of graftlet's own: the kernel gives the process's signals to other threads.

    It might choose this one otherwise, although the program has blocked the signal to wait for it. Not for
    threads that run the program's functions: children of theirs would inherit it.
    """
    if _set_mask is not None:
        _set_mask(_signal.SIG_BLOCK, _signal.valid_signals())


def is_own(frame: FrameType | None) -> bool:
    """Whether ``frame`` is of a function of graftlet's (but not of the launcher, which is like the program)."""
    module = None if frame is None else frame.f_globals.get("__name__")
    return (
        isinstance(module, str)
        and module.startswith("graftlet.")
        and not f"{module}.".startswith("graftlet.launch.")
    )


#: Where nothing ever blocks natively in the main thread: a handler can't be kept waiting there.
_INDIVISIBLE: Final = ("graftlet.core.", "graftlet.sync.", "graftlet.patch._lean")


def _is_indivisible(frame: FrameType | None) -> bool:
    module = None if frame is None else frame.f_globals.get("__name__")
    return isinstance(module, str) and module.startswith(_INDIVISIBLE)


_interrupt_main: Final[Any] = _thread.interrupt_main


class Here:
    """Ends with the frame that holds it."""

    __slots__ = ("__weakref__",)


class _Again(ref[Here]):
    """Has CPython call the handler of a signal once more, when a frame has ended.

    ``_thread.interrupt_main`` marks a signal as having come in, and CPython calls its handler after the next call
    or at the next jump back: were it called by a function written in Python, that would be still within this
    very function, and for ever. So it is called from C, as a weak reference's callback, with the
    reference, which is the signal's number for all that it knows.
    """

    __slots__ = ("number",)

    number: int

    def __index__(self) -> int:
        del _due[id(self)]
        return self.number


_due: Final[dict[int, _Again]] = {}
#: Elsewhere a frame's end is not the end of what it held.
can_repeat: Final = sys.implementation.name == "cpython"


def again(number: int) -> Here:
    """Have CPython call the handler of this signal once more, soon after what is returned has gone.

    A handler keeps that until its own frame ends.
    """
    here = Here()
    due = _Again(here, _interrupt_main)
    due.number = number
    _due[id(due)] = due
    return here


class _Wakeup:
    """What is known of ``signal.set_wakeup_fd``."""

    in_use = False


wakeup: Final = _Wakeup()


class _Call:
    """One call of a handler."""

    __slots__ = ("begun", "frame", "handler", "number")

    def __init__(self, handler: Handler, number: int, frame: FrameType | None) -> None:
        self.begun = False
        self.handler = handler
        self.number = number
        self.frame = frame

    def __call__(self) -> None:
        self.begun = True
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
