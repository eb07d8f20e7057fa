"""`Queue`, `LifoQueue`, `PriorityQueue`: bounded, joinable, and with the standard library's hooks.

Rule: what changes the queue happens *inside*: it takes the queue's one ``_entry`` token (``del`` and
``append``, a single atomic step each), calls the hooks, and puts it back. Nobody parks inside; waiting is done
outside, on the wait queues. An item is never handed over: a woken getter takes it out itself, and
one that leaves (served, killed, too late) wakes the next if something is there. Putters likewise.

Another native thread that finds the token gone waits natively, for some bytecodes. This very thread
finds it gone only if a finalizer runs within a hook (or a hook parks, which it should not). Then a ``put`` is
noted and done on the way out, and a ``get`` finds nothing: neither waits, so neither can deadlock.
"""

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any, Final, Generic, TypeVar

from graftlet.core import _original
from graftlet.core._current import get_hub
from graftlet.core._greenlet import getcurrent
from graftlet.core._unhandled import report_unhandled
from graftlet.core._waitqueue import Turn, WaitQueue, deadline_after
from graftlet.sync._queue_errors import Empty, Full, ShutDown

Item = TypeVar("Item")

_get_ident: Final = _original.get_ident

#: What `Queue._get_now` returns if there is no item.
_NOTHING: Final = object()


