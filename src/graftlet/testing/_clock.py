"""A clock that stands still while anybody runs, and jumps when everybody waits.

Rule: the hub is not told. It runs on the clock and the poller that it is handed: `FakePoller` wraps the
real poller and, where that would wait for the next deadline, moves the clock there and returns. It
never jumps over what comes from outside: not while native calls are under way, not if another
thread has posted something, not if a descriptor has become ready.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from graftlet.core import _original
from graftlet.core._deadlines import INFINITY
from graftlet.core._hub import Hub
from graftlet.core._poller import Poller


class FakeClock:
    """A clock that jumps to the next deadline when every greenlet is parked.

    Args:
        start: the time at which it begins, seconds.
        patience: real seconds for whoever is at the other end of a descriptor that greenlets wait for.

    The clock does not jump before these have passed.
    Hand it to `fresh_hub`. What native threads do is invisible to it, unless they are at work for
    `graftlet.offload`: use `hold` around what they take part in.
    """

    def __init__(self, start: float = 0.0, *, patience: float = 0.01) -> None:
        if patience < 0:
            raise ValueError(f"FakeClock: patience must not be negative, but is {patience!r}")
        self.now = start
        self.patience = patience
        self._holds = 0

    def __call__(self) -> float:
        return self.now

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.now:g} s{', held' if self.held else ''}>"

    def advance(self, seconds: float) -> None:
        """Move the clock by hand; what is due then happens when the current greenlet next waits.

        Raises:
            ValueError: ``seconds`` is negative; a clock never goes back.
        """
        if not seconds >= 0:
            raise ValueError(f"FakeClock: time can't advance by {seconds!r} s")
        self.now += seconds

    @property
    def held(self) -> bool:
        """Whether somebody is inside of `hold`."""
        return self._holds > 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Within the ``with`` statement the clock doesn't jump: the hub really waits.

        For tests in which a native thread wakes somebody: whatever deadline is pending, the thread is in
        time. A deadline passes within the block only by `advance`.
        """
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1


class WrappedPoller:
    """A hub's real poller; subclasses change what a `poll` does."""

    def __init__(self, hub: Hub) -> None:
        real = hub.poller
        self._hub = hub
        self._real: Final[Poller] = real
        self.edge = real.edge
        self.arm = real.arm
        self.arm_once = real.arm_once
        self.disarm = real.disarm
        self.settle = real.settle
        self.wake = real.wake
        self.close = real.close

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Pairs of descriptor and event bits, as `Poller.poll` returns them."""
        return self._real.poll(timeout)


class FakePoller(WrappedPoller):
    """Jumps where the real poller would wait for a deadline."""

    def __init__(self, hub: Hub, clock: FakeClock) -> None:
        super().__init__(hub)
        self._clock = clock

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        real = self._real
        if timeout is None:
            return real.poll(None)
        events = real.poll(0)
        if events or timeout <= 0:
            return events
        hub = self._hub
        clock = self._clock
        deadline = hub.deadlines.earliest_wanted()
        if deadline == INFINITY:
            return real.poll(
                timeout
            )  # the hub looks again whether anybody is left: no deadline of a test's
        if hub.external or clock.held:
            return real.poll(None)
        if any(watch.waits(False) or watch.waits(True) for watch in hub.watches.values()):
            events = real.poll(clock.patience)
        # Whoever posts rings the bell, which is an event; unless he did it before ``asleep`` was set.
        if not events and not hub.inbox:
            clock.now = max(clock.now, deadline)
        return events


class WatchingPoller(WrappedPoller):
    """Notes the longest time for which one greenlet kept all others from running.

    Real time is meant, whatever the hub's clock is. Time in which nobody else was there to be kept from
    running doesn't count, nor does time in which the operating system ran some other process, nor that
    of the garbage collector, which works for everybody.
    """

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        #: Seconds.
        self.longest = 0.0
        #: Who ran last in that time, for people.
        self.culprit = ""
        self._before: _Usage | None = None
        self._others = False

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        if self._before is not None and (self._others or self._has_others()):
            self._note(self._before)
        events = self._real.poll(timeout)
        self._before = _Usage()
        self._others = self._has_others()
        return events

    def _has_others(self) -> bool:
        return any(worker.task is not None for worker in self._hub.workers)

    def _note(self, before: "_Usage") -> None:
        now = _Usage()
        blocked = (now.wall - before.wall) - (now.excused - before.excused)
        if blocked > self.longest:
            self.longest = blocked
            self.culprit = repr(self._hub.current)


class _Collector:
    """How long the garbage collector has run so far."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begun = 0.0

    def __call__(self, phase: str, _: object) -> None:
        now = _original.monotonic()
        if phase == "start":
            self._begun = now
        else:
            self.seconds += now - self._begun


_collector: Final = _Collector()


class _Usage:
    """Seconds of this thread's life: how many there were, and how many it is not answerable for.

    Linux tells for how long somebody else had the processor that it wanted (the kernel's
    ``sched-stats.rst``, "/proc/<pid>/schedstat"). Elsewhere only who computes is found.
    """

    __slots__ = ("excused", "wall")

    def __init__(self) -> None:
        if _collector not in gc.callbacks:
            gc.callbacks.append(_collector)
        self.wall = _original.monotonic()
        try:
            with open("/proc/thread-self/schedstat", "rb") as statistics:
                preempted = int(statistics.read().split()[1]) / 1e9
        except OSError:
            preempted = self.wall - time.thread_time()
        self.excused = preempted + _collector.seconds
