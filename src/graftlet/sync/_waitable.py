"""What `Lock` and `RLock` have in common: a native lock, and a queue of those who wait for it.

Rule: a lock is a native lock first. ``acquire`` tries the C lock, and only if that fails it enters the wait
queue, *tries again*, and parks. ``release`` releases the C lock and then looks for waiters. Whoever runs may take
the lock again before them, for a lock that changes hands with every release costs two switches each time; but
only so often, then the one who waits first is given the lock by the next release (the C lock stays locked for
it). One that is killed in the same instant gives it on. Where a waiter that is woken at once comes too late, because
whoever released the lock parks with it in its hands again, none is woken until the hub sees that the lock stays free. An acquire that was asked not to block never switches:
finalizers rely on it.
"""

from collections import OrderedDict
from os import getpid as _process
from typing import Any, Final, NoReturn

from graftlet.core import _original
from graftlet.core._current import per_thread
from graftlet.core._deadlines import INFINITY, Alarm
from graftlet.core._fork import free_in_children
from graftlet.core._hub import Hub
from graftlet.core._waitqueue import Turn, deadline_after
from graftlet.sync._old_hold import OldTurns

allocate_lock: Final = _original.allocate_lock
_making: Final = free_in_children(_original.allocate_lock())


def check(blocking: bool, timeout: float) -> None:
    """Raise what the native lock raises for such arguments; asks a free one, which never waits."""
    allocate_lock().acquire(blocking, timeout)


class WaitableTurn(Turn):
    """One wait for a lock."""

    __slots__ = ("process",)

    #: The process in which it waits: the child of a fork finds the turns of its parent.
    process: int


