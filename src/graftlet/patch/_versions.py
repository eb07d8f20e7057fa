"""What the versions of CPython do differently in the C code that graftlet stands in for.

Rule: a branch says with which version it can go.
"""

import _thread
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from graftlet.core._current import blocking_hub

_daemons_allowed: Final[Any] = getattr(_thread, "daemon_threads_allowed", None)  # since 3.12


def check_may_start(daemon: bool = False) -> None:
    """Raise what CPython raises for a thread that may not be started, now or here.

    Raises: RuntimeError: the interpreter is being shut down, or allows no daemons.
    """
    if sys.version_info >= (3, 13):
        if sys.is_finalizing():
            raise PythonFinalizationError(  # noqa: F821 - 3.13 has it
                "can't create new thread at interpreter shutdown"
            )
    elif sys.version_info >= (3, 12) and _is_ending():
        raise RuntimeError("can't create new thread at interpreter shutdown")
    if daemon and _daemons_allowed is not None and not _daemons_allowed():
        raise RuntimeError("daemon threads are not supported in this interpreter")


def _is_ending() -> bool:  # goes with 3.12
    """Whether the interpreter has begun to end; 3.12 counts from before threads are joined.

    A forked child of ``multiprocessing`` calls ``threading._shutdown`` by itself, which is no end: then the
    call has a caller.
    """
    threading = sys.modules.get("threading")
    if threading is None or not getattr(threading, "_SHUTTING_DOWN", False):
        return False
    hub = blocking_hub()
    main = None if hub is None else hub.main.raw
    frame = None if main is None else main.gr_frame
    if frame is None:  # it is the one that runs
        frame = sys._getframe()
    while frame is not None:
        if frame.f_code is threading._shutdown.__code__:
            return frame.f_back is None
        frame = frame.f_back
    return True


if sys.version_info >= (3, 13):

    def forget_dummy(ident: int) -> None:
        """Nothing: ``threading`` itself forgets the stand-in of a thread that it did not start."""

else:  # goes with 3.12
    #: Threads that have ended and left a ``_DummyThread``, the last one last.
    _left: Final[deque[tuple[int, Any]]] = deque()
    #: So many of these stay.
    _KEPT: Final = 16

    def forget_dummy(ident: int) -> None:
        """Forget the ``_DummyThread`` of a thread that ``threading`` did not start, and that has ended.

        CPython leaves it until another native thread gets the same ident, which is soon. So here it stays for a while.
        """
        threading = sys.modules.get("threading")
        if threading is None:
            return
        dummy = threading._active.get(ident)
        if type(dummy) is not threading._DummyThread:
            return
        _left.append((ident, dummy))
        while len(_left) > _KEPT:
            ident, dummy = _left.popleft()
            with threading._active_limbo_lock:
                if threading._active.get(ident) is dummy:
                    del threading._active[ident]


def native_name(name: str) -> str:
    """What is left of a thread's name when the kernel has it (since 3.14)."""
    if not isinstance(name, str):
        raise TypeError(f"set_name() argument 'name' must be str, not {type(name).__name__}")
    # As set_name in Modules/_threadmodule.c: to bytes, which end with the first NUL and at a limit.
    encoded = name.encode(sys.getfilesystemencoding(), "replace").partition(b"\0")[0]
    return os.fsdecode(encoded[: getattr(_thread, "_NAME_MAXLEN", None)])


def report_thread_exception(error: BaseException, function: Callable[..., Any]) -> None:
    """Tell ``sys.unraisablehook`` of an exception that ended a thread without ``threading``."""
    if sys.version_info >= (3, 13):
        message, subject = f"Exception ignored in thread started by {function!r}", None
    else:  # goes with 3.12
        message, subject = "Exception ignored in thread started by", function
    arguments = (type(error), error, error.__traceback__, message, subject)
    sys.unraisablehook(_arguments_type()(arguments))


class _Probe:
    """Its end provokes a call of the hook."""

    def __del__(self) -> None:
        raise ZeroDivisionError


@cache
def _arguments_type() -> Callable[[tuple[Any, ...]], Any]:
    """``UnraisableHookArgs``, which the hook insists on and no module has."""
    seen: list[Any] = []
    before = sys.unraisablehook
    sys.unraisablehook = seen.append
    try:
        _Probe()
    finally:
        sys.unraisablehook = before
    return type(seen[0])


def warn_of_fork(name: str, threads: int) -> None:
    """What CPython says of a fork beside running threads; greenlets hold locks in the child, too."""
    if threads and sys.version_info >= (3, 12):  # goes with 3.11
        warnings.warn(
            f"This process (pid={os.getpid()}) is multi-threaded, "
            f"use of {name}() may lead to deadlocks in the child.",
            DeprecationWarning,
            stacklevel=3,
        )
