"""``select.select``, ``poll`` and ``epoll``, cooperative.

Rule: each stays what it is, a real one, and is asked for its state without waiting (which also checks
the arguments, with CPython's own errors). Only if nothing is ready does the greenlet wait, and for one
descriptor only: the user's own epoll, or one that is made for this call and watches all that the call
names. When that is ready, the real one is asked again.

Whoever finds something ready at once lets the others run all the same: he may ask again and again until
another thread has done its part (multiprocessing.pool's ``_handle_workers`` does).
"""

import select as _select
from typing import Any, Final, cast

from graftlet.core import _original
from graftlet.core._current import blocking_hub
from graftlet.core._deadlines import INFINITY
from graftlet.core._hub import Hub
from graftlet.core._waiting import sleep_until
from graftlet.io._builtin import Functions
from graftlet.io._offload import offload
from graftlet.io._time import LONGEST_SLEEP
from graftlet.io._wait import NEWS, READ, URGENT, WRITE, Readiness, wait_descriptor


class SelectFunctions(Functions):
    """What takes the place of functions of module ``select``."""

    __slots__ = ()

    def select(self, rlist: Any, wlist: Any, xlist: Any, timeout: Any = None, /) -> Any:
        """As ``select.select``; other greenlets run meanwhile."""
        hub = blocking_hub()
        if hub is None or (timeout is not None and not 0 < timeout <= LONGEST_SLEEP):
            return _original.select(rlist, wlist, xlist, timeout)  # checks the arguments
        # Iterators must serve every try; a list is passed on as it is, for the objects' own
        # ``fileno`` may change it meanwhile.
        wanted: tuple[Any, Any, Any] = (_reusable(rlist), _reusable(wlist), _reusable(xlist))
        ready = _original.select(*wanted, 0.0)
        if any(ready):
            hub.yield_now()
            return ready
        deadline = INFINITY if timeout is None else hub.clock() + timeout
        events: dict[int, int] = {}
        for objects, event in zip(wanted, (READ, WRITE, URGENT), strict=True):
            for each in objects:
                fd = each if isinstance(each, int) else each.fileno()
                events[fd] = events.get(fd, 0) | event
        if not events:
            sleep_until(hub, deadline)
            return [], [], []
        if not Readiness.exists:
            # Only Linux can watch descriptors by a descriptor: elsewhere a native thread does.
            left = None if deadline == INFINITY else max(0, deadline - hub.clock())
            return offload(_original.select, *wanted, left)
        with Readiness() as readiness:
            # Edge-triggered, for epoll reports hang-ups that select(2) does not count as ready.
            for fd, event in events.items():
                readiness.add(fd, event | NEWS)
            while wait_descriptor(hub, readiness.fileno(), READ, deadline):
                readiness.settle()
                ready = _original.select(*wanted, 0.0)
                if any(ready):
                    return ready
        return [], [], []

    def poll(self) -> "Poll":
        """As ``select.poll``."""
        return Poll._made()


def _reusable(objects: Any) -> Any:
    return objects if isinstance(objects, (list, tuple)) else list(objects)


def wait_for_any(hub: Hub, events: dict[int, int], deadline: float) -> bool:
    """Park until one of several descriptors is ready; False if the deadline passed first.

    Args:
        events: for each descriptor what is waited for.
    """
    if not events:
        sleep_until(hub, deadline)
        return False
    if not Readiness.exists:
        # Only Linux can watch descriptors by a descriptor: elsewhere a native thread does.
        left = None if deadline == INFINITY else max(0, deadline - hub.clock())
        lists = [[fd for fd in events if events[fd] & bit] for bit in (READ, WRITE, URGENT)]
        return any(offload(_original.select, *lists, left))
    with Readiness() as readiness:
        for fd, wanted in events.items():
            if not readiness.add(fd, wanted):
                return True
        return wait_descriptor(hub, readiness.fileno(), READ, deadline)


