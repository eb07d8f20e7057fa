"""`SimpleQueue`: unbounded, first in, first out, and nothing else.

Rule: it is a `deque` first, and a wait queue for those who find it empty. ``put`` never
blocks and is a single step of the C type, so finalizers and signal handlers may call it at any time.
An item is never handed over: a woken getter takes it out itself, and one that leaves wakes the next if
something is there.

One that was made before patching keeps its items where they are, in the native queue.
"""

from _queue import Empty
from collections import deque
from typing import Any, ClassVar, Final, Generic, TypeVar

from graftlet.core import _original
from graftlet.core._deadlines import INFINITY
from graftlet.core._waitqueue import Turn, WaitQueue, deadline_after

Item = TypeVar("Item")

_get_ident: Final = _original.get_ident


class _Nobody(Turn):
    """Stands for no turn at all: it is never notified."""

    __slots__ = ()

    def __init__(self) -> None:
        # Not as a Turn, which needs a hub: a module that is being imported makes none.
        self._hub = None
        self.notified = False
        self.what = None


_NOBODY: Final[Turn] = _Nobody()


class _NativeItems:
    """The items of a native `_queue.SimpleQueue`, as a deque has them."""

    __slots__ = ("append", "native")

    def __init__(self, native: Any) -> None:
        self.native = native
        self.append = native.put

    def __len__(self) -> int:
        return int(self.native.qsize())

    def popleft(self) -> Any:
        try:
            return self.native.get_nowait()
        except Empty:
            pass
        raise IndexError


class SimpleQueue(Generic[Item]):
    """An unbounded queue, as `queue.SimpleQueue`."""

    __slots__ = ("__weakref__", "_items", "_turns", "_waiters", "_woken")

    #: What the native one raises.
    _empty: ClassVar[type[Exception]] = Empty

    def __init__(self) -> None:
        #: Not a native queue: that takes its arguments the slow way (benchmarks, uncontended).
        self._items: deque[Item] | _NativeItems = deque()
        self._waiters = WaitQueue()
        #: Who waits: asked by each `put` (benchmarks, uncontended).
        self._turns = self._waiters._turns
        #: Who was woken for an item and has not run yet. It wakes the next if there is more: so five who wait are
        #: not all woken for five items, of which the first to run takes every one (benchmarks, contended).
        self._woken = _NOBODY

    @classmethod
    def of(cls, native: Any) -> "SimpleQueue[Any]":
        """One that works on ``native``: whoever still refers to that one takes part.

        But a greenlet can't be woken by what is put there.
        """
        self = cls()
        self._items = _NativeItems(native)
        return self

    def give_back(self, native: Any) -> bool:
        """Undo `of`; False if greenlets wait here."""
        items = self._items
        return isinstance(items, _NativeItems) and items.native is native and not self._waiters

    def __repr__(self) -> str:
        name = f"graftlet.queue.{type(self).__name__}"
        return f"<{name} at {id(self):#x}: {self.qsize()} items, {len(self._waiters)} waiters>"

    def qsize(self) -> int:
        """How many items are there at the moment."""
        return len(self._items)

    def empty(self) -> bool:
        """Whether no item is there at the moment."""
        return not self._items

    def put(self, item: Item, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002 - as queue.SimpleQueue
        """Put ``item`` at the end; never blocks. The other arguments are only for compatibility."""
        try:
            self._items.append(item)
        finally:
            # Nothing is to do if one was woken that is of this native thread (benchmarks, contended).
            if self._turns and self._woken.notified != _get_ident():
                self._wake_next()

    def _wake_next(self) -> None:
        # `WaitQueue.wake_one` and `Turn.notify`, unrolled (benchmarks, contended and pingpong)
        turns = self._turns
        while turns:
            try:
                turn = next(iter(turns))
                del turns[turn]
            except (StopIteration, KeyError, RuntimeError):
                continue  # another thread was faster
            self._woken = turn
            # Invariant: as there, who has taken a turn out notifies it.
            try:
                hub = turn._hub
                if hub is not None and hub.thread == (me := _get_ident()) and not hub.forked:
                    turn.notified = me
                    task = turn._task
                    if task.waiting is turn:
                        task.waiting = None
                        hub.ready.append(task)
                    return
                if turn.notify():
                    return
            except BaseException:
                turn.notify()
                raise

    def put_nowait(self, item: Item) -> None:
        """As `put`."""
        SimpleQueue.put(self, item)

    def get(self, block: bool = True, timeout: float | None = None) -> Item:
        """Take the first item out.

        Args:
            block: whether to wait for one.
            timeout: how many seconds to wait at most; None waits for ever.

        Raises:
            queue.Empty: there was none (in time).
            ValueError: ``timeout`` is negative.
        """
        if timeout is not None and block and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        try:
            return self._items.popleft()
        except IndexError:
            pass
        if not block or timeout == 0:
            raise self._empty
        return self._wait(timeout)

    def get_nowait(self) -> Item:
        """As `get`, without waiting."""
        return SimpleQueue.get(self, False)  # as in C: not a subclass's

    def _wait(self, timeout: float | None) -> Item:
        deadline = INFINITY if timeout is None else deadline_after(timeout)
        items = self._items
        waiters = self._waiters
        turns = self._turns
        turn = Turn(self)
        hub = turn._hub
        if self._woken is not _NOBODY and self._woken.is_gone():
            self._woken = _NOBODY
        try:
            turns[turn] = None
            while True:
                if items:
                    try:
                        item: Item = items.popleft()
                    except IndexError:
                        pass  # another thread was faster
                    else:
                        return item
                if turn.notified:
                    # Those who put wake somebody again; what they have put is seen next.
                    self._woken = _NOBODY
                    waiters.enter_again(turn)
                # `Turn.park`, unrolled (benchmarks, contended)
                elif (
                    not (turn.park(deadline) if hub is None else hub.park(turn, deadline))
                    and not turn.notified
                ):
                    raise self._empty
        finally:
            if self._woken is turn:
                self._woken = _NOBODY
            turns.pop(turn, None)
            if turns and items:
                self._wake_next()


def simple_queue_over(module: Any) -> type[SimpleQueue[Any]]:
    """The class for a copy of module ``_queue`` that the program has imported afresh, with its own types."""
    if module.SimpleQueue in (_original.SimpleQueue, SimpleQueue):
        return SimpleQueue
    if issubclass(module.SimpleQueue, SimpleQueue):
        return module.SimpleQueue  # type: ignore[no-any-return] # made here
    return type(
        "SimpleQueue",
        (SimpleQueue,),
        {"__slots__": (), "_empty": module.Empty},
    )