class Waitable:
    """A native lock and the queue of those who wait for it.

    Who waits is in the queue until it has the lock, and taking its turn out *is* the hand-over: only who has the
    native lock may do that, and leaves it locked.
    """

    __slots__ = ("__weakref__", "_native", "_overtaken", "_passing_in", "_retaken", "_turns")

    #: So often may the one who waits first be looked for, and others have the lock. Each hand-over to one who has to be
    #: woken costs two switches, and makes all others wait (benchmarks, contended).
    _PATIENCE: Final = 3

    def __init__(self) -> None:
        #: Of an `RLock` it may be an `OldHold`.
        self._native: Any = allocate_lock()
        #: Most locks are never contended. Those that were held when they were converted have `OldTurns`.
        self._turns: OrderedDict[WaitableTurn, None] | OldTurns | None = None
        #: How often that has happened to those who wait.
        self._overtaken = 0
        #: The hub that will soon call `_pass_on`.
        self._passing_in: Hub | None = None
        #: Whether the last waiter that was woken at once came too late.
        self._retaken = False

    def _wait(self, timeout: float) -> bool:
        """Acquire the native lock, parking as often as need be; False after ``timeout`` seconds."""
        if timeout == 0:
            return False
        deadline = INFINITY if timeout == -1 else deadline_after(timeout)
        turns = self._turns
        if turns is None:
            with _making:  # two threads may come here at once: one queue wins
                turns = self._turns
                if turns is None:
                    turns = self._turns = OrderedDict()
        native = self._native
        turn = WaitableTurn(self)
        if turn._hub is None:
            turn.process = _process()
        turns[turn] = None
        try:
            # A ``locked`` that is true costs a tenth of an ``acquire`` that fails.
            while not (served := not native.locked() and native.acquire(False)) and (
                turns.park(turn, deadline) if isinstance(turns, OldTurns) else turn.park(deadline)
            ):
                # Invariant: reset before the look at the queue, for who hands over takes the turn out first.
                turn.notified = False
                if turn not in turns:
                    return True
                if native.locked():  # too late
                    self._overtaken += 1
                    self._retaken = True
        except BaseException:
            if _removed(turns, turn):
                self._look()
            else:
                self._free()  # handed over to one who was killed in the same instant
            raise
        # Not by `_removed`: where a call begins a signal's handler may raise, and the turn of nobody would be handed the
        # lock.
        try:
            del turns[turn]
        except KeyError:
            return True
        if not served:
            self._look()
        return served

    def _look(self) -> None:
        """Nobody who waits may overlook that the lock is free."""
        if self._turns and self._native.acquire(False):
            self._free()

    def _free(self) -> None:
        """Hand the lock, which is held, over; or free it and have the first who waits take it.

        If a greenlet of this hub came too late when it was last woken for that, it is not: whoever runs now may take
        the lock again before anybody else runs. The hub looks when that is over.
        """
        if self._overtaken >= self._PATIENCE and self._native.locked() and self._hand_over():
            return
        self._native.release()
        try:
            hub = per_thread.hub
        except AttributeError:
            hub = None
        turns = self._turns
        while turns and (hub is None or self._passing_in is not hub):
            try:
                for turn in turns:
                    if turn._hub is hub and hub is not None:
                        if not self._retaken:
                            _wake(turn)
                            return
                        # A deadline that has passed: the hub looks at those when it looks at the descriptors, and who
                        # yields with the lock in its hands need not go round it (benchmarks, contended). Noted when it
                        # is done: a signal's handler may raise in between.
                        hub.deadlines.want(_Look(self), 0.0)
                        self._passing_in = hub
                        return
                    if _is_gone(turn):
                        turns.pop(turn, None)
                        break
                    if not turn.notified:
                        _wake(turn)
                        return
                else:
                    return
            except RuntimeError:
                pass  # another thread has changed the queue in between

    def _hand_over(self) -> bool:
        """Give the lock, which is held, to the first who waits; False if there is none."""
        turns = self._turns
        while turns:
            try:
                turn = next(iter(turns))
                del turns[turn]
            except (StopIteration, KeyError, RuntimeError):
                continue  # another thread was faster
            # Invariant: who has taken a turn out notifies it, even if a signal's handler raises here.
            try:
                if _is_gone(turn):
                    continue
                self._overtaken = 0
                turn.notify()
                return True
            except BaseException:
                turn.notify()
                raise
        return False

    def _pass_on(self) -> None:
        """On the hub: hand the lock over to a greenlet that waits here, unless somebody has taken it again."""
        hub = per_thread.hub
        if self._passing_in is hub:
            self._passing_in = None
        turns = self._turns
        if not turns:
            return
        # Invariant: whoever has the lock instead looks for waiters after it has freed it.
        if self._native.locked() or not self._native.acquire(False):
            self._overtaken += 1
            return
        try:
            first = turn = next(iter(turns))
            if turn._hub is not hub:
                turn = next(turn for turn in turns if turn._hub is hub)
            del turns[turn]
        except (StopIteration, KeyError, RuntimeError):
            # Nobody waits here, or another thread has changed the queue in between.
            self._free()
            return
        self._overtaken = 0 if turn is first else self._overtaken + 1
        self._retaken = False
        turn.notified = True
        task = turn._task
        if task.waiting is turn:
            task.waiting = None
            # In the place that it would have, had it been woken at once.
            hub.ready.appendleft(task)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {type_name(type(self))!r} object")

    def locked(self) -> bool:
        """Whether anybody holds it."""
        return bool(self._native.locked())

    def _state(self) -> str:
        return "locked" if self._native.locked() else "unlocked"


class _Look(Alarm):
    """The hub looks at a lock. No timer of the program's: nobody has to wait for it."""

    __slots__ = ("_lock",)

    def __init__(self, lock: Waitable) -> None:
        super().__init__()
        self._lock = lock

    def due(self) -> None:
        self._lock._pass_on()


def _removed(turns: "OrderedDict[WaitableTurn, None]", turn: WaitableTurn) -> bool:
    """Take the turn out of the queue; False if somebody else has done so."""
    try:
        del turns[turn]
    except KeyError:
        return False
    return True


def _wake(turn: WaitableTurn) -> None:
    """Have its owner look whether the lock is free, as who has been woken already will do anyway."""
    if not turn.notified:
        try:
            turn.notify()
        except BaseException:  # a signal's handler has raised
            turn.notify()
            raise


def _is_gone(turn: WaitableTurn) -> bool:
    """Whether it stayed behind in the parent of a fork, or its hub's native thread has ended."""
    hub = turn._hub
    if hub is None:
        return turn.process != _process()
    return hub.closed or hub.process != _process()


def type_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__name__}"
