"""The iterators of `Group.imap` and `Group.imap_unordered`.

Rule: a feeder greenlet takes an item out of the input only when the group has room for a greenlet that
works on it, and goes on whether or not anybody takes results. The iterator, which users hold, and
the feeder share a `_Feed`, which knows nothing of the iterator: so an iterator that is dropped is collected,
and then failures that nobody will see any more are reported.

A result is taken out of the feed by one atomic step; one whose taker is killed while it waits for it is put
back.
"""

from collections import deque
from collections.abc import Callable, Iterator
from types import CodeType
from typing import TYPE_CHECKING, Any

from graftlet.core._errors import GreenletExit
from graftlet.core._greenlet import Greenlet
from graftlet.core._waitqueue import Turn, WaitQueue
from graftlet.sync._answer import Answer
from graftlet.sync._semaphore import Semaphore

if TYPE_CHECKING:
    from graftlet.sync._group import Group


class _Feed:
    """What is in work, and what is done."""

    __slots__ = (
        "_group",
        "answers",
        "begun",
        "dropped",
        "ended",
        "error",
        "in_order",
        "room",
        "site",
        "takers",
    )

    def __init__(self, group: "Group", maxsize: int | None, in_order: bool) -> None:
        self._group = group
        #: A token for each item that may still be taken in; None: any number.
        self.room = None if maxsize is None else Semaphore(maxsize)
        self.in_order = in_order
        #: What can be taken out: if in order, from its start on, else from its end on.
        self.answers: deque[Answer] = deque()
        #: What can't be taken out yet.
        self.begun: set[Answer] = set()
        #: Whether nothing more will begin.
        self.ended = False
        #: Whether nobody will take anything any more.
        self.dropped = False
        #: What the input raised.
        self.error: BaseException | None = None
        self.takers = WaitQueue()
        #: Where all that is in work was spawned: see `Greenlet.spawned_at`.
        self.site: tuple[CodeType, int] | None = None

    def run(self, function: Callable[..., Any], items: Iterator[tuple[Any, ...]]) -> None:
        """The feeder's work."""
        group = self._group
        room = self.room
        try:
            while True:
                if room is not None:
                    room.acquire()
                group.wait_available()
                try:
                    arguments = next(items)
                except StopIteration:
                    break
                self._begin(Answer(function, *arguments))
        except GreenletExit:
            pass
        except BaseException as error:
            self.error = error
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                raise

    def finish(self, _: Greenlet) -> None:
        """The feeder has ended, or was killed before it began."""
        self.ended = True
        self.takers.wake_all()

    def _begin(self, answer: Answer) -> None:
        if self.dropped:
            answer.forget()
        if not self.in_order:
            answer.link(self._arrived)
            self.begun.add(answer)
        try:
            self._group._take_in(answer)
        except BaseException:
            self.begun.discard(answer)
            raise
        answer._site = self.site
        if self.in_order:
            self.answers.append(answer)
            if self.takers._turns:
                self.takers.wake_one()

    def _arrived(self, answer: Greenlet) -> None:
        assert isinstance(answer, Answer)
        self.answers.append(answer)
        # Invariant: an answer is in one of both at any time.
        self.begun.discard(answer)
        if self.ended and not self.begun:
            self.takers.wake_all()
        elif self.takers._turns:
            self.takers.wake_one()

    def over(self) -> bool:
        """Whether nothing is left to be taken, and nothing will come."""
        return self.ended and not self.begun and not self.answers

    def take(self) -> Answer | None:
        """The next answer, which has ended; None if it is all over."""
        while True:
            try:
                answer = self.answers.popleft()
            except IndexError:
                if self.over():
                    return None
                self._wait()
                continue
            try:
                answer.join()
            except BaseException:
                self.answers.appendleft(answer)
                self._pass_on()
                raise
            self._pass_on()
            return answer

    def _wait(self) -> None:
        """Until there may be something to take."""
        turns = self.takers._turns
        turn = Turn(self)
        try:
            turns[turn] = None
            if not self.answers and not self.over():
                turn.park()
        except BaseException:
            turns.pop(turn, None)
            self._pass_on()
            raise
        turns.pop(turn, None)

    def _pass_on(self) -> None:
        """Whoever leaves wakes the next one if there may be something for it."""
        if self.takers._turns and (self.answers or self.over()):
            self.takers.wake_one()

    def __repr__(self) -> str:
        return f"a result of {self._group!r}"


class IMapUnordered(Iterator[Any]):
    """The results of `Group.imap_unordered`."""

    __slots__ = ("__weakref__", "_feed", "_feeder")

    _in_order = False

    def __init__(
        self,
        group: "Group",
        function: Callable[..., Any],
        items: Iterator[tuple[Any, ...]],
        maxsize: int | None,
    ) -> None:
        if maxsize is not None and maxsize < 1:
            raise ValueError(f"imap: maxsize must be 1 or more, or None, but is {maxsize}")
        if not callable(function):
            raise TypeError(f"imap: the first argument must be callable, not {function!r}")
        self._feed = feed = _Feed(group, maxsize, self._in_order)
        self._feeder = feeder = Greenlet(feed.run, function, items)
        group._feeders.add(feeder)
        feeder.rawlink(feed.finish)
        feeder.rawlink(group._feeders.discard)
        feeder.start()
        # Whoever asks for the results has spawned what works on them.
        feed.site = feeder._site

    def __iter__(self) -> "IMapUnordered":
        return self

    def __next__(self) -> Any:
        """The next result.

        Raises: what the function raised for that item; what the input raised, after the results of
            what was taken from it before.
        """
        feed = self._feed
        answer = feed.take()
        if answer is None:
            error, feed.error = feed.error, None
            raise StopIteration if error is None else error
        if feed.room is not None:
            feed.room.release()
        return answer.get()

    def __del__(self) -> None:
        feed = getattr(self, "_feed", None)
        if feed is None:
            return  # __init__ has raised
        feed.dropped = True
        if feed.room is not None:
            self._feeder.kill()  # nobody will make room again
        for answer in [*feed.answers, *feed.begun]:
            answer.forget()


class IMap(IMapUnordered):
    """The results of `Group.imap`."""

    __slots__ = ()

    _in_order = True
