"""The local variables of functions that are under way: those that call `patch_all`, and those of other native threads.

Rule: from Python 3.13 on a frame's ``f_locals`` writes through (PEP 667). Before, it is a copy, which C can put back
into the frame of a function of this very thread. Frames of other native threads are only looked at.
"""

import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Final

from graftlet.core import _original

_WRITES_THROUGH: Final = sys.version_info >= (3, 13)
#: Who refers to a copy that nobody else has: the frame, an attribute, a variable, ``getrefcount``'s argument.
_UNSHARED: Final = 4
#: ``inspect.CO_OPTIMIZED``: a function's, and neither a module's nor a class's. Importing inspect takes its time.
_CO_OPTIMIZED: Final = 1


class Variables:
    """The local variables of one function that is under way."""

    __slots__ = ("_frame", "_is_own", "values")

    def __init__(self, frame: FrameType, is_own: bool) -> None:
        self._frame = frame
        self._is_own = is_own
        self.values: Mapping[str, Any] = frame.f_locals

    @property
    def where(self) -> str:
        """The function, with file and line."""
        code = self._frame.f_code
        name = self._frame.f_globals.get("__name__")
        return f"{name}.{code.co_name} ({code.co_filename}:{self._frame.f_lineno})"

    def assign(self, name: str, value: Any) -> bool:
        """Put ``value`` into a variable; False if that can't be done."""
        if not self._is_own:
            return False
        # Asked for again each time: 3.11 and 3.12 put a copy back only once.
        self._frame.f_locals[name] = value
        if _WRITES_THROUGH:
            return True
        try:
            import ctypes

            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(self._frame), ctypes.c_int(0))
        except (ImportError, AttributeError):
            return False
        return True

    def forget(self) -> None:
        """A copy keeps alive what was in it, for as long as the function runs."""
        values: Any = self.values
        if not _WRITES_THROUGH and sys.getrefcount(values) <= _UNSHARED:
            values.clear()


def variables_of_callers(left_out: Callable[[Any], bool]) -> list[Variables]:
    """Those of every function that is under way.

    Args:
        left_out: tells of a module, by its name, whether its functions are passed over.
    """
    me = _original.get_ident()
    found = []
    frames = sys._current_frames()
    while frames:
        thread, frame = frames.popitem()
        is_own = thread == me
        while frame is not None:
            if frame.f_code.co_flags & _CO_OPTIMIZED and not left_out(
                frame.f_globals.get("__name__")
            ):
                found.append(Variables(frame, is_own))
            # Invariant: in the end no variable here holds this very frame, which would be a cycle.
            frame = frame.f_back  # type: ignore[assignment] # None, too
    return found
