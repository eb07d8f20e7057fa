"""The hub: one run queue, one heap of deadlines and one poller per native thread.

Rules:

* `Hub.park` is the one trap: nothing else gives up control. Whoever blocks registers somewhere,
  parks, and unregisters on every way out of ``park``.
* A parked task is resumed by exactly one wake. ``Task.waiting`` is the proof: it is what the task
  waits for while it is parked and ``None`` otherwise, and whoever sets it to ``None`` (wake,
  deadline, throw) is the one who puts the task into the run queue. Everybody later finds ``None``, or
  another wait's object, and does nothing.
* Only non-blocking calls are made on the hub itself.

What runs on the hub is on this page: the batch that was ready when the round began, what other
threads have posted, due deadlines, the poll.

The greenlets of package greenlet are *workers*: one that has finished its task takes the next, for
CPython maps a fresh 16 KiB arena for every new one and unmaps it at its end, which costs five times
what the rest of a spawn does. All of them are started by the hub, from its shallow C stack.
"""

import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Optional

from greenlet import getcurrent, greenlet

from graftlet.core import _original
from graftlet.core._deadlines import INFINITY, Alarm, Deadlines
from graftlet.core._errors import BlockingCallOnHub, Deadlock, InternalError, ShutdownError
from graftlet.core._poller import (
    DISTRUST,
    IN,
    OUT,
    READING,
    WRITING,
    Poller,
    Watch,
    default_poller,
)

if TYPE_CHECKING:
    from contextvars import Context
    from random import Random


#: epoll(7) takes milliseconds in an int: 24 days at most. A longer wait is polled again, seconds.
LONGEST_POLL: Final = 1e6

#: A hub that only another native thread could wake looks so often (seconds) whether there is still one.
LOOK_AGAIN: Final = 0.5

#: While greenlets are ready, descriptors are looked at no more often than this, seconds: a system call in every
#: round would cost short rounds (two threads that hand a turn to and fro) more than all the rest.
SPARE: Final = 50e-6

#: The events of a descriptor that data has come for, and that can be written to.
PLAIN: Final = frozenset((IN, IN | OUT))


class Task(Alarm):
    """What a hub schedules. `graftlet.Greenlet` is the kind that users see."""

    __slots__ = ("context", "done", "hub", "pending", "raw", "timed_out", "waiting")

    #: Whether the program takes it for a thread, which may lose control at any time.
    is_thread: ClassVar[bool] = False
    hub: Optional["Hub"]
    #: Where it goes on: the greenlet (of package greenlet) that parked. None before its start.
    raw: greenlet | None
    # Invariant: not None exactly while the task is parked and nobody has woken it.
    waiting: object
    timed_out: bool
    #: Exceptions that will be raised in it, one at each return from `Hub.park`, and calls (of signal
    #: handlers) that will be made in it then.
    pending: list[BaseException | Callable[[], object]] | None
    context: Optional["Context"]
    done: bool

    def __init__(self) -> None:
        # Not by super().__init__(): this runs once per spawn, and the call costs more than its body.
        self.deadline = INFINITY
        self.armed = None
        self.hub = None
        self.raw = None
        self.waiting = None
        self.timed_out = False
        self.pending = None
        self.context = None
        self.done = False

    def execute(self) -> None:
        """The task's whole work, run by a worker. Must not raise."""
        raise NotImplementedError

    def end_with_thread(self) -> None:
        """A main task's native thread has ended."""

    def keepsakes(self) -> object:
        """What a task that is frozen at the interpreter's end must keep alive."""
        return self

    def due(self) -> None:
        if self.waiting is not None:
            self.waiting = None
            self.timed_out = True
            hub = self.hub
            assert hub is not None
            hub.ready.append(self)


class Carried:
    """What a running task keeps in the native thread's own state, where no greenlet switch reaches it.

    Nobody else may find it there: `Hub.park` puts it away, and brings it back when the task goes on.
    """

    __slots__ = ()

    def put_away(self) -> Any:
        """Take it out of the thread's state; returns what `bring_back` needs, None if nothing is there."""
        raise NotImplementedError

    def bring_back(self, kept: Any) -> None:
        """Put there again what `put_away` has returned."""
        raise NotImplementedError


