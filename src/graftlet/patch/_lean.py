"""The hot methods of ``threading``'s and ``queue``'s classes, made for greenlets.

Rule: the classes are CPython's own, their attributes mean what they always meant, and other methods, overrides
and subclasses work on them as before. Only how one waits is different: what stands in a Condition's
``_waiters`` is a `Waiter`, which is a turn of a wait queue and not a lock that is acquired twice. And where
nobody has to wait, nothing is done but what must be: the native mutex, the deque, one wake-up.

So who holds CPython's own method (a bound one, say) may go on to use it: both get on with each other, and no
reference has to be swept. Whatever is not the plain case (a mutex of the program's own, a queue that is
shut down) is left to the standard library's own method.

Why: gevent replaces ``queue.Queue`` and ``threading.Event`` by compiled classes, and conditions with two locks for each
waiter are three to four times as slow as this (benchmarks, uncontended and pingpong; docs/performance.md).

A kill or a time-out leaves a wait only when the lock is held again, as after any other wait: whoever called
gives it back on the way out.
"""

import sys
from collections.abc import Callable
from typing import Any, Final

from graftlet.core import _original
from graftlet.core._deadlines import INFINITY
from graftlet.core._fork import free_in_children
from graftlet.core._waitqueue import Turn, deadline_after
from graftlet.sync._condition import raise_first
from graftlet.sync._lock import ThreadLock, make_lock
from graftlet.sync._rlock import ThreadRLock

_get_ident: Final = _original.get_ident

#: Locks that raise, when they are acquired, only what is thrown at the greenlet.
OURS: Final = (ThreadLock, ThreadRLock)


class Waiter(Turn):
    """Who waits in a Condition. ``Condition.notify`` takes it for a lock, and releases it."""

    __slots__ = ()

    release = Turn.notify


# -- threading.Condition


def is_wrong(timeout: float) -> bool:
    """Whether it is a NaN, which Python 3.14 refuses and older ones take for no time at all."""
    return timeout != timeout and sys.version_info >= (3, 14)  # noqa: PLR0124 - only NaN does


def wait(self: Any, timeout: float | None = None) -> bool:
    """As ``threading.Condition.wait``."""
    if not self._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    waiter = Waiter(self)
    deadline = INFINITY
    if timeout is not None and (timeout > 0 or is_wrong(timeout)):
        deadline = deadline_after(timeout)
    waiters = self._waiters
    waiters.append(waiter)
    saved = self._release_save()
    thrown: list[BaseException] = []
    if timeout is None or timeout > 0:
        try:
            waiter.park(deadline)
        except BaseException as error:
            thrown.append(error)
    if type(self._lock) in OURS:
        _take_again(self._acquire_restore, (saved,), thrown)
    else:
        self._acquire_restore(saved)  # what it raises may be its own
    notified = bool(waiter.notified) or not _removed(waiters, waiter)
    if thrown:
        if notified:
            # In the same instant in which it was killed: that is for somebody else.
            notify_first(waiters)
        raise_first(thrown)
    return notified


def _take_again(
    acquire: Callable[..., object], args: tuple[Any, ...], thrown: list[BaseException]
) -> None:
    """Have the lock again, as whoever called expects, whatever is thrown at this greenlet meanwhile."""
    while True:
        try:
            acquire(*args)
        except BaseException as error:
            thrown.append(error)
        else:
            return


def _removed(waiters: Any, waiter: Waiter) -> bool:
    """Give up waiting; False if somebody was about to notify it."""
    try:
        waiters.remove(waiter)
    except ValueError:
        return False
    return True


def notify_first(waiters: Any) -> bool:
    """Wake the first of a Condition's waiters; False if there is none."""
    while waiters:
        try:
            waiter = waiters.popleft()
        except IndexError:
            break  # another thread was faster
        try:
            if waiter.release() is not False:
                return True
        except RuntimeError:
            pass  # a lock, whose owner has timed out: `threading.Condition.notify` ignores it likewise
    return False


# -- threading.Event


def event_set(self: Any) -> None:
    """As ``threading.Event.set``."""
    self._flag = True
    waiters = self._cond._waiters
    if waiters:
        # Invariant: those who come from now on see the flag.
        for _ in range(len(waiters)):
            notify_first(waiters)


def event_clear(self: Any) -> None:
    """As ``threading.Event.clear``."""
    self._flag = False


