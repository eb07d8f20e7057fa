"""``time.sleep``, cooperative."""

import sys
from operator import index
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._current import blocking_hub, per_thread
from graftlet.core._hub import Hub
from graftlet.core._waiting import sleeping
from graftlet.io._builtin import Functions


class TimeFunctions(Functions):
    """What takes the place of functions of module ``time``."""

    __slots__ = ()

    def sleep(self, seconds: Any, /) -> None:
        """Wait for ``seconds``; other greenlets run meanwhile.

        Raises: ValueError, TypeError, OverflowError: as ``time.sleep``.
        """
        kind = seconds.__class__
        if kind is not float and kind is not int and not isinstance(seconds, (float, int)):
            seconds = _number(seconds)
        try:
            hub: Hub | None = per_thread.hub  # `blocking_hub`, unrolled (benchmarks, contended)
        except AttributeError:
            hub = blocking_hub()
        if hub is None or not 0 <= seconds <= LONGEST_SLEEP:
            _original.sleep(seconds)  # raises, unless this thread simply blocks
        elif seconds == 0:
            hub.park(None)
        else:
            deadline = hub.clock() + seconds
            while hub.park(sleeping, deadline):
                pass  # a signal handler has run


def _number(seconds: Any) -> Any:
    """``seconds`` as C takes what is no number of Python's own; TypeError: it does not."""
    kind = type(seconds)
    if (
        sys.version_info >= (3, 15)
        and hasattr(kind, "__float__")
        and not hasattr(kind, "__index__")
    ):
        return float(seconds)
    if not hasattr(kind, "__index__"):
        _original.sleep(seconds)  # says what is wrong
    return index(seconds)


#: What ``time.sleep`` accepts, about: longer ones are an OverflowError there.
LONGEST_SLEEP: Final = 9e9

functions: Final = TimeFunctions()
