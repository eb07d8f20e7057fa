"""``time.sleep``, cooperative.

Rule: what takes the place of a function written in C must not become a method when somebody stores it in
a class (``class Poller: pause = time.sleep``), which a Python function would. A bound method does
not bind again, and costs nothing more to call: so such functions are methods of one object each here
(see `Functions`).
"""

from operator import index
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._current import blocking_hub
from graftlet.core._waiting import sleep_until


class Functions:
    """The object that functions are bound to which take the place of C functions.

    Pickled by name: ``pickle`` then finds its functions, too.
    """

    __slots__ = ()

    def __reduce__(self) -> str:
        return "functions"


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