#: The Condition of the events of all threads that nobody waits for now: those of threads that have started are set for
#: ever, and those of threads that have not are waited for by ``Thread.start`` alone.
_shared: Any = None
#: The Condition of one that has started, for the next that will: a lock and a deque, 1.1 KiB (benchmarks, sleepers).
_spare: Any = None
_sharing: Final = free_in_children(_original.allocate_lock())


def event_init_on(original: Any) -> Any:
    """The method ``Event.__init__``, over the standard library's own."""
    global _shared
    from threading import Condition, Thread

    made_by = Thread.__init__.__code__
    if _shared is None:
        _shared = Condition(make_lock())  # type: ignore[arg-type] # ours takes the place of that one

    def __init__(self: Any) -> None:  # noqa: N807 - a method, put on a class
        """As ``threading.Event``."""
        caller = sys._getframe().f_back
        if caller is not None and caller.f_code is made_by:
            self._cond = _shared
            self._flag = False
        else:
            original(self)

    return __init__


def give_own(event: Any) -> None:
    """Give an event of a thread a Condition of its own, if it shares that of others."""
    global _spare
    with _sharing:
        if event._cond is _shared:
            own, _spare = _spare, None
            event._cond = type(_shared)(make_lock()) if own is None else own


def settle(event: Any) -> None:
    """Take its Condition from the event of a thread that has started. Only from that thread's hub.

    Should it ever be cleared and waited for, it gets another one.
    """
    global _spare
    condition = event._cond
    # Invariant: `event_set` is not under way, for it has woken everybody before anybody else ran.
    if (
        event._flag
        and not condition._waiters
        and condition is not _shared
        and type(condition) is type(_shared)
        and type(event).wait is event_wait
    ):
        with _sharing:
            event._cond = _shared
            _spare = condition


def event_wait(self: Any, timeout: float | None = None) -> bool:
    """As ``threading.Event.wait``."""
    if self._flag:
        return True
    if timeout is None:
        deadline = INFINITY
    elif timeout > 0 or is_wrong(timeout):
        deadline = deadline_after(timeout)
    else:
        return False
    if self._cond is _shared:
        give_own(self)
    waiters = self._cond._waiters
    waiter = Waiter(self)
    waiters.append(waiter)
    try:
        # Invariant: `set` raises the flag before it looks for waiters.
        return self._flag or waiter.park(deadline)
    finally:
        if not waiter.notified:
            _removed(waiters, waiter)  # unless `set` has just done so


# -- queue.Queue


class QueueWaiter(Waiter):
    """Who waits for an item or for room.

    Invariant: it stays in ``_waiters`` until it runs, and wakes the next if there is more then. So five who wait
    are not all woken for five items, of which the first to run takes every one.

    If its own native thread has notified it, ``notified`` is the ident of that: who puts or takes in the same thread
    has nothing to do then (benchmarks, contended).
    """

    __slots__ = ()


def wake_next(waiters: Any) -> bool:
    """Something is there: wake the first of those who wait.

    Returns: whether that one won't wake those who come after it.
    """
    while waiters:
        try:
            first = waiters[0]
        except IndexError:
            return False  # another thread was faster
        # A greenlet of this native thread: `Turn.notify`, unrolled (benchmarks, contended and pingpong).
        if (
            first.__class__ is QueueWaiter
            and (hub := first._hub) is not None
            and hub.thread == (me := _get_ident())
            and not hub.forked
        ):
            if not first.notified:
                first.notified = me
                task = first._task
                if task.waiting is first:
                    task.waiting = None
                    hub.ready.append(task)
            return False
        notify_first(waiters)
        return True
    return False


def _wake_more(waiters: Any, count: int) -> None:
    """Wake the next of those who wait for what is there ``count`` times."""
    while count > 0 and wake_next(waiters):
        count -= 1


