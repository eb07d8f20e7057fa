"""What a hub knows, and what may be done to it from outside of its loop: wake, throw, post, forget.

Rule: nothing here gives up control. ``Task.waiting`` is what a task waits for while it is parked and ``None`` otherwise;
whoever sets it to ``None`` is the one who puts the task into the run queue. Everybody later finds ``None``, or another
wait's object, and does nothing.

`graftlet.core._hub` has the rest: the trap and the loop.
"""

import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from greenlet import getcurrent, greenlet

from graftlet.core import _original
from graftlet.core._deadlines import INFINITY, Deadlines
from graftlet.core._poller import DISTRUST, READING, WRITING, Poller, Watch, default_poller
from graftlet.core._task import Carried, Task, Timer, finishers_wait, idlers_wait

if TYPE_CHECKING:
    from random import Random

    from graftlet.core._worker import Worker


class HubState:
    """The state of a hub; see `graftlet.core._hub.Hub`.

    Invariant: no more than 29 attributes, which CPython finds without a look into a dict (``SHARED_KEYS_MAX_SIZE`` is
    30, and 3.11 keeps one free).
    """

    #: So many idle workers are kept, about 20 KiB each.
    MAX_IDLE: Final = 1000
    #: What ``batch`` is from one signal of `graftlet.core._preempt` on until the hub comes round. It ends the
    #: batch, and the rest of it will be part of the next one.
    PREEMPTED: Final = -1000

    #: Where the loop runs.
    raw: greenlet

    def __init__(
        self,
        main: Task,
        clock: Callable[[], float] = _original.monotonic,
        poller: Poller | None = None,
    ) -> None:
        self.clock = clock
        self.poller = default_poller() if poller is None else poller
        self.main = main
        self.current = main
        #: Invariant: a task is in here at most once.
        self.ready: deque[Task] = deque()
        #: How many of them still belong to the batch of this round; see `LAST`.
        self.batch = 0
        self.deadlines = Deadlines()
        self.watches: dict[int, Watch] = {}
        #: Calls that other threads have posted.
        self.inbox: deque[Callable[[], object]] = deque()
        self.asleep = False
        #: What will come from outside: calls under way in native threads, and a signal that is waited for.
        self.external = 0
        self.idle: list[Worker] = []
        self.workers: set[Worker] = set()
        #: Those who wait until nothing else is ready.
        self.idlers: list[Task] = []
        #: Those who wait until nothing else can run any more.
        self.finishers: list[Task] = []
        #: What the running task keeps in the thread's own state, nearly always nothing.
        #: Invariant: None whenever nobody runs.
        self.carried: Carried | None = None
        #: For tests: shuffles every batch.
        self.shuffle: Random | None = None
        #: Called on an exception that nobody asked for, with the task and the exception.
        self.on_unhandled: Callable[[Any, BaseException], object] | None = None
        #: Tells whether somebody outside may still wake this hub: None if a signal may, "" if another thread
        #: may, which can end; else who waits for what. Set by the floor that knows.
        self.on_stuck: Callable[[Any], str | None] | None = None
        self.thread = _original.get_ident()
        self.process = os.getpid()
        #: What ``get_ident`` is in the main greenlet.
        self.main_ident = self.thread
        self.closed = False
        #: Whether this is a child process's copy of its parent's hub.
        self.forked = False
        self._witness: Watch | None = None
        #: What `_look_in_place` has left to the hub: events, and the deadline (`INFINITY`: none) that it waited for.
        self.found: tuple[list[tuple[int, int]], float] | None = None
        #: While tasks are ready the descriptors, and deadlines, are looked at from this time on (monotonic seconds).
        self.poll_again = 0.0
        #: Whether a task may poll by itself, or go on at once if it only yields.
        self.in_place = True
        main.hub = self  # type: ignore[assignment] # of which there are none but hubs
        main.raw = getcurrent()

    def __repr__(self) -> str:
        return f"<Hub at {id(self):#x} of thread {self.thread}>"

    def ident_of(self, task: Task) -> int:
        """The thread ident of a task: unique among all that runs."""
        return self.main_ident if task is self.main else id(task)

    def is_running(self, task: Task) -> bool:
        """Whether ``task`` is the one that runs now: on the hub itself nobody does, nor while one parks."""
        return self.current is task and task.waiting is None and getcurrent() is not self.raw

    def drop_carried(self) -> None:
        """The running task has ended: what it has left in the thread's own state goes with it."""
        if self.carried is not None:
            self.carried.put_away()
            self.carried = None

    # -- Wakes

    def wake(self, task: Task, waiting: object) -> bool:
        """Make ``task`` ready if it is parked in this very wait; says whether it was.

        Only from this hub's own thread.
        """
        if task.waiting is waiting:
            task.waiting = None
            self.ready.append(task)
            return True
        return False

    def throw(self, task: Task, exception: BaseException) -> None:
        """Raise ``exception`` in ``task``, out of the wait that it is in or of its next one.

        Only from this hub's own thread.
        """
        self._interrupt(task, exception)

    def call_in(self, task: Task, call: Callable[[], object]) -> None:
        """Have ``call`` made in ``task``, in the wait that it is in or in its next one.

        Only from this hub's own thread.
        """
        self._interrupt(task, call)

    def _interrupt(self, task: Task, pending: BaseException | Callable[[], object]) -> None:
        if task.pending is None:
            task.pending = [pending]
        else:
            task.pending.append(pending)
        if task.waiting is not None:
            task.waiting = None
            self.ready.append(task)

    def run_in_main(self, call: Callable[[], object], interrupts: bool = True) -> None:
        """Have ``call`` made in the main greenlet, at once if that is the one that runs.

        For signal handlers, which CPython calls in whatever greenlet its main thread is in. What the
        call raises leaves main's wait; otherwise main goes on waiting.

        Args:
            interrupts: whether it interrupts main's wait for a descriptor, too, if that has no deadline.
        """
        main = self.main
        if self.current is main and main.waiting is None and getcurrent() is not self.raw:
            call()
        elif not interrupts and isinstance(main.waiting, Watch) and main.deadline == INFINITY:
            main.pending = [*(main.pending or ()), call]
        else:
            self._interrupt(main, call)
            if self.asleep:
                self.poller.wake()

    # -- From other threads and from signal handlers

    def post(self, callback: Callable[[], object]) -> None:
        """Have ``callback`` called on the hub soon. From any thread, and from signal handlers."""
        self.inbox.append(callback)
        # Invariant: the hub sets ``asleep`` before it looks into the inbox for the last time.
        if self.asleep:
            self.poller.wake()

    # -- Deadlines

    def call_at(self, deadline: float, callback: Callable[[], object]) -> Timer:
        """Have ``callback`` called on the hub when ``deadline`` has passed. It must not block."""
        timer = Timer(callback)
        self.deadlines.want(timer, deadline)
        return timer

    # -- Descriptors

    def forget(self, watch: Watch) -> None:
        """The descriptor is about to be closed: whoever waits for it is woken and finds it closed."""
        watch.closed = True
        self.poller.disarm(watch)
        if self.watches.get(watch.fd) is watch:
            del self.watches[watch.fd]
        self.rouse(watch)

    def rouse(self, watch: Watch) -> None:
        """Whoever waits for the descriptor tries again. Only from this hub's own thread."""
        self._deliver(watch, READING | WRITING)

    def _deliver(self, watch: Watch, events: int) -> None:
        """Wake those whom ``events`` concern. All of them: each tries, and who fails parks again."""
        ready = self.ready
        if events & READING:
            if events & DISTRUST:
                watch.distrust = True
            watch.edges += 1
            task = watch.reader
            if task is not None and task.waiting is watch:
                task.waiting = None
                ready.append(task)
        if events & WRITING:
            task = watch.writer
            if task is not None and task.waiting is watch:
                task.waiting = None
                ready.append(task)
        if watch.more is not None:
            for task, writing in watch.more:
                if events & (WRITING if writing else READING):
                    self.wake(task, watch)

    def _is_watched(self) -> bool:
        """Whether anybody waits for a descriptor.

        The common answer costs nothing: the last one that was waited for still is.
        """
        witness = self._witness
        if witness is None or witness.closed or (witness.reader is None and witness.writer is None):
            self._witness = next(
                (
                    watch
                    for watch in self.watches.values()
                    if watch.waits(False) or watch.waits(True)
                ),
                None,
            )
        return self._witness is not None

    # -- Those who wait until nothing else is to do

    def _wake_idlers(self) -> None:
        idlers, self.idlers = self.idlers, []
        for task in idlers:
            self.wake(task, idlers_wait)

    def _wake_finishers(self) -> bool:
        """Nothing is ready: let those go on who wait for that, if nothing else can happen any more."""
        if self._is_watched() or self.external:
            return False
        # Their own time-outs are nothing to wait for.
        for _, _, alarm in self.deadlines.heap:
            if alarm.deadline != INFINITY and alarm not in self.finishers:
                return False
        finishers, self.finishers = self.finishers, []
        for task in finishers:
            self.wake(task, finishers_wait)
        return True

    # -- The rest

    def _shuffle(self) -> None:
        batch = [self.ready.popleft() for _ in range(self.batch)]
        assert self.shuffle is not None
        self.shuffle.shuffle(batch)
        self.ready.extend(batch)

    def freeze(self) -> None:
        """The interpreter is ending: greenlets that are still parked stop where they are.

        As daemon threads do. Without this their locals would be thrown away with the modules, and the
        values' finalizers would run in an interpreter that is half gone.
        """
        #: What must outlive everything else in the process.
        self.kept = [worker.task.keepsakes() for worker in self.workers if worker.task is not None]