class Reason:
    """What a task waits for where there is no object to name: only a text, for people."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


#: What those wait for who called `graftlet.idle`, and `graftlet.wait` without objects.
idlers_wait: Final = Reason("the hub to be idle")
finishers_wait: Final = Reason("everything else to end")


class Timer(Alarm):
    """Calls back once, on the hub, when its deadline has passed."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        super().__init__()
        self._callback = callback

    def due(self) -> None:
        self._callback()


class Worker:
    """A recycled greenlet that executes one task after the other."""

    __slots__ = ("_hub", "raw", "task")

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self.task: Task | None = None
        self.raw = greenlet(self._work, hub.raw)

    def _work(self) -> None:
        hub = self._hub
        raw = self.raw
        ready = hub.ready
        try:
            while True:
                task = self.task
                assert task is not None
                raw.gr_context = task.context
                task.execute()
                if hub.carried is not None:
                    hub.drop_carried()
                if hub.forked:
                    os._exit(0)  # as when a process's last thread ends, pthread_exit(3)
                # Invariant: nothing of a task is left in the worker when it takes the next one.
                task.raw = task.context = None
                # The next one that starts in this round may as well start here: it saves two switches.
                # Invariant: never out of turn, and never more than the round's batch.
                if hub.batch > 0 and ready[0].raw is None:
                    hub.batch -= 1
                    task = self.task = ready.popleft()
                    if not task.done:
                        task.raw = raw
                        hub.current = task
                        continue
                self.task = task = None
                raw.gr_context = None
                if len(hub.idle) >= hub.MAX_IDLE:
                    break
                hub.idle.append(self)
                hub.raw.switch()
        finally:
            hub.workers.discard(self)


