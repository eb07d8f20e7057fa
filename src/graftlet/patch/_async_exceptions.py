"""``PyThreadState_SetAsyncExc``: raising an exception in another thread, by way of ``ctypes``.

Rule: what the C API does for native threads holds for threads that are greenlets: the exception is raised
out of the wait that the thread is in, or where it was interrupted if it never waits. Other threads are left
to the C function, and so is whoever runs at the moment.

The function is no part of a module: programs look it up in ``ctypes.pythonapi``, whose attribute it is then.
"""

import sys
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._task import Task
from graftlet.patch._threads import thread_of

_NAME: Final = "PyThreadState_SetAsyncExc"
#: What a C unsigned long can't hold is cut off.
_MASK: Final = 2 ** (8 * (8 if sys.maxsize > 2**32 else 4)) - 1


class SetAsyncExc:
    """Takes the place of the C function."""

    # What ctypes has of a function; programs set these.
    __slots__ = ("_native", "_pending", "argtypes", "errcheck", "restype")

    def __init__(self, native: Any) -> None:
        self._native = native
        self.argtypes: Any = None
        self.restype: Any = native.restype
        self.errcheck: Any = None
        #: By ident of its thread: what has been thrown last.
        self._pending: dict[int, _Raise] = {}

    def __repr__(self) -> str:
        return f"<graftlet's {_NAME}>"

    def __call__(self, ident: Any, exception: Any) -> int:
        """As the C function: how many threads are concerned, 1 or 0.

        Args:
            ident: a thread's, as ``threading.get_ident`` has it.
            exception: a class; None, NULL or 0 takes back one that has not been raised yet.
        """
        number = int(_value(ident)) & _MASK
        thrown = _value(exception)
        task = thread_of(number)
        hub = None if task is None else task.hub
        if task is None or hub is None:
            return self._call_native(number, thrown)
        if hub.thread == _original.get_ident():
            if hub.is_running(task):
                return self._call_native(hub.thread, thrown)
            self._throw(task, number, thrown)
        else:
            hub.post(lambda: self._throw(task, number, thrown))
        return 1

    def _call_native(self, number: int, thrown: Any) -> int:
        import ctypes

        what = ctypes.py_object(thrown) if thrown else None
        return int(self._native(ctypes.c_ulong(number), what))

    def _throw(self, task: Task, number: int, thrown: Any) -> None:
        """In the native thread of ``task``, which does not run."""
        before = self._pending.pop(number, None)
        if before is not None and task.pending is not None and before in task.pending:
            # There is one at most: the last.
            task.pending.remove(before)
            task.pending = task.pending or None
        if thrown and not task.done:
            call = self._pending[number] = _Raise(thrown)
            assert task.hub is not None
            task.hub.call_in(task, call)


class _Raise:
    """Raises an exception: not the instance itself, whose traceback would keep the thread's frames."""

    __slots__ = ("_exception",)

    def __init__(self, exception: Any) -> None:
        self._exception = exception

    def __call__(self) -> None:
        raise self._exception


def _value(argument: Any) -> Any:
    """What a ctypes object holds; anything else is what it is."""
    import ctypes

    if isinstance(argument, (ctypes._SimpleCData, ctypes.py_object)):
        try:
            return argument.value
        except ValueError:  # NULL
            return None
    return argument


def imported(module: str) -> None:
    """``ctypes`` has just been imported."""
    if module == "ctypes":
        settle(patched=True)


def settle(patched: bool) -> None:
    """Put the stand-in where programs look, or take it away."""
    ctypes = sys.modules.get("ctypes")
    api = getattr(ctypes, "pythonapi", None)
    if api is None:
        return
    now = vars(api).get(_NAME)
    if patched and not isinstance(now, SetAsyncExc):
        setattr(api, _NAME, SetAsyncExc(getattr(api, _NAME)))
    elif not patched and isinstance(now, SetAsyncExc):
        setattr(api, _NAME, now._native)
