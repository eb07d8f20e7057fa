"""Links: who is told, and how, that a greenlet has ended.

Rule: a link is told exactly once, also when it is made after the end. Receivers are told in the order
in which they were linked, by the ended greenlet itself: a callable must not block.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from greenlet import GreenletExit

if TYPE_CHECKING:
    from graftlet.core._greenlet import Greenlet

ALWAYS: Final = 0
ON_VALUE: Final = 1
ON_EXCEPTION: Final = 2


class LinkedExited(Exception):
    """A linked greenlet has ended. ``greenlet`` is the one.

    Raised in the greenlet that made the link, at its next blocking call.
    """

    def __init__(self, greenlet: "Greenlet") -> None:
        self.greenlet = greenlet
        super().__init__(self._describe(greenlet))

    def _describe(self, greenlet: "Greenlet") -> str:
        return f"{greenlet!r} ended"


class LinkedCompleted(LinkedExited):
    """A linked greenlet has returned."""

    def _describe(self, greenlet: "Greenlet") -> str:
        return f"{greenlet!r} completed successfully"


class LinkedFailed(LinkedExited):
    """A linked greenlet has ended with an unhandled exception, which is the ``__cause__``."""

    def __init__(self, greenlet: "Greenlet") -> None:
        super().__init__(greenlet)
        self.__cause__ = greenlet.exception

    def _describe(self, greenlet: "Greenlet") -> str:
        return f"{greenlet!r} failed with {type(greenlet.exception).__name__}"


class LinkedKilled(LinkedCompleted):
    """A linked greenlet was killed with `GreenletExit`."""

    def _describe(self, greenlet: "Greenlet") -> str:
        return f"{greenlet!r} was killed with {type(greenlet.value).__name__}"


class Link:
    """One receiver of the news that a greenlet has ended."""

    __slots__ = ("_kind", "receiver")

    #: A greenlet, in which the news is raised, or what is called with the ended greenlet.
    receiver: Any

    def __init__(self, receiver: Any, kind: int = ALWAYS) -> None:
        self.receiver = receiver
        self._kind = kind

    def wants(self, greenlet: "Greenlet") -> bool:
        """Whether the receiver asked for an end of this kind."""
        return self._kind == ALWAYS or (self._kind == ON_VALUE) == greenlet.successful()


def news_of(greenlet: "Greenlet") -> LinkedExited:
    """The exception that tells a greenlet how another one has ended."""
    if not greenlet.successful():
        return LinkedFailed(greenlet)
    if isinstance(greenlet.value, GreenletExit):
        return LinkedKilled(greenlet)
    return LinkedCompleted(greenlet)


Receiver = Callable[["Greenlet"], object]

for _kind in (LinkedExited, LinkedCompleted, LinkedFailed, LinkedKilled):
    _kind.__module__ = "graftlet"  # in tracebacks by the name that users import
