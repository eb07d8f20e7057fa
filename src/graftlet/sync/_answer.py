"""`Answer`: a greenlet for a call whose outcome somebody has asked for.

Rule: its exception goes to whoever asked. It is printed as unhandled only if nobody will ever see it: the
asker was killed, or has stopped at an earlier failure.
"""

from collections.abc import Callable
from contextvars import copy_context
from types import CodeType
from typing import Any, Final

from graftlet.core._current import get_hub
from graftlet.core._greenlet import Greenlet

#: Where a greenlet was spawned: what `Greenlet` remembers.
Site = tuple[CodeType, int]

#: Reported by being raised in the main greenlet, whoever asks besides.
_FOR_MAIN: Final = (SystemExit, KeyboardInterrupt)


def launch(greenlet: Greenlet, site: Site) -> None:
    """`Greenlet.start` of one that nobody else knows yet, on behalf of whoever stands at ``site``."""
    greenlet._site = site
    greenlet.hub = hub = get_hub()
    greenlet.context = copy_context()
    hub.ready.append(greenlet)


class Answer(Greenlet):
    """A call whose outcome somebody has asked for."""

    __slots__ = ("_asked",)

    def __init__(self, run: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        super().__init__(run, *args, **kwargs)
        self._asked = True

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """As `Greenlet.get`; whoever gets the outcome has seen it."""
        try:
            return super().get(block, timeout)
        finally:
            if self.done:
                self._asked = False

    def forget(self) -> None:
        """Nobody will ask any more."""
        if self._asked:
            self._asked = False
            error = self._exception
            if self.done and error is not None and not isinstance(error, _FOR_MAIN):
                super()._report(error)

    def _report(self, error: BaseException, where: str = "") -> None:
        if not self._asked or error is not self._exception or isinstance(error, _FOR_MAIN):
            super()._report(error, where)
