"""What makes the signal by which threads that never wait take turns (`graftlet.core._preempt`).

Rule: whatever makes it, it is made every so many seconds, only to the main thread, and never again once
`stop` has returned: a signal whose handler is gone ends the process.

An interval timer of the kernel costs nothing, and stands still while the process sleeps. Where the program
has taken all that will do for itself, a native thread makes another signal.
"""

import _signal  # type: ignore[import-not-found] # typeshed has no stubs of it
from typing import Any, ClassVar, Final

from graftlet.core import _original, _signals
from graftlet.core._current import hub_or_none
from graftlet.core._hub import Hub
from graftlet.core._own_threads import own_threads, start_own_thread


class TimerBeat:
    """An interval timer, and its signal (setitimer(2))."""

    __slots__ = ("signal", "timer")

    #: Of the process's CPU time. The kernel's clock ticks every 4 ms on many machines, and makes it that. A thread that has
    #: not waited lets others run at the second beat, so about as often as at CPython's switch interval, 5 ms. (With 5 ms for
    #: a beat it was every 20 ms, and where most of a thread's time is the kernel's every 60 to 200.)
    seconds: ClassVar[float] = 0.001

    def __init__(self, signal: int, timer: int) -> None:
        self.signal = signal
        self.timer: int | None = timer

    def is_free(self) -> bool:
        """Whether the program does not use the timer."""
        return bool(_signals.get_timer(self.timer) == (0.0, 0.0))

    def start(self, seconds: float) -> None:
        """Make the signal every ``seconds`` of the process's CPU time."""
        _signals.set_timer(self.timer, seconds, seconds)

    def stop(self) -> None:
        """Make it no more."""
        _signals.set_timer(self.timer, 0)


class ThreadBeat:
    """A native thread that makes a signal which nobody else uses, while the hub does not sleep."""

    __slots__ = ("_guard", "_running", "signal", "timer")

    #: Of real time. It takes the GIL each time.
    seconds: ClassVar[float] = 0.005

    def __init__(self, signal: int) -> None:
        self.signal = signal
        self.timer: int | None = None
        self._guard = _original.allocate_lock()
        #: Unique to each start: a thread that finds another one here ends.
        self._running: object = None

    def is_free(self) -> bool:
        """It always is."""
        return True

    def start(self, seconds: float) -> None:
        """Make the signal every ``seconds``. Only from the main thread, which gets it."""
        # In the child of a fork the lock may be held by a thread that is not there.
        self._guard = _original.allocate_lock()
        self._running = running = object()
        arguments = (running, _original.get_ident(), hub_or_none(), seconds)
        start_own_thread(self._run, *arguments)

    def stop(self) -> None:
        """Make it no more."""
        with self._guard:
            self._running = None

    def _run(self, running: object, main: int, hub: Hub | None, seconds: float) -> None:
        """In the native thread."""
        _signals.take_none()
        me = _original.get_ident()
        own_threads.add(me)
        while True:
            _original.sleep(seconds)
            with self._guard:
                if self._running is not running:
                    break
                if hub is None or not hub.asleep:
                    _signal.pthread_kill(main, self.signal)
        own_threads.discard(me)


def _beats() -> tuple["TimerBeat | ThreadBeat", ...]:
    found: list[Any] = []
    if hasattr(_signal, "setitimer"):
        found.append(TimerBeat(_signal.SIGVTALRM, _signal.ITIMER_VIRTUAL))
        found.append(TimerBeat(_signal.SIGPROF, _signal.ITIMER_PROF))
    if hasattr(_signal, "SIGRTMAX") and hasattr(_signal, "pthread_kill"):
        # signal(7): no real-time signal means anything; programs take the lowest, C libraries the first two.
        found.append(ThreadBeat(_signal.SIGRTMAX - 1))
    return tuple(found)


#: The best first. None where the platform has no such thing: there nobody is preempted.
BEATS: Final = _beats()
