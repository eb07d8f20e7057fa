"""Other interpreters in this process: their code runs, and waits, in C.

Rules:

* A call that runs another interpreter's code is made in a native thread of its own while greenlets exist:
  that interpreter knows nothing of them, and may have a lock (GIL) of its own, so it really runs beside. So
  is a call that waits until the other side of a channel has taken what was sent.
* An interpreter other than the main one is never patched. Package greenlet keeps its state by native
  thread, whatever interpreter runs there, and would mix up the greenlets of two.

The modules are ``_interpreters`` and ``_interpchannels``, up to Python 3.12 ``_xxsubinterpreters`` and
``_xxinterpchannels``, under ``concurrent.interpreters`` and ``InterpreterPoolExecutor``.
"""

import _thread
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

from graftlet.core._current import hub_or_none
from graftlet.io._builtin import builtin
from graftlet.io._native_call import NativeCall

#: By module: the functions that run code, and those that wait unless they are told not to.
_RUN: Final = {
    "_interpreters": ("exec", "run_string", "run_func", "call"),
    "_xxsubinterpreters": ("exec", "run_string", "run_func"),
    # By this CPython's own tests run code as a C program does that embeds Python.
    "_testinternalcapi": ("exec_interpreter",),
}
_WAIT: Final = {
    "_interpchannels": ("send", "send_buffer"),
    "_xxinterpchannels": ("send", "send_buffer"),
}
MODULES: Final = (*_RUN, *_WAIT)


def is_main_interpreter() -> bool:
    """Whether this is the process's main interpreter."""
    if hasattr(_thread, "_is_main_interpreter"):  # since 3.12; the rest goes with 3.11
        return bool(_thread._is_main_interpreter())
    try:
        import _xxsubinterpreters as interpreters  # type: ignore[import-not-found] # no stubs
    except ImportError:
        return True
    return bool(interpreters.get_current() == interpreters.get_main())


def stand_ins(module: Any) -> dict[str, Any]:
    """What takes the place of functions of ``module``, which is one of `MODULES`, by name."""
    name = module.__name__
    made = {}
    for each in _RUN.get(name, ()):
        if hasattr(module, each):
            made[each] = _stand_in(name, getattr(module, each), _runs)
    for each in _WAIT.get(name, ()):
        # Up to 3.12 they never wait, and don't know the argument.
        if hasattr(module, each) and sys.version_info >= (3, 13):
            made[each] = _stand_in(name, getattr(module, each), _sends)
    return made


#: Whether code in an interpreter may be run by one native thread after the other.
_ANY_THREAD: Final = sys.version_info >= (3, 13)

_MayWait: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], bool]


def _runs(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> bool:
    # Up to 3.12 an interpreter belongs to the native thread that first runs code in it: what main does
    # there has to be done in its own.
    if not _ANY_THREAD:
        hub = hub_or_none()
        return hub is not None and hub.current is not hub.main
    return True


def _sends(_args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether such a call of ``send`` waits for the other side."""
    return bool(kwargs.get("blocking", True))


def _named(name: str, call: Callable[[], Any]) -> Any:
    """In a native thread of its own."""
    _set_name(name)
    return call()


#: Since Python 3.14.
_set_name: Final[Any] = getattr(_thread, "set_name", None)


class _Native:
    """A native function. In a closure or a list patching would find it, and replace it by its stand-in."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call


#: The native functions, each with what takes its place, however often that is asked for.
_made: Final[list[tuple[_Native, Any]]] = []


def _stand_in(module: str, native: Callable[..., Any], may_wait: _MayWait) -> Any:
    for known, made in _made:
        if native is known.call or native is made:
            return made
    kept = _Native(native)
    name, doc = native.__name__, native.__doc__
    del native

    def function(_self: Any, /, *args: Any, **kwargs: Any) -> Any:
        native = kept.call
        hub = hub_or_none()
        if hub is None or not may_wait(args, kwargs):
            return native(*args, **kwargs)
        call = partial(native, *args, **kwargs)
        name = getattr(hub.current, "native_name", None)
        if name is not None:
            # The code over there sees in what thread it runs.
            call = partial(_named, name, call)
        return NativeCall(hub, call).outcome()

    function.__name__, function.__doc__ = name, doc
    made = builtin(module, function)
    _made.append((kept, made))
    return made
