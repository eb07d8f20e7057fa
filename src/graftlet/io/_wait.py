"""Waiting until a descriptor is ready, for any kind of descriptor.

Rule: `wait_watch` is for descriptors whose life we know (our sockets): registered once, edge-triggered.
`wait_descriptor` is for all others: registered for this one wait, level-triggered, so that a number that
is closed and used again behind our back can never be confused with an older one.

Whoever waits here must have tried its operation, or asked for the state, before; and must try again
afterwards, for a wake is only a hint.
"""

import errno
import os
from typing import Final

from graftlet.core import _original
from graftlet.core._deadlines import INFINITY
from graftlet.core._hub import Hub
from graftlet.core._poller import EDGE, IN, OUT, PRI, Watch

#: What `wait_descriptor` may be asked for: the bits of epoll(7).
READ: Final = IN
WRITE: Final = OUT
URGENT: Final = PRI
#: Added to these, for `Readiness.add`: only what happens from now on.
NEWS: Final = EDGE


def closed_meanwhile() -> OSError:
    """What a thread gets whose descriptor was closed while it waited."""
    return OSError(errno.EBADF, os.strerror(errno.EBADF))


def wait_watch(hub: Hub, watch: Watch, writing: bool, deadline: float = INFINITY) -> bool:
    """Park until ``watch``, which belongs to ``hub``, reports an event.

    Returns: False if the deadline passed first.

    Raises: OSError: it was closed meanwhile (EBADF), or can't be polled.
    """
    if not watch.armed and not hub.poller.edge:
        # A level-triggered poller knows one watch for each number: two sockets with the same one share it.
        known = hub.watches.get(watch.fd)
        if known is not None and (known.waits(False) or known.waits(True)):
            watch = known
    task = hub.current
    if writing:
        if first := watch.writer is None:
            watch.writer = task
    elif first := watch.reader is None:
        watch.reader = task
    if not first:
        if watch.more is None:
            watch.more = []
        watch.more.append((task, writing))
    try:
        if not watch.armed:
            hub.poller.arm(watch)
            hub.watches[watch.fd] = watch
        woken = hub.park(watch, deadline)
    finally:
        if not first:
            assert watch.more is not None
            watch.more.remove((task, writing))
            if not watch.more:
                watch.more = None
        elif writing:
            watch.writer = None
        else:
            watch.reader = None
    if watch.closed:
        raise closed_meanwhile()
    return woken


def wait_descriptor(
    hub: Hub, fd: int, events: int, deadline: float = INFINITY, known: list[Watch] | None = None
) -> bool:
    """Park until descriptor ``fd`` has one of ``events`` (or an error or a hang-up).

    Args:
        known: has the watch in it as long as this lasts, for whoever knows when ``fd`` is closed.

    Returns: False if the deadline passed first. True at once for what is always ready (regular files).

    Raises: OSError: ``fd`` is no open descriptor, or was closed while waiting (EBADF).
    """
    if not hub.poller.edge:
        # Level-triggered anyway: all who wait for one descriptor share its watch.
        watch = hub.watches.get(fd)
        if watch is None or watch.closed:
            watch = Watch(fd)
            watch.hub = hub
        if known is not None:
            known.append(watch)
        try:
            return wait_watch(hub, watch, events == WRITE, deadline)
        finally:
            if known is not None:
                known.remove(watch)
            if type(watch) is Watch and not (watch.waits(False) or watch.waits(True)):
                hub.poller.disarm(watch)
                if hub.watches.get(fd) is watch:
                    del hub.watches[fd]
    watch = Watch(fd)
    watch.hub = hub
    try:
        hub.poller.arm_once(watch, events)
    except FileExistsError:
        # Registered already, edge-triggered or by somebody else who waits: ask an epoll of our own.
        with Readiness() as readiness:
            readiness.add(fd, events)
            return wait_descriptor(hub, readiness.fileno(), READ, deadline, known)
    except PermissionError:
        return True  # epoll_ctl(2), EPERM: a regular file or a directory
    before = hub.watches.get(fd)
    hub.watches[fd] = watch
    if known is not None:
        known.append(watch)
    try:
        return wait_watch(hub, watch, events == WRITE, deadline)
    finally:
        if known is not None:
            known.remove(watch)
        if hub.watches.get(fd) is watch:
            hub.poller.disarm(watch)
            if before is None:
                del hub.watches[fd]
            else:
                hub.watches[fd] = before


class Readiness:
    """An epoll of our own, level-triggered: ready to read when one of its descriptors is ready.

    It carries waits for many descriptors at once, and for one that the hub's own epoll knows already.
    Without epoll (not Linux) there is none: use ``Readiness.exists``.
    """

    __slots__ = ("_epoll",)

    exists: Final = _original.epoll is not None

    def __init__(self) -> None:
        assert _original.epoll is not None
        self._epoll = _original.epoll()

    def __enter__(self) -> "Readiness":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._epoll.close()

    def add(self, fd: int, events: int) -> bool:
        """False for what is always ready (regular files)."""
        try:
            self._epoll.register(fd, events)
        except PermissionError:
            return False
        return True

    def settle(self) -> None:
        """Be ready again only when something new happens to what was added with `NEWS`."""
        self._epoll.poll(0)

    def fileno(self) -> int:
        return int(self._epoll.fileno())
