"""`Group`: greenlets that are waited for, and killed, together.

Rule: a member leaves the group exactly once, by the one atomic step that takes it out of the set: at its
end (a link) or by `Group.discard`. A place in a `graftlet.pool.Pool` is given back by the same step.

Whoever asks for a call's outcome (`map`, `apply`, `imap`) gets its exception; it is then not printed
as unhandled (see `Answer`).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from graftlet.core._current import get_hub
from graftlet.core._errors import GreenletExit, Thrown, exception_from
from graftlet.core._greenlet import Greenlet
from graftlet.core._links import Link
from graftlet.core._waitqueue import Turn, WaitQueue, deadline_after
from graftlet.sync._answer import Answer
from graftlet.sync._imap import IMap, IMapUnordered
from graftlet.sync._semaphore import Semaphore

Function = Callable[..., Any]
Arguments = Iterable[Any]


class Group:
    """Greenlets that belong together.

    Args:
        greenlets: the first members.

    A greenlet that has ended is no member any more.
    """

    __slots__ = ("__weakref__", "_dying", "_emptied", "_end", "_feeders", "_members", "_places")

    #: What `spawn` makes; must be a subclass of `Greenlet`.
    greenlet_class: ClassVar[type[Greenlet]] = Greenlet

    def __init__(self, greenlets: Iterable[Greenlet] = ()) -> None:
        # Both are sets, really. But only a dict has a single step that adds and says whether it did.
        self._members: dict[Greenlet, object] = {}
        #: The members that have been killed and have not ended yet.
        self._dying: dict[Greenlet, object] = {}
        #: A token for each free place; None: there are as many as needed.
        self._places: Semaphore | None = None
        self._emptied = WaitQueue()
        self._end = Link(self._discard)
        self._feeders: set[Greenlet] = set()
        for greenlet in greenlets:
            self.add(greenlet)

    def __repr__(self) -> str:
        kind = type(self)
        return f"<graftlet.pool.{kind.__name__} at {id(self):#x}: {len(self)} greenlets>"

    # -- Members

    @property
    def greenlets(self) -> set[Greenlet]:
        """The members of now."""
        return set(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __bool__(self) -> bool:
        return True  # it is a group, also if it is empty

    def __contains__(self, greenlet: object) -> bool:
        return greenlet in self._members

    def __iter__(self) -> Iterator[Greenlet]:
        return iter(list(self._members))

    def add(self, greenlet: Greenlet) -> None:
        """Make ``greenlet``, started or not, a member; waits while a pool is full."""
        if greenlet in self._members or greenlet.ready():
            return
        places = self._places
        mine = object()
        if places is not None:
            places.acquire()
        try:
            is_new = self._members.setdefault(greenlet, mine) is mine
            if is_new:
                greenlet.rawlink(self._discard)
        except BaseException:
            if self._members.get(greenlet) is mine:
                self.discard(greenlet)
            elif places is not None:
                places.release()
            raise
        if not is_new and places is not None:  # somebody else was faster
            places.release()
        if greenlet.ready():  # it has ended while there was no room
            self._discard(greenlet)

    def discard(self, greenlet: Greenlet) -> None:
        """Let ``greenlet`` go, if it is a member; it runs on."""
        greenlet.unlink(self._discard)
        self._discard(greenlet)

    def _discard(self, greenlet: Greenlet) -> None:
        try:
            del self._members[greenlet]
        except KeyError:
            return
        if self._places is not None:
            self._places.release()
        if self._dying:
            self._dying.pop(greenlet, None)
        if not self._members and self._emptied._turns:
            self._emptied.wake_all()

    def _take_in(self, greenlet: Greenlet, block: bool = True) -> bool:
        """`start`, for one that nobody else knows yet; False if there is no room and it must not wait."""
        if self._places is not None and not self._places.acquire(block):
            return False
        try:
            self._members[greenlet] = None
            if greenlet._links is None:
                greenlet._links = [self._end]
            else:
                greenlet._links.insert(0, self._end)
            greenlet.start()
        except BaseException:
            self.discard(greenlet)
            raise
        return True

    # -- Room

    def full(self) -> bool:
        """Whether `spawn` would have to wait: never, in a mere group."""
        return self._places is not None and self._places.locked()

    def wait_available(self, timeout: float | None = None) -> bool:
        """Wait until there is room for one more greenlet. Somebody else may take it before you do.

        Args:
            timeout: how many seconds to wait at most; None waits for ever.

        Returns: whether there is room.
        """
        places = self._places
        return places is None or bool(places._tokens) or places._wait(timeout, keep=False)

    # -- Spawning

    def start(self, greenlet: Greenlet) -> None:
        """Make ``greenlet`` a member, and start it; waits while a pool is full."""
        self.add(greenlet)
        greenlet.start()

    def spawn(self, function: Function, /, *args: Any, **kwargs: Any) -> Greenlet:
        """As `graftlet.spawn`, as a member; waits while a pool is full."""
        greenlet = self.greenlet_class(function, *args, **kwargs)
        self._take_in(greenlet)
        return greenlet

    def spawn_link(self, function: Function, /, *args: Any, **kwargs: Any) -> Greenlet:
        """As `graftlet.spawn_link`, as a member; waits while a pool is full."""
        greenlet = self.greenlet_class(function, *args, **kwargs)
        greenlet.link()
        self._take_in(greenlet)
        return greenlet

    def spawn_link_value(self, function: Function, /, *args: Any, **kwargs: Any) -> Greenlet:
        """As `graftlet.spawn_link_value`, as a member; waits while a pool is full."""
        greenlet = self.greenlet_class(function, *args, **kwargs)
        greenlet.link_value()
        self._take_in(greenlet)
        return greenlet

    def spawn_link_exception(self, function: Function, /, *args: Any, **kwargs: Any) -> Greenlet:
        """As `graftlet.spawn_link_exception`, as a member; waits while a pool is full."""
        greenlet = self.greenlet_class(function, *args, **kwargs)
        greenlet.link_exception()
        self._take_in(greenlet)
        return greenlet

    # -- Waiting

    def join(self, timeout: float | None = None, raise_error: bool = False) -> bool:
        """Wait until no member is left.

        Args:
            timeout: how many seconds to wait at most; None waits for ever.
            raise_error: raise the exception of a member of now that has failed by then.

        Returns: whether the group is empty.
        """
        members = list(self._members) if raise_error else []
        self._join(deadline_after(timeout))
        for greenlet in members:
            if greenlet.exception is not None:
                greenlet.get()
        return not self._members

    def _join(self, deadline: float) -> None:
        emptied = self._emptied
        turn = Turn(self)
        try:
            emptied._turns[turn] = None
            while self._members:
                if turn.notified:
                    emptied.enter_again(turn)
                elif not turn.park(deadline):
                    return
        finally:
            emptied._turns.pop(turn, None)

    # -- Killing

    def kill(
        self,
        exception: Thrown = GreenletExit,
        block: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Kill all members, and those that are added while this waits.

        Args:
            exception: what to raise in each, a class or an instance.
            block: whether to wait until the group is empty.
            timeout: how many seconds to wait at most; None waits for ever.

        Raises:
            TypeError: ``exception`` is no exception.
        """
        exception_from(exception)
        deadline = deadline_after(timeout)
        for feeder in list(self._feeders):
            feeder.kill()
        current = get_hub().current
        while members := list(self._members):
            for greenlet in members:
                if greenlet is not current:
                    self._kill(greenlet, exception)
            if current in members:  # last, or the others would live on
                assert isinstance(current, Greenlet)
                self._kill(current, exception)
            if not block:
                return
            for greenlet in members:
                if not greenlet.join_until(deadline):
                    return
                self._discard(greenlet)  # another thread may not have told us yet

    def killone(
        self,
        greenlet: Greenlet,
        exception: Thrown = GreenletExit,
        block: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Kill ``greenlet``, if it is a member and has not been killed already.

        Args:
            exception: what to raise in it, a class or an instance.
            block: whether to wait until it has ended.
            timeout: how many seconds to wait at most; None waits for ever.

        Raises:
            TypeError: ``exception`` is no exception.
        """
        exception_from(exception)
        if greenlet in self._members:
            self._kill(greenlet, exception)
            if block:
                greenlet.join(timeout)

    def _kill(self, greenlet: Greenlet, exception: Thrown) -> None:
        """Once each: a second kill would interrupt what the first one has it clean up."""
        mine = object()
        if self._dying.setdefault(greenlet, mine) is mine:
            greenlet.kill(exception)
            if greenlet not in self._members:  # it had not begun, or runs in another thread
                self._dying.pop(greenlet, None)

    # -- Calls

    def apply(
        self, function: Function, args: Arguments | None = None, kwds: dict[str, Any] | None = None
    ) -> Any:
        """Return ``function(*args, **kwds)``, called by a member (by this greenlet, if it is one)."""
        args = () if args is None else args
        kwds = {} if kwds is None else kwds
        if get_hub().current in self._members:
            return function(*args, **kwds)
        answer = Answer(function, *args, **kwds)
        try:
            self._take_in(answer)
            return answer.get()
        finally:
            answer.forget()

    def apply_cb(
        self,
        function: Function,
        args: Arguments | None = None,
        kwds: dict[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
    ) -> Any:
        """As `apply`; ``callback`` is called with the result before it is returned."""
        result = self.apply(function, args, kwds)
        if callback is not None:
            callback(result)
        return result

    def apply_async(
        self,
        function: Function,
        args: Arguments | None = None,
        kwds: dict[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
    ) -> Greenlet:
        """As `apply_cb` in a greenlet, which is returned. Never waits, not even for a full pool.

        ``callback`` must not block. It isn't called if ``function`` fails.
        """
        greenlet = self.greenlet_class(function, *(args or ()), **(kwds or {}))
        if callback is not None:
            greenlet.link_value(lambda ended: callback(ended.value))
        if not self._take_in(greenlet, block=False):
            greenlet = Greenlet(self.apply_cb, function, args, kwds, callback)
            greenlet.start()
        return greenlet

    def map(self, function: Function, iterable: Iterable[Any]) -> list[Any]:
        """Return the results of ``function`` for each item of ``iterable``, in that order.

        Raises: the exception of the first item, in that order, for which ``function`` fails.
        """
        answers: list[Answer] = []
        try:
            items = iter(iterable)
            while True:
                self.wait_available()
                try:
                    item = next(items)
                except StopIteration:
                    break
                answer = Answer(function, item)
                answers.append(answer)
                self._take_in(answer)
            return [answer.get() for answer in answers]
        finally:
            for answer in answers:
                answer.forget()

    def map_cb(
        self,
        function: Function,
        iterable: Iterable[Any],
        callback: Callable[[list[Any]], object] | None = None,
    ) -> list[Any]:
        """As `map`; ``callback`` is called with the results before they are returned."""
        results = self.map(function, iterable)
        if callback is not None:
            callback(results)
        return results

    def map_async(
        self,
        function: Function,
        iterable: Iterable[Any],
        callback: Callable[[list[Any]], object] | None = None,
    ) -> Greenlet:
        """As `map_cb` in a greenlet (no member), which is returned."""
        greenlet = Greenlet(self.map_cb, function, iterable, callback)
        greenlet.start()
        return greenlet

    def imap(
        self, function: Function, *iterables: Iterable[Any], maxsize: int | None = None
    ) -> Iterator[Any]:
        """Iterate over the results of ``function`` for the items of ``iterables``, in that order.

        An item is taken out of ``iterables`` only when there is room for a greenlet that works on it.

        Args:
            function: called with one item of each of ``iterables``.
            maxsize: how many items may be in work, or done but not taken out of the iterator.

        If ``function`` fails for an item, its exception is raised in place of the result.
        """
        return IMap(self, function, zip(*iterables, strict=False), maxsize)

    def imap_unordered(
        self, function: Function, *iterables: Iterable[Any], maxsize: int | None = None
    ) -> Iterator[Any]:
        """As `imap`, but the results come in the order in which they are ready."""
        return IMapUnordered(self, function, zip(*iterables, strict=False), maxsize)
