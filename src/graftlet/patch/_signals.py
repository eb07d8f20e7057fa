"""What takes the place of functions of module ``_signal``, which module ``signal`` stands on.

Rule: a handler is installed behind a `MainHandler`, and the program never gets to see that one.
"""

from typing import Any, Final

from graftlet.core import _signals
from graftlet.core._current import get_hub
from graftlet.core._greenlet import getcurrent
from graftlet.core._hub import Reason
from graftlet.io._builtin import Functions
from graftlet.patch._threads import ThreadGreenlet


class SignalFunctions(Functions):
    """What takes the place of functions of module ``_signal``."""

    __slots__ = ()

    def signal(self, number: int, handler: Any, /) -> Any:
        """As ``_signal.signal``: the handler will be called in the main greenlet."""
        if isinstance(getcurrent(), ThreadGreenlet):
            raise ValueError(  # noqa: TRY004 - it is not the type of an argument
                "signal only works in main thread of the main interpreter"
            )
        return _signals.unwrapped(_signals.install(number, _signals.wrapped(handler)))

    def getsignal(self, number: int, /) -> Any:
        """As ``_signal.getsignal``."""
        return _signals.unwrapped(_signals.installed(number))

    def pause(self) -> None:
        """As ``signal.pause``: wait until a signal handler has run (in this greenlet: the main one)."""
        get_hub().park(a_signal)


a_signal: Final = Reason("a signal")

functions: Final = SignalFunctions()
