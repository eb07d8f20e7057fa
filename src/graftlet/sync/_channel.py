"""`Channel`: a queue that holds nothing; whoever puts waits until the item has been taken.

Rule: an item lies in its putter's turn. Taking that turn out of the queue is the delivery, a single
atomic step: a putter that leaves and does not find its turn there has delivered. Getters are woken, not
served: one that is killed wakes the next if an offer is there, and the item is still the putter's.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from graftlet.core._waitqueue import Turn, WaitQueue, deadline_after
from graftlet.sync._queue_errors import Empty, Full

Item = TypeVar("Item")


class _Offer(Turn):
    """The turn of one who puts an item."""

    __slots__ = ("item",)

    def __init__(self, what: object, item: Any) -> None:
        super().__init__(what)
        self.item = item


class Channel(Generic[Item]):
    """A meeting of putters and getters: `put` waits until a getter has taken the item.

    Iterating takes items until one is `StopIteration`.
    """

    __slots__ = ("__weakref__", "_getters", "_offers")

    def __init__(self) -> None:
        self._getters = WaitQueue()
        self._offers = WaitQueue()

    def __repr__(self) -> str:
        return (
            f"<graftlet.queue.{type(self).__name__} at {id(self):#x}: "
            f"{len(self._getters)} getters, {len(self._offers)} putters>"
        )

    @property
    def balance(self) -> int:
        """How many putters wait; negative: how many getters."""
        return len(self._offers) - len(self._getters)

    def qsize(self) -> int:
        """0: a channel holds nothing."""
        return 0

    def empty(self) -> bool:
        """True: a channel holds nothing."""
        return True

    def full(self) -> bool:
        """True: a channel holds nothing."""
        return True

    def put(self, item: Item, block: bool = True, timeout: float | None = None) -> None:
        """Wait until a getter has taken ``item``.

        Args:
            block: False: only if a getter is waiting already.
            timeout: how many seconds to wait at most; None waits for ever.

        Raises:
            queue.Full: nobody has taken it (in time).
        """
        offer = _Offer(self, item)
        if not block or (timeout is not None and timeout <= 0):
            self._put_now(offer)
            return
        deadline = deadline_after(timeout)
        offers = self._offers._turns
        entered = delivered = False
        try:
            offers[offer] = None
            entered = True
            if self._getters._turns:
                self._getters.wake_one()
            offer.park(deadline)
        finally:
            if entered:
                try:
                    del offers[offer]
                except KeyError:
                    delivered = True
        if not delivered:
            raise Full

    def put_nowait(self, item: Item) -> None:
        """As `put`, without waiting: a getter must be waiting already."""
        self.put(item, block=False)

    def _put_now(self, offer: _Offer) -> None:
        """Leave the offer for a getter that waits."""
        if not self._getters._turns:
            raise Full
        offers = self._offers._turns
        offers[offer] = None
        if not self._getters.wake_one():
            # The last one has just left. Perhaps it has seen the offer.
            try:
                del offers[offer]
            except KeyError:
                return
            raise Full

    def get(self, block: bool = True, timeout: float | None = None) -> Item:
        """Take an item from a putter.

        Args:
            block: False: only if a putter is waiting already.
            timeout: how many seconds to wait at most; None waits for ever.

        Raises:
            queue.Empty: nobody has put one (in time).
        """
        offer = self._take()
        if offer is None:
            if not block or (timeout is not None and timeout <= 0):
                raise Empty
            offer = self._wait(timeout)
        item: Item = offer.item
        return item

    def get_nowait(self) -> Item:
        """As `get`, without waiting: a putter must be waiting already."""
        return self.get(block=False)

    def _take(self) -> _Offer | None:
        offers: OrderedDict[Any, None] = self._offers._turns
        while offers:
            try:
                offer = next(iter(offers))
                del offers[offer]  # the delivery: no call from here to the notification
            except (StopIteration, KeyError, RuntimeError):
                continue  # another thread was faster
            # Invariant: its putter is told, even if a signal's handler raises here.
            try:
                offer.notify()
            except BaseException:
                offer.notify()
                raise
            taken: _Offer = offer
            return taken
        return None

    def _wait(self, timeout: float | None) -> _Offer:
        deadline = deadline_after(timeout)
        getters = self._getters
        turns = getters._turns
        turn = Turn(self)
        try:
            turns[turn] = None
            while (offer := self._take()) is None:
                if turn.notified:
                    getters.enter_again(turn)
                elif not turn.park(deadline):
                    raise Empty
            return offer
        finally:
            turns.pop(turn, None)
            if turns and self._offers._turns:
                getters.wake_one()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        item = self.get()
        if item is StopIteration:
            raise StopIteration
        return item
