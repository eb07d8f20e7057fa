"""Readiness of file descriptors: one small interface, edge-triggered epoll first.

Rule: a `Watch` is what a hub knows of one descriptor; whoever waits puts itself into the watch,
calls ``arm`` unless the watch is armed, and parks. "Arm before parking" is the poller's business:

* `EpollPoller` registers a descriptor once, for reading and writing, edge-triggered, and leaves it
  there: no ``epoll_ctl`` per wait. That is correct because an operation is always tried until it
  would block before its greenlet parks (epoll(7), "edge-triggered"), or the wait begins with the
  registration, which reports the state at that moment.
* `LevelPoller` (``poll``, ``select``) has interest in a descriptor only while somebody waits for it.
  ``armed`` stays false, so every wait arms again. An interest that nobody has any more (time-out,
  kill) is withdrawn when it fires for the first time.

A watch found by a descriptor number may be stale (the number closed behind our back and used again):
every event is only a hint to try again, never a promise.
"""

import errno
import os
from typing import TYPE_CHECKING, Final, Optional, Protocol

from graftlet.core import _original

if TYPE_CHECKING:
    from graftlet.core._hub import Hub
    from graftlet.core._task import Task

# The same bits for epoll(7) and poll(2) on Linux, and those of poll(2) elsewhere.
IN: Final = 0x001
PRI: Final = 0x002
OUT: Final = 0x004
ERR: Final = 0x008
HUP: Final = 0x010
NVAL: Final = 0x020
RDHUP: Final = 0x2000
EDGE: Final = 1 << 31

READING: Final = IN | PRI | ERR | HUP | NVAL | RDHUP
WRITING: Final = OUT | ERR | HUP | NVAL
#: After one of these an event is no proof that the buffer was empty before: urgent data and FIN may
#: come with data in one and the same edge.
DISTRUST: Final = PRI | ERR | HUP | NVAL | RDHUP


class Watch:
    """What a hub knows of one file descriptor, and who waits for it.

    ``edges`` counts the read events; an operation that found the kernel's buffer empty remembers
    the count in ``drained``: while both are equal there is nothing to read. A count instead of a
    flag, so that a native thread that reads the same socket can never overwrite a newer event.
    """

    __slots__ = (
        "armed",
        "closed",
        "distrust",
        "drained",
        "edges",
        "fd",
        "hub",
        "more",
        "reader",
        "writer",
    )

    fd: int
    #: The hub whose poller knows this descriptor; None before the first wait.
    hub: Optional["Hub"]
    armed: bool
    closed: bool
    distrust: bool
    edges: int
    drained: int
    # The greenlet that waits to read, to write. Nearly always there is at most one ...
    reader: Optional["Task"]
    writer: Optional["Task"]
    #: ... and here are the others, with True for those that wait to write.
    more: list[tuple["Task", bool]] | None

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.hub = None
        self.armed = False
        self.closed = False
        self.distrust = False
        self.edges = 0
        self.drained = -1
        self.reader = None
        self.writer = None
        self.more = None

    def __repr__(self) -> str:
        return f"file descriptor {self.fd}"

    def waits(self, writing: bool) -> bool:
        """Whether anybody waits to read (or to write)."""
        first = self.writer if writing else self.reader
        return first is not None or (
            self.more is not None and any(kind is writing for _, kind in self.more)
        )


class Poller(Protocol):
    """Waits for the readiness of descriptors."""

    @property
    def edge(self) -> bool:
        """Whether a watch stays armed once it has been armed."""

    def arm(self, watch: Watch) -> None:
        """Report events for those who wait in ``watch`` (OSError if the descriptor can't be polled)."""

    def arm_once(self, watch: Watch, events: int) -> None:
        """Report ``events`` of a descriptor, level-triggered, until it is disarmed.

        Only where ``edge`` is true. FileExistsError: this very descriptor is registered already.
        """

    def disarm(self, watch: Watch) -> None:
        """The descriptor is about to be closed: forget it."""

    def settle(self, watch: Watch) -> None:
        """Events were delivered: withdraw the interest that nobody has any more."""

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Pairs of descriptor and event bits, waiting ``timeout`` seconds (None: for ever)."""

    def wake(self) -> None:
        """Make a `poll` that another thread waits in (or the next one) return at once."""

    def close(self) -> None:
        """Give the descriptors back."""


#: The hub's own descriptors have numbers from here on, as bash's has: programs count on the lowest ones,
#: which they get, hand over (sd_listen_fds(3) begins with 3) and close in a loop.
HIGH: Final = 255


def _out_of_the_way(fd: int) -> int:
    """A duplicate of ``fd`` with a high number; or ``fd`` itself, if there can't be one."""
    import fcntl

    for lowest in (HIGH, 3):
        if fd >= lowest:
            break
        try:
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
        except OSError:
            pass  # setrlimit(2): no such number is to be had
    return fd