def _wait_in(queue: Any, waiters: Any, mutex: Any, deadline: float) -> bool:
    """Let go of the mutex, which is held, until woken; False if the deadline has passed."""
    waiter = QueueWaiter(queue)
    if (
        waiters
        and waiters[0].__class__ is QueueWaiter
        and (hub := waiters[0]._hub) is not None
        and hub.forked
    ):
        _forget_those_gone(waiters)
    waiters.append(waiter)
    # `ThreadLock.release`, unrolled (benchmarks, pingpong)
    if mutex._turns:
        mutex._free()
    else:
        mutex._native.release()
        if mutex._turns:
            mutex._look()
    hub = waiter._hub
    thrown: list[BaseException] = []
    try:
        if hub is None:
            waiter.park(deadline)
        else:  # `Turn.park`, unrolled (benchmarks, pingpong)
            while not waiter.notified and hub.park(waiter, deadline):
                pass
    except BaseException as error:
        thrown.append(error)
    if not mutex._native.acquire(False):
        _take_again(mutex.acquire, (), thrown)
    # Invariant: `notified` changes only while the mutex is held.
    if waiters and waiters[0] is waiter:
        waiters.popleft()
    else:
        _removed(waiters, waiter)  # unless ``Condition.notify`` has done so
    if thrown:
        if waiter.notified:
            wake_next(waiters)
        raise_first(thrown)
    return bool(waiter.notified)


def _forget_those_gone(waiters: Any) -> None:
    """In the child of a fork: whoever was woken in the parent won't wake anybody here."""
    while waiters and waiters[0].__class__ is QueueWaiter and waiters[0].is_gone():
        waiters.popleft()


#: Whether a queue has an attribute ``is_shutdown``.
_CAN_SHUT_DOWN: Final = sys.version_info >= (3, 13)

_made: Final[dict[Any, Any]] = {}


def over(original: Any, make: Callable[[Any], Any]) -> Any:
    """``make(original)``, the same one every time; ``original`` itself if it was made here."""
    if original not in _made:
        made = make(original)
        _made[original] = _made[made] = made
    return _made[original]


def put_on(original: Any) -> Any:
    """The method ``put``, over the standard library's own."""

    def put(self: Any, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """As ``queue.Queue.put``."""
        mutex = self.mutex
        if mutex.__class__ is not ThreadLock or (timeout is not None and timeout < 0 and block):
            original(self, item, block, timeout)
            return
        deadline: float | None = None
        if not mutex._native.acquire(False):
            mutex.acquire()
        try:
            while not (_CAN_SHUT_DOWN and self.is_shutdown):
                if self.maxsize <= 0 or self._qsize() < self.maxsize:
                    self._put(item)
                    self.unfinished_tasks += 1
                    if waiters := self.not_empty._waiters:
                        # Nothing is to do if `wake_next` has done it (benchmarks, contended).
                        first = waiters[0]
                        if first.__class__ is not QueueWaiter or first.notified != _get_ident():
                            wake_next(waiters)
                    if deadline is not None and self.not_full._waiters:
                        _wake_more(self.not_full._waiters, self.maxsize - self._qsize())
                    return
                if not block or timeout == 0:
                    break
                if deadline is None:
                    deadline = INFINITY if timeout is None else deadline_after(timeout)
                if not _wait_in(self, self.not_full._waiters, mutex, deadline):
                    block = False
                    break
        finally:
            # `ThreadLock.release`, unrolled (benchmarks, uncontended)
            if mutex._turns:
                mutex._free()
            else:
                mutex._native.release()
                if mutex._turns:
                    mutex._look()
        original(self, item, block, timeout)

    return put


def get_on(original: Any) -> Any:
    """The method ``get``, over the standard library's own."""

    def get(self: Any, block: bool = True, timeout: float | None = None) -> Any:
        """As ``queue.Queue.get``."""
        mutex = self.mutex
        if mutex.__class__ is not ThreadLock or (timeout is not None and timeout < 0 and block):
            return original(self, block, timeout)
        deadline: float | None = None
        if not mutex._native.acquire(False):
            mutex.acquire()
        try:
            while True:
                if self._qsize():
                    item = self._get()
                    if waiters := self.not_full._waiters:
                        # Nothing is to do if `wake_next` has done it (benchmarks, contended).
                        first = waiters[0]
                        if first.__class__ is not QueueWaiter or first.notified != _get_ident():
                            wake_next(waiters)
                    if deadline is not None and self.not_empty._waiters:
                        _wake_more(self.not_empty._waiters, self._qsize())
                    return item
                if not block or timeout == 0 or (_CAN_SHUT_DOWN and self.is_shutdown):
                    break
                if deadline is None:
                    deadline = INFINITY if timeout is None else deadline_after(timeout)
                if not _wait_in(self, self.not_empty._waiters, mutex, deadline):
                    block = False
                    break
        finally:
            # `ThreadLock.release`, unrolled (benchmarks, uncontended)
            if mutex._turns:
                mutex._free()
            else:
                mutex._native.release()
                if mutex._turns:
                    mutex._look()
        return original(self, block, timeout)

    return get
