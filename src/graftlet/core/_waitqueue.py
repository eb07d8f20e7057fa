"""The one wait queue: first in, first out, across greenlets and native threads alike.

Rule: a waiter enters the queue *before* it looks a last time at what it waits for, and parks only
then; a waker changes the thing first and wakes afterwards. So no wake-up can be lost between the two,
whatever thread either is in, and no lock is held meanwhile.

Taking a turn out of the queue is one atomic step of an ``OrderedDict``, done either by the waker
(then the turn is *notified*) or by the waiter that leaves. A waiter that was notified and leaves
without having used it (kill, time-out) passes the notification on: see `WaitQueue.leave`.

A greenlet parks in its hub; a native thread without a hub blocks on a native lock.
"""

from collections import OrderedDict
from typing import Final

from graftlet.core import _original
from graftlet.core._current import blocking_hub, per_thread
from graftlet.core._deadlines import INFINITY
from graftlet.core._hub import Hub
from graftlet.core._task import Task

_get_ident: Final = _original.get_ident

#: ``lock.acquire`` refuses longer waits (``threading.TIMEOUT_MAX``), seconds.
LONGEST_NATIVE_WAIT: Final = 1e6


class Turn:
    """One wait of one greenlet or native thread in a `WaitQueue`."""

    __slots__ = ("_gate", "_hub", "_task", "notified", "what")

    #: The object that is waited for: what the deadlock report prints.
    what: object
    #: Whether it has been notified. The ident of the native thread that has done so, where that says something.
    notified: int

    def __init__(self, what: object) -> None:
        self.what = what
        self.notified = False
        hub: Hub | None
        try:
            hub = per_thread.hub  # `blocking_hub`, unrolled (benchmarks, pingpong)
        except AttributeError:
            hub = blocking_hub()
        self._hub = hub
        if hub is not None:
            self._task: Task = hub.current
        else:
            self._gate = _original.allocate_lock()
            self._gate.acquire()

    def __repr__(self) -> str:
        return repr(self.what)

    def park(self, deadline: float = INFINITY) -> bool:
        """Wait to be notified; False if the deadline (of `deadline_after`) passed first."""
        if self._hub is None:
            return self._block(deadline)
        while not self.notified:
            # True may only mean that a signal handler has run.
            if not self._hub.park(self, deadline):
                return bool(self.notified)
        return True

    def _block(self, deadline: float) -> bool:
        """`park`, in a native thread without a hub."""
        while not self.notified:
            left = LONGEST_NATIVE_WAIT
            if deadline != INFINITY:
                left = min(deadline - _original.monotonic(), left)
                if left <= 0:
                    return bool(self.notified)
            self._gate.acquire(True, left)
        return True

    def notify(self) -> bool:
        """Wake the waiter, in whatever thread it is; False if it stayed behind in a parent process.

        It may be on its way out already, killed or timed out: then `WaitQueue.leave` passes the
        notification on.
        """
        self.notified = True
        hub = self._hub
        if hub is None:
            try:
                self._gate.release()
            except RuntimeError:
                pass  # open already: an earlier notification came too late to be used
        elif hub.forked:
            return False
        elif hub.thread == _get_ident():
            task = self._task
            if task.waiting is self:  # `Hub.wake`, unrolled (benchmarks, pingpong)
                task.waiting = None
                hub.ready.append(task)
        else:
            hub.post(self._wake)
        return True

    def is_gone(self) -> bool:
        """Whether the waiter is a greenlet that stayed behind in the parent of a fork."""
        return self._hub is not None and self._hub.forked

    def _wake(self) -> None:
        assert self._hub is not None
        self._hub.wake(self._task, self)


class WaitQueue:
    """Who waits for one thing, in the order they came."""

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns: OrderedDict[Turn, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._turns)

    def enter(self, what: object) -> Turn:
        """Stand at the end. Call `leave` on every way out."""
        turn = Turn(what)
        self._turns[turn] = None
        return turn

    def enter_with(self, turn: Turn) -> None:
        """Stand at the end with a turn that another queue has served: it has been notified once."""
        turn.notified = False
        self._turns[turn] = None

    def enter_again(self, turn: Turn) -> None:
        """Stand at the front: notified, but somebody else was faster."""
        turn.notified = False
        self._turns[turn] = None
        try:
            self._turns.move_to_end(turn, last=False)
        except KeyError:
            pass  # another thread has taken and notified it in between

    def leave(self, turn: Turn, served: bool) -> bool:
        """Leave the queue.

        Args:
            served: whether the waiter got what it came for. If not, a notification that reached it
                (or is on its way: the waker of another thread has only taken the turn out) goes to
                the next one.

        Returns: whether a waker had taken the turn.
        """
        # Invariant: exactly one of waker and waiter takes the turn out.
        taken = self._turns.pop(turn, turn) is not None
        if taken and not served:
            self.wake_one()
        return taken

    def first(self) -> Turn | None:
        """Whose turn is next, if nobody is faster."""
        try:
            return next(iter(self._turns), None)
        except RuntimeError:
            return None  # changed by another thread

    def wake_one(self) -> bool:
        """Notify the first waiter; False if there is none."""
        turns = self._turns
        while turns:
            try:
                turn = next(iter(turns))
                # Not ``popitem``: after a call a signal's handler may raise, and the turn would be lost.
                del turns[turn]
            except (StopIteration, KeyError, RuntimeError):
                continue  # another thread was faster
            # Invariant: who has taken a turn out notifies it, even if a signal's handler raises here.
            try:
                if turn.notify():
                    return True
            except BaseException:
                turn.notify()
                raise
        return False

    def wake_all(self) -> None:
        """Notify everybody who waits now."""
        for _ in range(len(self._turns)):
            if not self.wake_one():
                return


def deadline_after(timeout: float | None) -> float:
    """The deadline of a wait that begins now.

    Args:
        timeout: seconds; None means for ever.
    """
    if timeout is None:
        return INFINITY
    if timeout != timeout:  # noqa: PLR0124 - nothing but NaN differs from itself
        raise ValueError("Invalid value NaN (not a number)")
    hub = blocking_hub()
    return (_original.monotonic() if hub is None else hub.clock()) + timeout
