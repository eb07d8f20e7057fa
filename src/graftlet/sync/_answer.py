"""`Answer`: a greenlet for a call whose outcome somebody has asked for.

Rule: its exception goes to whoever asked. It is printed as unhandled only if nobody will ever see it: the
asker was killed, or has stopped at an earlier failure.
"""

from collections.abc import Callable
from typing import Any, Final

from graftlet.core._greenlet import Greenlet

#: Reported by being raised in the main greenlet, whoever asks besides.
_FOR_MAIN: Final = (SystemExit, KeyboardInterrupt)


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
