"""Threads that never wait take turns, as they do under CPython.

A legacy thread may spin: ``while not done: ...`` without a call that waits. With real threads the interpreter
takes the GIL away from it every 5 ms; a greenlet would keep all others from running for ever.

Rule: while the process burns CPU time the kernel sends SIGVTALRM at every tick of its clock (setitimer(2),
ITIMER_VIRTUAL: a process that sleeps gets none, and no native thread is needed). If the hub has not come
round between two of these signals, the handler, which CPython calls between two bytecodes of the greenlet
that spins, lets everybody else run first, a mere `Hub.yield_now`. So

* only threads are preempted (and main, which is one): who spawned greenlets counts on theirs to run until
  they wait;
* never inside graftlet's own functions, or in between: they count on that, too. The frames tell;
* never inside a function written in C, many of which look for signals, too: a ``BufferedWriter`` that writes does, and takes
  all greenlets of a native thread for one, which must not come back while it is at it. The instruction tells: only
  at a jump back, and where a function or a generator begins, is nothing of C on top of the frame;
* never while a module lock is taken: importlib guards its table by a lock of the native thread.

Where it is one of those functions that the signal has interrupted, it will return soon: CPython is asked to call the
handler once more, until it has.

The signal and its timer are given up as soon as the program wants them for itself; then the next of
`graftlet.core._beats` does the same work.
"""

import _signal  # type: ignore[import-not-found] # typeshed has no stubs of it
import atexit
import os
from types import CodeType, FrameType
from typing import Final

from graftlet.core import _signals
from graftlet.core._beats import BEATS
from graftlet.core._current import hub_or_none, in_main_thread
from graftlet.core._hub import Hub
from graftlet.core._task import Task
from graftlet.core._worker import Worker

#: So often is CPython asked to call again because a signal came in within a function of graftlet's, or of C's. (Where a
#: program has C call them in a loop, none would ever be outside.)
MOST_REPEATS: Final = 20


def _loops(value: object) -> None:
    """Every kind of loop. Never called: it is there for its instructions, none of which calls a function of C's."""
    while value:
        pass
    while not value:
        pass
    while value is None:
        pass
    while value is not None:
        pass
    while True:
        pass


#: The numbers of the instructions at which CPython looks for signals while nothing of C is under way, and of some at which
#: it does not. (Module ``opcode`` would know, but may be the program's own, or not to be opened for want of a descriptor.)
_between: Final = frozenset(_loops.__code__.co_code[::2])

#: The functions of graftlet that a thread's own code is called by, and that don't mind.
bases: Final[set[CodeType]] = {Worker._work.__code__}


class Preempter(_signals.OwnHandler):
    """The handler of the signal; what knows whether the timer runs."""

    __slots__ = ("_postponed", "_repeats", "_way", "allowed", "held", "process")

    def __init__(self) -> None:
        #: The process whose timer runs: a child has none of its own (fork(2)). 0: none runs.
        self.process = 0
        #: Which of `BEATS` is used: the first that the program has not taken for itself.
        self._way = 0
        #: Whether threads are greenlets here.
        self.allowed = False
        #: Whether every signal is written down for the program (``signal.set_wakeup_fd``): none for now.
        self.held = False
        #: The process in which the timer is wanted as soon as it is not held any more; 0: in none.
        self._postponed = 0
        #: How often this call of the handler is one that was asked for.
        self._repeats = 0

    def __repr__(self) -> str:
        return "<graftlet's preemption of threads that never wait>"

    @property
    def is_on(self) -> bool:
        """Whether the timer runs."""
        return self.process == os.getpid()

    def start(self) -> None:
        """There are threads now. Costs next to nothing if the timer runs already."""
        if self.allowed and not self.is_on and in_main_thread():
            if self.held:
                self._postponed = os.getpid()
            else:
                self._start()

    def hold(self, held: bool) -> None:
        """Make no signals while ``held``. Only from the main thread."""
        self.held = held
        if held:
            if self.is_on:
                self._postponed = os.getpid()
            self.stop()
        elif self._postponed == os.getpid():
            # Not in the child of a fork, which has no threads: it may be about to exec(3), and the timer
            # would kill the new program (``asyncio`` lets go of ``set_wakeup_fd`` in every child).
            self._postponed = 0
            self.start()

    def uses_timer(self, timer: int) -> bool:
        """Whether this timer runs, and is not the program's."""
        return self.is_on and BEATS[self._way].timer == timer

    def leave_to_program(self, *, signal: int | None = None, timer: int | None = None) -> None:
        """The program wants this signal or timer for itself. Only from the main thread."""
        if self._way == len(BEATS):
            return
        beat = BEATS[self._way]
        if signal == beat.signal or (timer is not None and timer == beat.timer):
            was_on = self.is_on
            self.stop()
            self._way += 1
            if was_on:
                self.start()

    def _start(self) -> None:
        while self._way < len(BEATS):
            beat = BEATS[self._way]
            installed = _signals.installed(beat.signal)
            free = installed is _signal.SIG_DFL or installed is self
            if free and beat.is_free():
                break
            self._way += 1  # the program's own
        else:
            return
        _signals.install(beat.signal, self)
        # signal(7): system calls that block are restarted, not interrupted.
        _signal.siginterrupt(beat.signal, False)
        self.process = os.getpid()
        beat.start(beat.seconds)

    def stop_timer(self) -> None:
        """Make no more signals."""
        if self.is_on:
            self.process = 0
            BEATS[self._way].stop()

    def end(self) -> None:
        """The interpreter is ending, and takes its handlers away: a signal on its way must not end the process."""
        self.stop_timer()
        for beat in BEATS:
            if _signals.installed(beat.signal) is self:
                _signals.install(beat.signal, _signal.SIG_IGN)

    def stop(self) -> None:
        """Give timer and signal back. Only from the main thread."""
        self.stop_timer()
        for beat in BEATS:
            if _signals.installed(beat.signal) is self:
                _signals.install(beat.signal, _signal.SIG_DFL)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        repeats, self._repeats = self._repeats, 0
        hub = hub_or_none()
        if hub is None or hub.asleep:
            return
        if hub.batch != hub.PREEMPTED:
            if not repeats:
                hub.batch = hub.PREEMPTED  # until the hub comes round
        elif _signals.is_own(frame) or not is_between(frame):
            if (
                repeats < MOST_REPEATS
                and self.is_on
                and _signals.can_repeat
                and hub.is_running(hub.current)
            ):
                self._repeats = repeats + 1
                _here = _signals.again(number)
        elif may_be_preempted(hub, hub.current, frame):
            hub.yield_now()


def is_between(frame: FrameType | None) -> bool:
    """Whether ``frame`` has just begun, or jumps back: it has called no C function that could be under way."""
    if frame is None:
        return False
    return frame.f_lasti < 0 or frame.f_code.co_code[frame.f_lasti] in _between


def may_be_preempted(hub: Hub, task: Task, frame: FrameType | None) -> bool:
    """Whether ``task``, which runs in ``frame``, can let others run here and now."""
    if not (task.is_thread or task is hub.main) or not hub.is_running(task):
        return False
    if task.waiting is not None or frame is None:
        return False
    if frame.f_globals.get("__name__") in ("importlib._bootstrap", "_frozen_importlib"):
        return False
    here: FrameType | None = frame
    while here is not None:
        if here.f_code not in bases and _signals.is_own(here):
            return False
        here = here.f_back
    return True


preempter: Final = Preempter()
# Py_FinalizeEx takes all handlers away, and the next signal would end the process. Registered now, it is called
# late: after those callbacks of the program that may start threads.
atexit.register(preempter.end)