class Queue(Generic[Item]):
    """A first-in, first-out queue, as `queue.Queue`.

    Args:
        maxsize: how many items it holds; `put` waits while it is full. None, 0 or less: any number.

    Subclasses may override ``_init``, ``_put``, ``_get`` and ``_qsize`` as those of `queue.Queue`, and
    ``_peek``. These are called by one native thread at a time and must not block; ``_qsize`` may be
    called at any time.

    Iterating takes items out until one is `StopIteration`, or until the queue is shut down and empty.
    """

    __slots__ = (
        "__weakref__",
        "_entry",
        "_getters",
        "_inside",
        "_joiners",
        "_late",
        "_putters",
        "_unsettled",
        "is_shutdown",
        "maxsize",
        "queue",
        "unfinished_tasks",
    )

    #: Where the items are: what ``_init`` makes of it.
    queue: Any

    def __init__(self, maxsize: int | None = 0) -> None:
        #: How many items it holds at most; 0 or less: any number.
        self.maxsize = maxsize or 0
        #: How many items have been put and not reported by `task_done`.
        self.unfinished_tasks = 0
        #: Whether `shutdown` has been called.
        self.is_shutdown = False
        self._getters = WaitQueue()
        self._putters = WaitQueue()
        self._joiners = WaitQueue()
        self._entry: list[None] = [None]
        #: The ident of the native thread that has the token; 0 if none has.
        self._inside = 0
        #: What has been put while this very thread was inside.
        self._late: deque[Item] = deque()
        #: Whether anybody has come while this very thread was inside.
        self._unsettled = False
        self._init(self.maxsize)

    def __repr__(self) -> str:
        bound = f" of {self.maxsize}" if self.maxsize > 0 else ""
        name = f"graftlet.queue.{type(self).__name__}"
        return (
            f"<{name} at {id(self):#x}: {self.qsize()}{bound} items, "
            f"{len(self._getters)} getters, {len(self._putters)} putters>"
        )

    # -- The hooks

    def _init(self, maxsize: int) -> None:  # noqa: ARG002 - as queue.Queue
        self.queue = deque()

    def _qsize(self) -> int:
        return len(self.queue)

    def _put(self, item: Item) -> None:
        self.queue.append(item)

    def _get(self) -> Item:
        item: Item = self.queue.popleft()
        return item

    def _peek(self) -> Item:
        item: Item = self.queue[0]
        return item

    # -- Inside

    def _enter(self) -> bool:
        """Take the entry token; False if this thread has it already.

        Who has got True puts it back, whatever happens: these are the two lines in each ``finally``,
        not a method, at the beginning of which a signal's handler could raise.
        """
        me = _get_ident()
        while True:
            try:
                del self._entry[-1]
            except IndexError:
                if self._inside == me:
                    return False
                _original.sleep(0)  # another native thread is inside
            else:
                self._inside = me
                return True

    def _put_now(self, item: Item) -> bool:
        """Put ``item`` if there is room, and say whether there was."""
        entered = self._enter()
        try:
            if self.is_shutdown:
                raise ShutDown
            if 0 < self.maxsize <= self._qsize() + len(self._late):
                return False
            if entered:
                self._put(item)
            else:
                self._late.append(item)
                self._unsettled = True
            self.unfinished_tasks += 1
            return True
        finally:
            if entered:
                self._inside = 0
                self._entry.append(None)
                if self._unsettled:
                    self._settle()

    def _get_now(self, peek: bool = False) -> Any:
        """The next item, or _NOTHING."""
        entered = self._enter()
        try:
            if not entered:
                self._unsettled = True
                return _NOTHING
            if not self._qsize():
                if self.is_shutdown:
                    raise ShutDown
                return _NOTHING
            return self._peek() if peek else self._get()
        finally:
            if entered:
                self._inside = 0
                self._entry.append(None)
                if self._unsettled:
                    self._settle()

    def _settle(self) -> None:
        """Do what could not be done while this thread was inside, and wake who found nothing then."""
        self._unsettled = False
        while self._late and self._enter():
            try:
                while self._late:
                    self._put(self._late.popleft())
            except Exception as error:
                # The putter is gone; whoever was inside then has nothing to do with it.
                self.unfinished_tasks -= 1
                report_unhandled(get_hub(), getcurrent(), error, "at a put by a finalizer, in")
            finally:
                self._inside = 0
                self._entry.append(None)
        if self._getters._turns and self._qsize():
            self._getters.wake_one()

    # -- Putting

    def put(self, item: Item, block: bool = True, timeout: float | None = None) -> None:
        """Put ``item`` into the queue.

        Args:
            block: whether to wait for room.
            timeout: how many seconds to wait at most; None waits for ever.

        Raises:
            queue.Full: there was no room (in time).
            ShutDown: the queue has been shut down.
            ValueError: ``timeout`` is negative.
        """
        if timeout is not None and timeout < 0 and block and self.maxsize > 0:
            raise ValueError("'timeout' must be a non-negative number")
        try:
            if not self._put_now(item):
                if not block or timeout == 0:
                    raise Full
                self._wait_to_put(item, timeout)
        finally:
            if self._getters._turns:
                self._getters.wake_one()

    def put_nowait(self, item: Item) -> None:
        """As `put`, without waiting."""
        self.put(item, block=False)

    def _wait_to_put(self, item: Item, timeout: float | None) -> None:
        deadline = deadline_after(timeout)
        putters = self._putters
        turns = putters._turns
        turn = Turn(self)
        try:
            turns[turn] = None
            while not self._put_now(item):
                if turn.notified:
                    putters.enter_again(turn)
                elif not turn.park(deadline):
                    raise Full
        finally:
            turns.pop(turn, None)
            if turns and not self.full():
                putters.wake_one()

    # -- Getting

    def get(self, block: bool = True, timeout: float | None = None) -> Item:
        """Take the next item out of the queue.

        Args:
            block: whether to wait for one.
            timeout: how many seconds to wait at most; None waits for ever.

        Raises:
            queue.Empty: there was none (in time).
            ShutDown: the queue has been shut down and is empty.
            ValueError: ``timeout`` is negative.
        """
        if timeout is not None and timeout < 0 and block:
            raise ValueError("'timeout' must be a non-negative number")
        try:
            item = self._get_now()
            if item is _NOTHING:
                if not block or timeout == 0:
                    raise Empty
                item = self._wait_to_get(timeout, False)
        finally:
            if self._putters._turns:
                self._putters.wake_one()
        result: Item = item
        return result

    def get_nowait(self) -> Item:
        """As `get`, without waiting."""
        return self.get(block=False)

    def peek(self, block: bool = True, timeout: float | None = None) -> Item:
        """Return the next item and leave it in the queue. Arguments and errors are those of `get`."""
        if timeout is not None and timeout < 0 and block:
            raise ValueError("'timeout' must be a non-negative number")
        item = self._get_now(True)
        if item is _NOTHING:
            if not block or timeout == 0:
                raise Empty
            item = self._wait_to_get(timeout, True)
        result: Item = item
        return result

    def peek_nowait(self) -> Item:
        """As `peek`, without waiting."""
        return self.peek(block=False)

    def _wait_to_get(self, timeout: float | None, peek: bool) -> Any:
        deadline = deadline_after(timeout)
        getters = self._getters
        turns = getters._turns
        turn = Turn(self)
        try:
            turns[turn] = None
            while (item := self._get_now(peek)) is _NOTHING:
                if turn.notified:
                    getters.enter_again(turn)
                elif not turn.park(deadline):
                    raise Empty
            return item
        finally:
            turns.pop(turn, None)
            if turns and self._qsize():
                getters.wake_one()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        try:
            item = self.get()
        except ShutDown:
            raise StopIteration from None
        if item is StopIteration:
            raise StopIteration
        return item

    # -- Looking

    def qsize(self) -> int:
        """How many items are in the queue at the moment."""
        return self._qsize()

    __len__ = qsize

    def __bool__(self) -> bool:
        return True  # it is a queue, also if it is empty

    def empty(self) -> bool:
        """Whether the queue is empty at the moment."""
        return not self._qsize()

    def full(self) -> bool:
        """Whether the queue is full at the moment."""
        return 0 < self.maxsize <= self._qsize()

    # -- The end

    def task_done(self) -> None:
        """Say that what an item was put for has been done; once for each `get`.

        Raises:
            ValueError: called more often than items were put.
        """
        entered = self._enter()
        try:
            unfinished = self.unfinished_tasks - 1
            if unfinished < 0:
                raise ValueError("task_done() called too many times")
            self.unfinished_tasks = unfinished
        finally:
            if entered:
                self._inside = 0
                self._entry.append(None)
                if self._unsettled:
                    self._settle()
        if unfinished == 0:
            self._joiners.wake_all()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until `task_done` has been called for every item that was put.

        Args:
            timeout: how many seconds to wait at most; None waits for ever.

        Returns: False if the time was over first.
        """
        if not self.unfinished_tasks or (timeout is not None and timeout <= 0):
            return not self.unfinished_tasks
        deadline = deadline_after(timeout)
        joiners = self._joiners
        turns = joiners._turns
        turn = Turn(self)
        try:
            turns[turn] = None
            while self.unfinished_tasks:
                if turn.notified:
                    joiners.enter_again(turn)
                elif not turn.park(deadline):
                    break
        finally:
            turns.pop(turn, None)
        return not self.unfinished_tasks

    def shutdown(self, immediate: bool = False) -> None:
        """Let nothing more in; as `queue.Queue.shutdown` of Python 3.13.

        `put` raises `ShutDown` from now on, and `get` as soon as the queue is empty.

        Args:
            immediate: empty the queue at once; each item counts as done.
        """
        entered = self._enter()
        try:
            self.is_shutdown = True
            # A finalizer that comes in the middle of a hook can't empty the queue: getters will.
            while immediate and entered and self._qsize():
                self._get()
                if self.unfinished_tasks > 0:
                    self.unfinished_tasks -= 1
        finally:
            if entered:
                self._inside = 0
                self._entry.append(None)
                if self._unsettled:
                    self._settle()
        self._getters.wake_all()
        self._putters.wake_all()
        self._joiners.wake_all()


JoinableQueue = Queue


class LifoQueue(Queue[Item]):
    """A last-in, first-out queue, as `queue.LifoQueue`."""

    __slots__ = ()

    def _init(self, maxsize: int) -> None:  # noqa: ARG002 - as queue.Queue
        self.queue = []

    def _get(self) -> Item:
        item: Item = self.queue.pop()
        return item

    def _peek(self) -> Item:
        item: Item = self.queue[-1]
        return item


class PriorityQueue(Queue[Item]):
    """A queue that yields the smallest item first, as `queue.PriorityQueue`."""

    __slots__ = ()

    def _init(self, maxsize: int) -> None:  # noqa: ARG002 - as queue.Queue
        self.queue = []

    def _put(self, item: Item) -> None:
        heappush(self.queue, item)

    def _get(self) -> Item:
        item: Item = heappop(self.queue)
        return item
