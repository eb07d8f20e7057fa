"""What an `Event` and an `AsyncResult` share: waiters, and callbacks that are told once.

Rule: "ready" is set first, then everybody is told; a waiter enters the queue and a callback enters the
list first, and looks whether it is ready afterwards. So nobody is forgotten, whatever thread each
is in. Whoever takes a callback out of the list calls it: it is called exactly once for each link.
"""

from collections.abc import Callable
from typing import Any

from graftlet.core._current import blocking_hub, get_hub
from graftlet.core._greenlet import getcurrent, spawn_raw
from graftlet.core._unhandled import report_unhandled
from graftlet.core._waitqueue import Turn, WaitQueue, deadline_after


class Linkable:
    """Something that becomes ready."""

    __slots__ = ("__weakref__", "_links", "_waiters")

    def __init__(self) -> None:
        self._waiters = WaitQueue()
        #: Callbacks by their links, in the order in which they were linked.
        self._links: dict[object, Callable[[Any], object]] = {}

    def ready(self) -> bool:
        """Whether there is nothing to wait for."""
        raise NotImplementedError

    def rawlink(self, callback: Callable[[Any], object]) -> None:
        """Have ``callback`` called with this object, once, when it is (or becomes) ready.

        Whoever makes it ready calls it: it must not block. Its exceptions are reported as unhandled.

        Raises:
            TypeError: ``callback`` can't be called.
        """
        if not callable(callback):
            raise TypeError(f"rawlink: a callable is needed, not {callback!r}")
        self._links[object()] = callback
        if self.ready():
            if blocking_hub() is None:
                self._tell_links()
            else:
                # Not inside of the call that makes the link.
                spawn_raw(self._tell_links)

    def unlink(self, callback: Callable[[Any], object]) -> None:
        """Take one `rawlink` of ``callback`` back, if it hasn't been called yet."""
        for link, linked in list(self._links.items()):
            if linked == callback and self._links.pop(link, None) is not None:
                return

    def _tell_everybody(self) -> None:
        """It has become ready."""
        try:
            self._waiters.wake_all()
        finally:
            if self._links:
                self._tell_links()

    def _tell_links(self) -> None:
        links = self._links
        while links:
            try:
                link = next(iter(links))
                callback = links[link]
                del links[link]
            except (StopIteration, KeyError, RuntimeError):
                continue  # another thread was faster
            try:
                callback(self)
            except Exception as error:
                report_unhandled(get_hub(), getcurrent(), error, f"in the link {callback!r} of")
            except BaseException:
                self._tell_links()
                raise

    def _wait_until_ready(self, timeout: float | None) -> bool:
        """Whether it became ready, if only for a moment, within ``timeout`` seconds."""
        if timeout is not None and timeout <= 0:
            return self.ready()
        deadline = deadline_after(timeout)
        turns = self._waiters._turns
        turn = Turn(self)
        try:
            turns[turn] = None
            # Who was notified returns, even if it isn't ready any more: it has been.
            return self.ready() or turn.park(deadline) or self.ready()
        finally:
            turns.pop(turn, None)
