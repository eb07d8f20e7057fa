"""Locks that were held when they were converted: whoever held them may let go of them where nobody sees it.

Rule: ``with lock:`` keeps what it will call at its end, so a block that is under way while its lock is converted
ends with the native lock's own release. Other native threads that are in such a block, or wait to enter it, do the
same. The state is the right one then, for it is the native lock's; but nobody is woken by that. So who waits for
such a lock looks again and again.
"""

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from graftlet.core import _original
from graftlet.core._current import blocking_hub
from graftlet.core._deadlines import INFINITY
from graftlet.core._own_threads import own_threads
from graftlet.core._waitqueue import Turn

if TYPE_CHECKING:
    from graftlet.sync._waitable import WaitableTurn

#: Seconds between two looks.
LOOK_EVERY: Final = 0.01


class OldTurns(OrderedDict[Any, None]):
    """The queue of those who wait for a lock that was held when it was converted."""

    #: Whether the greenlet that had it converted was the only thread there was, and so held it itself.
    alone: bool

    def __init__(self) -> None:
        super().__init__()
        self.alone = set(sys._current_frames()) - own_threads == {_original.get_ident()}

    def park(self, turn: "WaitableTurn", deadline: float) -> bool:
        """As ``turn.park``, but True from time to time."""
        hub = turn._hub
        # If the one who held it waits for it now it can't let go of it: a deadlock is to be found.
        if hub is not None and self.alone and turn._task is hub.main:
            return Turn.park(turn, deadline)
        now = _original.monotonic() if hub is None else hub.clock()
        if deadline != INFINITY and deadline <= now + LOOK_EVERY:
            return Turn.park(turn, deadline)
        Turn.park(turn, now + LOOK_EVERY)
        return True


class OldHold:
    """What is the native lock inside an `RLock` as long as somebody may hold its predecessor, a ``_thread.RLock``.

    Whoever holds that one goes on to hold it, and takes it again, until it has been released as often: by its own
    methods, or by the successor's.
    """

    __slots__ = ("_native", "_predecessor", "holder")

    def __init__(self, predecessor: Any, holder: Any) -> None:
        self._native = _original.allocate_lock()
        self._predecessor = predecessor
        #: A Task; None if it is another native thread.
        self.holder = holder

    def acquire(self, _blocking: bool) -> bool:
        return not self._is_held() and self._native.acquire(False)

    def release(self) -> None:
        self._native.release()

    def locked(self) -> bool:
        return self._native.locked() or self._is_held()

    def _is_held(self) -> bool:
        predecessor = self._predecessor
        if predecessor._is_owned() or not predecessor.acquire(False):
            return True
        predecessor.release()
        return False

    def is_of(self, me: Any) -> bool:
        """Whether ``me``, who runs, holds the predecessor."""
        return bool(self._predecessor._is_owned()) and (self.holder is None or self.holder is me)

    def acquire_again(self) -> None:
        """For who holds it."""
        self._predecessor.acquire()

    def release_once(self) -> None:
        """For who holds it."""
        self._predecessor.release()

    def release_save(self) -> int:
        """For who holds it: let go of it altogether; how often it was held."""
        return int(self._predecessor._release_save()[0])

    def count(self) -> int:
        """For who holds it: how often."""
        saved = self._predecessor._release_save()
        self._predecessor._acquire_restore(saved)
        return int(saved[0])


def current_holder() -> Any:
    """Who runs, as `OldHold.holder`."""
    hub = blocking_hub()
    return None if hub is None else hub.current