class Poll:
    """As the object that ``select.poll()`` returns."""

    __slots__ = ("__weakref__", "_events", "_poll", "_polling")

    _poll: Any
    #: None: nobody knows, for it was made before patching.
    _events: dict[int, int] | None
    _polling: bool

    def __new__(cls) -> "Poll":
        """Refused, as by the C type: only ``select.poll()`` makes one."""
        raise TypeError(f"cannot create '{cls.__module__}.{cls.__qualname__}' instances")

    @classmethod
    def _made(cls) -> "Poll":
        assert _original.poll is not None
        self = object.__new__(cls)
        self._poll = _original.poll()
        self._events = {}
        self._polling = False
        return self

    @classmethod
    def of(cls, real: Any) -> "Poll":
        """A cooperative one that works on ``real``, a ``select.poll`` object."""
        self = cls._made()
        self._poll = real
        self._events = None
        return self

    def give_back(self, native: Any) -> bool:
        """Undo `of`."""
        return native is self._poll

    def register(
        self, fd: Any, eventmask: int = _select.POLLIN | _select.POLLPRI | _select.POLLOUT, /
    ) -> None:
        """Watch a descriptor for ``eventmask``."""
        self._poll.register(fd, eventmask)
        if self._events is not None:
            self._events[_number(fd)] = eventmask

    def modify(self, fd: Any, eventmask: int, /) -> None:
        """Change what a registered descriptor is watched for."""
        self._poll.modify(fd, eventmask)
        if self._events is not None:
            self._events[_number(fd)] = eventmask

    def unregister(self, fd: Any, /) -> None:
        """Watch a descriptor no more."""
        self._poll.unregister(fd)
        if self._events is not None:
            self._events.pop(_number(fd), None)

    def poll(self, timeout: Any = None, /) -> list[tuple[int, int]]:
        """Pairs of descriptor and events, waiting ``timeout`` milliseconds (None, negative: for ever)."""
        hub = blocking_hub()
        if hub is None or timeout == 0 or not _is_duration(timeout, _LONGEST_POLL):
            return cast("list[tuple[int, int]]", self._poll.poll(timeout))  # checks the argument
        if self._polling:
            raise RuntimeError("concurrent poll() invocation")
        ready: list[tuple[int, int]] = self._poll.poll(0)
        if ready:
            hub.yield_now()
            return ready
        self._polling = True
        try:
            return self._wait(hub, timeout)
        finally:
            self._polling = False

    def _wait(self, hub: Hub, timeout: float | None) -> list[tuple[int, int]]:
        if self._events is None:
            return cast("list[tuple[int, int]]", offload(self._poll.poll, timeout))
        ready: list[tuple[int, int]] = []
        deadline = INFINITY
        if timeout is not None and timeout >= 0:
            deadline = hub.clock() + timeout / 1000
        while not ready and wait_for_any(hub, self._events, deadline):
            ready = self._poll.poll(0)
        return ready


def _is_duration(timeout: object, longest: float) -> bool:
    return timeout is None or (isinstance(timeout, (int, float)) and -longest <= timeout <= longest)


#: Milliseconds in an int of C: poll(2), and epoll_wait(2) in seconds.
_LONGEST_POLL: Final = 2**31 - 1
_LONGEST_EPOLL: Final = _LONGEST_POLL / 1000


def _number(fd: Any) -> int:
    return fd if isinstance(fd, int) else cast("int", fd.fileno())


class epoll:  # noqa: N801 - the name that select.epoll has
    """As ``select.epoll``: a real one, whose `poll` lets other greenlets run."""

    __slots__ = (
        "__weakref__",
        "_at_once",
        "_epoll",
        "close",
        "fileno",
        "modify",
        "register",
        "unregister",
    )

    #: Whether the last call of `poll` found something ready without waiting.
    _at_once: bool

    def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
        assert _original.epoll is not None
        self._adopt(_original.epoll(sizehint, flags))

    def _adopt(self, real: Any) -> None:
        self._at_once = False
        self._epoll = real
        self.register = real.register
        self.modify = real.modify
        self.unregister = real.unregister
        self.fileno = real.fileno
        self.close = real.close

    @classmethod
    def fromfd(cls, fd: int, /) -> "epoll":
        """An epoll object of a descriptor that is one already."""
        assert _original.epoll is not None
        return cls.of(_original.epoll.fromfd(fd))

    @classmethod
    def of(cls, real: Any) -> "epoll":
        """A cooperative one with the descriptor, and the life, of a ``select.epoll``."""
        self = cls.__new__(cls)
        self._adopt(real)
        return self

    def give_back(self, native: Any) -> bool:
        """Undo `of`."""
        return native is self._epoll

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return bool(self._epoll.closed)

    def __enter__(self) -> "epoll":
        self._epoll.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._epoll.__exit__(*exc_info)

    def poll(self, timeout: Any = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """Pairs of descriptor and events, waiting ``timeout`` seconds (None, negative: for ever)."""
        hub = blocking_hub()
        if hub is None or timeout == 0 or not _is_duration(timeout, _LONGEST_EPOLL):
            return cast("list[tuple[int, int]]", self._epoll.poll(timeout, maxevents))
        if self._at_once:
            # Before asking, not after: edges that have been told must not be lost by a kill.
            self._at_once = False
            hub.yield_now()
        ready: list[tuple[int, int]] = self._epoll.poll(0, maxevents)
        if ready:
            self._at_once = True
            return ready
        deadline = INFINITY if timeout is None or timeout < 0 else hub.clock() + timeout
        while not ready and wait_descriptor(hub, self._epoll.fileno(), READ, deadline):
            ready = self._epoll.poll(0, maxevents)
        return ready


functions: Final = SelectFunctions()
