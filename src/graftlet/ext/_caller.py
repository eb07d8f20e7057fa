"""Calling a C function in the name of whoever called us.

Rule: a warning that a C function gives names the innermost frame of Python, by default once for each line.
Between the program and the C function stands one of our frames, maybe in another native thread. So what
makes the call is a function whose code claims to be at the caller's line, with the caller's globals:
``-W error::DeprecationWarning:their.module`` and "once for each line" mean what they always meant.
"""

from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any, Final

Caller = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

#: By code and line. A program has a few hundred such lines.
_callers: Final[dict[tuple[CodeType, int], Caller]] = {}
#: So many are kept, for a program that makes its code as it goes.
_LIMIT: Final = 1000


def in_the_name_of(frame: FrameType) -> Caller:
    """A function that returns ``function(*args, **kwargs)``, and seems to be the line that ``frame`` is at."""
    line = frame.f_lineno or 1
    key = frame.f_code, line
    caller = _callers.get(key)
    if caller is None or caller.__globals__ is not frame.f_globals:
        code = _plain.__code__.replace(
            co_filename=frame.f_code.co_filename, co_firstlineno=line, co_name=frame.f_code.co_name
        )
        if len(_callers) >= _LIMIT:
            _callers.clear()
        caller = _callers[key] = FunctionType(code, frame.f_globals)
    return caller


_plain: Final = lambda function, args, kwargs: function(*args, **kwargs)  # noqa: E731 -- all in one line
