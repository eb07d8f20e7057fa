"""`Answer`: a greenlet for a call whose outcome somebody has asked for.

Rule: its exception goes to whoever asked. It is printed as unhandled only if nobody will ever see it: the
asker was killed, or has stopped at an earlier failure.
"""

from collections.abc import Callable
from typing import Any

from graftlet.core._greenlet import Greenlet


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
            if self.done and self._exception is not None:
                super()._report(self._exception)

    def _report(self, error: BaseException) -> None:
        if not self._asked or error is not self._exception or isinstance(error, (SystemExit, KeyboardInterrupt)):
            super()._report(error)
