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

    __slots__ = ("__weakref__", "_emptied", "_end", "_feeders", "_places", "dying", "greenlets")

    #: What `spawn` makes; must be a subclass of `Greenlet`.
    greenlet_class: ClassVar[type[Greenlet]] = Greenlet

    def __init__(self, greenlets: Iterable[Greenlet] = ()) -> None:
        #: The members.
        self.greenlets: set[Greenlet] = set()
        #: Those that have been killed and have not ended yet.
        self.dying: set[Greenlet] = set()
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

    def __len__(self) -> int:
        return len(self.greenlets)

    def __bool__(self) -> bool:
        return True  # it is a group, also if it is empty

    def __contains__(self, greenlet: object) -> bool:
        return greenlet in self.greenlets

    def __iter__(self) -> Iterator[Greenlet]:
        return iter(list(self.greenlets))

    def add(self, greenlet: Greenlet) -> None:
        """Make ``greenlet``, started or not, a member; waits while a pool is full."""
        members = self.greenlets
        if greenlet in members or greenlet.ready():
            return
        places = self._places
        if places is not None:
            places.acquire()
            if greenlet in members:  # somebody else was faster
                places.release()
                return
        try:
            members.add(greenlet)
            greenlet.rawlink(self._discard)
        except BaseException:
            self.discard(greenlet)
            raise
        if greenlet.ready():  # while it waited for room
            self._discard(greenlet)

    def discard(self, greenlet: Greenlet) -> None:
        """Let ``greenlet`` go, if it is a member; it runs on."""
        greenlet.unlink(self._discard)
        self._discard(greenlet)

    def _discard(self, greenlet: Greenlet) -> None:
        try:
            self.greenlets.remove(greenlet)
        except KeyError:
            return
        if self.dying:
            self.dying.discard(greenlet)
        if self._places is not None:
            self._places.release()
        if not self.greenlets and self._emptied._turns:
            self._emptied.wake_all()

    def _admit(self, greenlet: Greenlet) -> None:
        """`add`, for one that nobody else knows yet."""
        if self._places is not None:
            self._places.acquire()
        self._enrol(greenlet)

    def _enrol(self, greenlet: Greenlet) -> None:
        """The place is taken."""
        try:
            if greenlet._links is None:
                greenlet._links = [self._end]
            else:
                greenlet._links.insert(0, self._end)
            self.greenlets.add(greenlet)
        except BaseException:
            self.greenlets.add(greenlet)
            self.discard(greenlet)
            raise

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
        if places is None or places._tokens:
            return True
        if not places.acquire(timeout=timeout):
            return False
        places.release()
        return True

    # -- Spawning

    def start(self, greenlet: Greenlet) -> None:
        """Make ``greenlet`` a member, and start it; waits while a pool is full."""
        self.add(greenlet)
        greenlet.start()

    def spawn(self, function: Function, /, *args: Any, **kwargs: Any) -> Greenlet:
        """As `graftlet.spawn`, as a member; waits while a pool is full."""
        greenlet = self.greenlet_class(function, *args, **kwargs)
        self._admit(greenlet)
        greenlet.start()
        return greenlet

    def spawn_link(self, function: Function, /, *args: Any, **kwargs: Any) -> Greenlet:
        """As `graftlet.spawn_link`, as a member; waits while a pool is full."""
        greenlet = self.greenlet_class(function, *args, **kwargs)
        self._admit(greenlet)
        greenlet.link()
        greenlet.start()
        return greenlet

    def spawn_link_value(self, function: Function, /, *args: Any, **kwargs: Any) -> Greenlet:
        """As `graftlet.spawn_link_value`, as a member; waits while a pool is full."""
        greenlet = self.greenlet_class(function, *args, **kwargs)
        self._admit(greenlet)
        greenlet.link_value()
        greenlet.start()
        return greenlet

    def spawn_link_exception(self, function: Function, /, *args: Any, **kwargs: Any) -> Greenlet:
        """As `graftlet.spawn_link_exception`, as a member; waits while a pool is full."""
        greenlet = self.greenlet_class(function, *args, **kwargs)
        self._admit(greenlet)
        greenlet.link_exception()
        greenlet.start()
        return greenlet

    def _ask(self, function: Function, args: Arguments, kwargs: dict[str, Any]) -> Answer:
        """Spawn a call whose outcome the caller takes."""
        answer = Answer(function, *args, **kwargs)
        self._admit(answer)
        answer.start()
        return answer

    # -- Waiting

    def join(self, timeout: float | None = None, raise_error: bool = False) -> bool:
        """Wait until no member is left.

        Args:
            timeout: how many seconds to wait at most; None waits for ever.
            raise_error: raise the exception of a member of now that has failed by then.

        Returns: whether the group is empty.
        """
        members = list(self.greenlets) if raise_error else []
        self._join(deadline_after(timeout))
        for greenlet in members:
            if greenlet.exception is not None:
                greenlet.get()
        return not self.greenlets

    def _join(self, deadline: float) -> None:
        emptied = self._emptied
        turn = Turn(self)
        try:
            emptied._turns[turn] = None
            while self.greenlets:
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
        while members := list(self.greenlets):
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
        if greenlet in self.greenlets:
            self._kill(greenlet, exception)
            if block:
                greenlet.join(timeout)

    def _kill(self, greenlet: Greenlet, exception: Thrown) -> None:
        """Once each: a second kill would interrupt what the first one has it clean up."""
        if greenlet not in self.dying:
            self.dying.add(greenlet)
            greenlet.kill(exception)
            if greenlet not in self.greenlets:  # it had not begun, or runs in another thread
                self.dying.discard(greenlet)

    # -- Calls

    def apply(
        self, function: Function, args: Arguments | None = None, kwds: dict[str, Any] | None = None
    ) -> Any:
        """Return ``function(*args, **kwds)``, called by a member (by this greenlet, if it is one)."""
        args = () if args is None else args
        kwds = {} if kwds is None else kwds
        if get_hub().current in self.greenlets:
            return function(*args, **kwds)
        answer = self._ask(function, args, kwds)
        try:
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
        if self._places is None or self._places.acquire(False):
            self._enrol(greenlet)
            if callback is not None:
                greenlet.link_value(lambda ended: callback(ended.value))
        else:
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
                answers.append(self._ask(function, (item,), {}))
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
    ) -> IMap:
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
    ) -> IMapUnordered:
        """As `imap`, but the results come in the order in which they are ready."""
        return IMapUnordered(self, function, zip(*iterables, strict=False), maxsize)