class Hub:
    """The scheduler of one native thread.

    Args:
        main: the task that is running in this thread now.
        clock: returns the time in seconds; never goes back.
        poller: waits for file descriptors.
    """

    #: So many idle workers are kept, about 20 KiB each.
    MAX_IDLE: Final = 1000
    #: What ``batch`` is from one signal of `graftlet.core._preempt` on until the hub comes round. It ends the
    #: batch, and the rest of it will be part of the next one.
    PREEMPTED: Final = -1

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
        #: How many of them still belong to the batch of this round.
        self.batch = 0
        self.deadlines = Deadlines()
        self.watches: dict[int, Watch] = {}
        #: Calls that other threads have posted.
        self.inbox: deque[Callable[[], object]] = deque()
        self.asleep = False
        #: Calls under way in native threads, which will be posted back.
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
        self.on_stuck: Callable[[Hub], str | None] | None = None
        self.thread = _original.get_ident()
        self.process = os.getpid()
        #: What ``get_ident`` is in the main greenlet.
        self.main_ident = self.thread
        self.closed = False
        #: Whether this is a child process's copy of its parent's hub.
        self.forked = False
        #: What must outlive everything else in the process: see `Hub.freeze`.
        self.kept: list[object] = []
        self._witness: Watch | None = None
        main.hub = self
        main.raw = getcurrent()
        self.raw = greenlet(self._run)
        # Start the loop here and now: its C stack begins where the hub is made, which is shallow,
        # and not where the first greenlet happens to park.
        self.raw.switch()

    def __repr__(self) -> str:
        return f"<Hub at {id(self):#x} of thread {self.thread}>"

    def ident_of(self, task: Task) -> int:
        """The thread ident of a task: unique among all that runs."""
        return self.main_ident if task is self.main else id(task)

    # -- The trap

    def park(self, waiting: object, deadline: float = INFINITY) -> bool:
        """Give up control until the current task is woken.

        Args:
            waiting: what it waits for: the object that a waker must show to `wake`, and what the
                deadlock report prints. Unique to this wait if another thread may wake it. ``None``
                only if the task has been put into the run queue by the caller (a mere yield).
            deadline: in the clock's seconds.

        Returns: whether it was woken; False if the deadline passed first. A wake is only a hint to look
            again: in main it may also mean that a signal handler has run.

        Raises: whatever was thrown at the task (kill, time-out, Ctrl-C): then, too, the caller must
            undo what it registered. BlockingCallOnHub, if called on the hub. `ShutdownError`, if the
            interpreter ends.
        """
        try:
            raw = getcurrent()
        except RuntimeError:
            return self._stay(waiting, deadline)
        if raw is self.raw:
            raise BlockingCallOnHub(
                f"a call that would wait for {waiting!r} was made on the hub, which must never wait: "
                "a finalizer or a callback must use non-blocking calls only"
            )
        task = self.current
        if task.pending is not None:
            self._take_pending(task)
        task.raw = raw
        task.waiting = waiting
        if self.carried is not None:
            return self._park_carrying(self.carried, task, deadline)
        if deadline == INFINITY:
            self.raw.switch()
            if task.pending is not None:
                self._take_pending(task)
            return True
        self.deadlines.want(task, deadline)
        self.raw.switch()
        task.deadline = INFINITY
        timed_out = task.timed_out
        task.timed_out = False
        if task.pending is not None:
            self._take_pending(task)
        return not timed_out

    def _stay(self, waiting: object, deadline: float) -> bool:
        """`park`, when the interpreter ends and there are no greenlets any more: nobody can wake anybody."""
        if waiting is None:
            return True
        if deadline == INFINITY or not isinstance(waiting, Reason):
            raise ShutdownError(
                f"can't wait for {waiting!r}: the interpreter ends, and nobody else runs any more"
            )
        _original.sleep(max(0, deadline - self.clock()))
        return False

    def _park_carrying(self, carried: Carried, task: Task, deadline: float) -> bool:
        """The rest of `park` for a task that keeps something in the thread's own state."""
        self.carried = None
        kept = carried.put_away()
        if deadline != INFINITY:
            self.deadlines.want(task, deadline)
        self.raw.switch()
        if kept is not None:
            carried.bring_back(kept)
            self.carried = carried
        task.deadline = INFINITY
        timed_out = task.timed_out
        task.timed_out = False
        if task.pending is not None:
            self._take_pending(task)
        return not timed_out

    def drop_carried(self) -> None:
        """The running task has ended: what it has left in the thread's own state goes with it."""
        if self.carried is not None:
            self.carried.put_away()
            self.carried = None

    def yield_now(self) -> None:
        """Let everybody who is ready run first."""
        task = self.current
        try:
            on_hub = getcurrent() is self.raw
        except RuntimeError:
            return  # the interpreter ends, there is nobody else
        if not on_hub:
            if task.pending is not None:
                self._take_pending(task)
            self.ready.append(task)
        self.park(None)

    def is_running(self, task: Task) -> bool:
        """Whether ``task`` is the one that runs now: on the hub itself nobody does."""
        return self.current is task and getcurrent() is not self.raw

    @staticmethod
    def _take_pending(task: Task) -> None:
        """Make the calls that wait for ``task`` to run, up to the first exception, which is raised."""
        while task.pending is not None:
            pending = task.pending.pop(0)
            if not task.pending:
                task.pending = None
            if isinstance(pending, BaseException):
                raise pending
            try:
                pending()
            except RecursionError:
                # Too deep in the stack to make the call at all? It must not be lost.
                if getattr(pending, "begun", None) is False:
                    task.pending = [pending, *(task.pending or ())]
                raise

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

    # -- The loop

    def _run(self) -> None:
        self.main.raw.switch()  # type: ignore[union-attr] # set by __init__, which waits for this
        while True:
            try:
                self._rounds()
            except BaseException as error:
                if self.closed:
                    return  # the end that `close` makes
                self._loop_failed(error)

    def _rounds(self) -> None:  # noqa: C901, PLR0912, PLR0915 - the one loop, on one screen, by design
        ready = self.ready
        deadlines = self.deadlines
        inbox = self.inbox
        poller = self.poller
        poll = poller.poll
        watches = self.watches
        edge = poller.edge
        monotonic = _original.monotonic
        poll_again = 0.0
        # With a clock of a test's own, every round polls: nothing depends on real time then.
        spare = SPARE if self.clock is monotonic else 0.0
        while True:
            # 1. The batch. A task that a worker of this round starts directly counts, too.
            self.batch = len(ready)
            if self.shuffle is not None:
                self._shuffle()
            while self.batch > 0:
                self.batch -= 1
                task = ready.popleft()
                raw = task.raw
                if raw is None:
                    if task.done:
                        continue  # killed before its start
                    raw = self._employ(task)
                self.current = task
                raw.switch()
            # 2. What other threads have posted. What is posted meanwhile waits for the next round.
            if inbox:
                for _ in range(len(inbox)):
                    inbox.popleft()()
            # 3. Deadlines.
            if deadlines.heap:
                deadlines.fire(self.clock())
            # 4. Poll, for as long as nothing else is to do.
            if ready or inbox:
                now = monotonic()
                if now < poll_again:
                    continue
                poll_again = now + spare
                events = poll(0)
            else:
                timeout: float | None = None
                if self.idlers:
                    timeout = 0
                elif self.finishers and self._wake_finishers():
                    continue
                elif deadlines.heap and (wanted := deadlines.earliest_wanted()) != INFINITY:
                    timeout = min(max(0, wanted - self.clock()), LONGEST_POLL)
                else:
                    timeout = self._patience()
                self.asleep = True
                # Invariant: whoever finds it not asleep, a signal's handler too, has put something in before this.
                events = poll(0 if inbox or ready else timeout)
                self.asleep = False
                if self.idlers and not events and not inbox:
                    self._wake_idlers()
            for fd, bits in events:
                watch = watches.get(fd)
                if watch is None:
                    continue
                if bits in PLAIN and watch.more is None:
                    # `_deliver`, unrolled for what nearly all events are (benchmarks, echo-100).
                    watch.edges += 1
                    reader = watch.reader
                    if reader is not None and reader.waiting is watch:
                        reader.waiting = None
                        ready.append(reader)
                    if bits != IN:
                        writer = watch.writer
                        if writer is not None and writer.waiting is watch:
                            writer.waiting = None
                            ready.append(writer)
                else:
                    self._deliver(watch, bits)
                if not edge:
                    poller.settle(watch)

    def _employ(self, task: Task) -> greenlet:
        """A worker for a task that starts now."""
        if self.idle:
            worker = self.idle.pop()
        else:
            worker = Worker(self)
            self.workers.add(worker)
        worker.task = task
        task.raw = worker.raw
        return worker.raw

    def _shuffle(self) -> None:
        batch = [self.ready.popleft() for _ in range(self.batch)]
        assert self.shuffle is not None
        self.shuffle.shuffle(batch)
        self.ready.extend(batch)

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

    def _is_watched(self) -> bool:
        """Whether anybody waits for a descriptor.

        The common answer costs nothing: the last one that was waited for still is.
        """
        witness = self._witness
        if witness is None or witness.closed or not (witness.reader or witness.writer):
            self._witness = next(
                (
                    watch
                    for watch in self.watches.values()
                    if watch.waits(False) or watch.waits(True)
                ),
                None,
            )
        return self._witness is not None

    def _patience(self) -> float | None:
        """Nothing is ready and no deadline is near: how long to wait for who could change that, None for ever.

        If nobody can, main gets `Deadlock`.
        """
        if self._is_watched() or self.external or self.on_stuck is None:
            return None
        report = self.on_stuck(self)
        if report and not self.inbox:
            self.throw(self.main, Deadlock(report))
        # A test's clock would run away while the thread works.
        return None if report is None or self.clock is not _original.monotonic else LOOK_AGAIN

    def _loop_failed(self, error: BaseException) -> None:
        """An exception came up on the hub itself. Nothing is lost: the loop begins its next round."""
        self.asleep = False
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.throw(self.main, error)
            return
        failure = InternalError(f"{type(error).__name__} on the hub: {error}")
        failure.__cause__ = error
        self.throw(self.main, failure)

    def freeze(self) -> None:
        """The interpreter is ending: greenlets that are still parked stop where they are.

        As daemon threads do. Without this their locals would be thrown away with the modules, and the
        values' finalizers would run in an interpreter that is half gone.
        """
        for worker in self.workers:
            task = worker.task
            if task is not None:
                self.kept.append(task.keepsakes())

    def close(self) -> None:
        """Give the hub's descriptors back. The hub can't be used again. For tests and after fork.

        Called by the greenlet that made the hub, it ends the hub's own ones, too: a suspended greenlet
        is invisible to the garbage collector, and with it the whole hub.
        """
        if self.closed:
            return
        self.closed = True
        self.poller.close()
        try:
            here = getcurrent()
        except RuntimeError:
            return  # the interpreter ends, and greenlets with it
        if self.raw.parent is here:
            for worker in self.idle:
                worker.raw.parent = here  # where it goes when it ends
                worker.raw.throw()
            self.idle.clear()
            self.raw.throw()