class _Bell:
    """A descriptor that another thread can make readable: eventfd(2), elsewhere a pipe."""

    __slots__ = ("_closed", "_open", "_ringing", "_write_fd", "fd")

    def __init__(self) -> None:
        self._closed = False
        #: One token for each `ring` under way, and one that says who closes the descriptors.
        self._ringing: list[None] = []
        self._open: list[None] = [None]
        if hasattr(os, "eventfd"):
            first = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.fd = self._write_fd = _out_of_the_way(first)
            if self.fd != first:
                _original.close(first)
        else:  # pragma: no cover - not Linux
            self.fd, self._write_fd = os.pipe()
            os.set_blocking(self.fd, False)
            os.set_blocking(self._write_fd, False)

    def ring(self) -> None:
        """Make it readable. After `close` this does nothing, whatever thread is how far in here.

        Invariant: no descriptor is closed while somebody may be about to write to it: its number may
        belong to another file by then. Whoever is last closes.
        """
        self._ringing.append(None)
        try:
            if not self._closed:
                _original.write(self._write_fd, b"\1\0\0\0\0\0\0\0")
        except BlockingIOError:
            pass  # full of rings: it is readable, which is all that is wanted
        finally:
            del self._ringing[-1]
            if self._closed:
                self.close()

    def hush(self) -> None:
        try:
            _original.read(self.fd, 4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        self._closed = True
        if self._ringing:
            return
        try:
            del self._open[-1]
        except IndexError:
            return
        _original.close(self.fd)
        if self._write_fd != self.fd:  # pragma: no cover - not Linux
            _original.close(self._write_fd)


class EpollPoller:
    """Linux: every descriptor registered once, edge-triggered, in both directions."""

    __slots__ = ("_bell", "_epoll", "poll", "wake")

    edge: Final = True
    _INTEREST: Final = IN | OUT | PRI | RDHUP | EDGE

    def __init__(self) -> None:
        assert _original.epoll is not None
        first = _original.epoll()
        fd = _out_of_the_way(first.fileno())
        self._epoll = first if fd == first.fileno() else _original.epoll.fromfd(fd)
        if self._epoll is not first:
            first.close()
        self._bell = _Bell()
        # Edge-triggered: each ring is one event, so the bell never needs to be hushed.
        self._epoll.register(self._bell.fd, IN | EDGE)
        self.wake = self._bell.ring
        self.poll = self._epoll.poll

    def arm(self, watch: Watch) -> None:
        self._epoll.register(watch.fd, self._INTEREST)
        watch.armed = True

    def arm_once(self, watch: Watch, events: int) -> None:
        self._epoll.register(watch.fd, events | RDHUP)
        watch.armed = True

    def disarm(self, watch: Watch) -> None:
        if watch.armed:
            watch.armed = False
            try:
                self._epoll.unregister(watch.fd)
            except OSError as error:
                # Closed behind our back: the kernel has forgotten it already.
                if error.errno not in (errno.EBADF, errno.ENOENT):
                    raise

    def settle(self, watch: Watch) -> None:
        pass

    def close(self) -> None:
        self._epoll.close()
        self._bell.close()


class LevelPoller:
    """Elsewhere (and for tests on Linux): ``poll`` or ``select``, with interest only while needed."""

    __slots__ = ("_bell", "_interest", "_poll", "wake")

    edge: Final = False

    def __init__(self, use_select: bool = False) -> None:
        self._bell = _Bell()
        self._interest: dict[int, int] = {self._bell.fd: IN}
        self._poll = None
        if not use_select and _original.poll is not None:
            self._poll = _original.poll()
            self._poll.register(self._bell.fd, IN)
        self.wake = self._bell.ring

    def arm(self, watch: Watch) -> None:
        interest = (IN | PRI if watch.waits(False) else 0) | (OUT if watch.waits(True) else 0)
        fd = watch.fd
        if self._interest.get(fd, 0) == interest:
            return
        if interest:
            os.fstat(fd)  # EBADF belongs to the greenlet that waits, not into the hub
            self._interest[fd] = interest
            if self._poll is not None:
                self._poll.register(fd, interest)
        else:
            self.disarm(watch)

    def disarm(self, watch: Watch) -> None:
        if self._interest.pop(watch.fd, None) is not None and self._poll is not None:
            self._poll.unregister(watch.fd)

    def settle(self, watch: Watch) -> None:
        try:
            self.arm(watch)
        except OSError:
            self.disarm(watch)  # closed by another thread: who waits finds out by itself

    def arm_once(self, watch: Watch, events: int) -> None:
        raise NotImplementedError("every wait of a LevelPoller is level-triggered: use arm")

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        events: list[tuple[int, int]]
        if self._poll is not None:
            # poll(2) takes milliseconds: rounded up, or the hub would spin through the last one.
            events = self._poll.poll(None if timeout is None else -int(-timeout * 1000 // 1))
        else:
            events = self._select(timeout)
        for fd, _ in events:
            if fd == self._bell.fd:
                self._bell.hush()
        return events

    def _select(self, timeout: float | None) -> list[tuple[int, int]]:
        wanted = list(self._interest.items())  # another thread may close, and disarm, meanwhile
        reading = [fd for fd, interest in wanted if interest & IN]
        writing = [fd for fd, interest in wanted if interest & OUT]
        try:
            readable, writable, urgent = _original.select(reading, writing, reading, timeout)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            return [(fd, NVAL) for fd, _ in wanted if not _is_open(fd)]
        events = dict.fromkeys(readable, IN)
        for fd in urgent:
            events[fd] = events.get(fd, 0) | PRI
        for fd in writable:
            events[fd] = events.get(fd, 0) | OUT
        return list(events.items())

    def close(self) -> None:
        self._bell.close()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def default_poller() -> Poller:
    """The best poller of this platform, or the one that ``GRAFTLET_POLLER`` names.

    Raises:
        ValueError: the variable names a poller that does not exist here.
    """
    wanted = os.environ.get("GRAFTLET_POLLER") or "epoll,poll,select"
    for name in wanted.split(","):
        if name == "epoll" and _original.epoll is not None:
            return EpollPoller()
        if name == "poll" and _original.poll is not None:
            return LevelPoller()
        if name == "select":
            return LevelPoller(use_select=True)
    raise ValueError(
        f"GRAFTLET_POLLER={wanted!r}: no such poller here; use epoll, poll or select, "
        "or leave the variable unset"
    )
