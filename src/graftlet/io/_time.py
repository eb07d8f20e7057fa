"""``time.sleep``, cooperative."""

from operator import index
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._current import blocking_hub
from graftlet.core._waiting import sleep_until
from graftlet.io._builtin import Functions


class TimeFunctions(Functions):
    """What takes the place of functions of module ``time``."""

    __slots__ = ()

    def sleep(self, seconds: Any, /) -> None:
        """Wait for ``seconds``; other greenlets run meanwhile.

        Raises: ValueError, TypeError, OverflowError: as ``time.sleep``.
        """
        if seconds.__class__ is not float and not isinstance(seconds, (float, int)):
            seconds = index(seconds)
        hub = blocking_hub()
        if hub is None or not 0 <= seconds <= LONGEST_SLEEP:
            _original.sleep(seconds)  # raises, unless this thread simply blocks
        elif seconds == 0:
            hub.yield_now()
        else:
            sleep_until(hub, hub.clock() + seconds)


#: What ``time.sleep`` accepts, about: longer ones are an OverflowError there.
LONGEST_SLEEP: Final = 9e9

functions: Final = TimeFunctions()
