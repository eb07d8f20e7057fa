"""The hub: one run queue, one heap of deadlines and one poller per native thread.

Rules:

* `Hub.park` is the one trap: nothing else gives up control. Whoever blocks registers somewhere,
  parks, and unregisters on every way out of ``park``.
* A parked task is resumed by exactly one wake. ``Task.waiting`` is the proof: it is what the task
  waits for while it is parked and ``None`` otherwise, and whoever sets it to ``None`` (wake,
  deadline, throw) is the one who puts the task into the run queue. Everybody later finds ``None``, or
  another wait's object, and does nothing.
* Only non-blocking calls are made on the hub itself.

What runs on the hub is on this page: the batch that was ready when the round began, the poll, what
other threads have posted, due deadlines.

What a hub schedules is a `Task`, which a `Worker` carries out.
"""

from collections.abc import Callable
from typing import Final, NoReturn

from greenlet import GreenletExit, getcurrent, greenlet

from graftlet.core import _original
from graftlet.core._deadlines import INFINITY
from graftlet.core._errors import BlockingCallOnHub, Deadlock, InternalError, ShutdownError
from graftlet.core._hub_state import HubState
from graftlet.core._poller import IN, OUT, Poller
from graftlet.core._task import Carried, Reason, Task
from graftlet.core._worker import Worker

#: epoll(7) takes milliseconds in an int: 24 days at most. A longer wait is polled again, seconds.
LONGEST_POLL: Final = 1e6

#: A hub that only another native thread could wake looks so often (seconds) whether there is still one.
LOOK_AGAIN: Final = 0.5

#: While greenlets are ready, descriptors are looked at no more often than this, seconds: a system call in every
#: round would cost short rounds (two threads that hand a turn to and fro) more than all the rest.
SPARE: Final = 50e-6

#: `Hub.batch` goes down to this: so many greenlets that become ready during a round may still run in it, unless
#: something has been posted meanwhile.
LAST: Final = -4

_monotonic: Final = _original.monotonic

#: The events of a descriptor that data has come for, that can be written to, or both.
PLAIN: Final = frozenset((IN, OUT, IN | OUT))


class Hub(HubState):
    """The scheduler of one native thread.

    Args:
        main: the task that is running in this thread now.
        clock: returns the time in seconds; never goes back.
        poller: waits for file descriptors.
    """

    def __init__(
        self,
        main: Task,
        clock: Callable[[], float] = _original.monotonic,
        poller: Poller | None = None,
    ) -> None:
        super().__init__(main, clock, poller)
        self.raw = greenlet(self._run)
        # Start the loop here and now: its C stack begins where the hub is made, which is shallow,
        # and not where the first greenlet happens to park.
        self.raw.switch()

    # -- The trap

    def park(self, waiting: object, deadline: float = INFINITY) -> bool:  # noqa: C901, PLR0912 - unrolled
        """Give up control until the current task is woken.

        Args:
            waiting: what it waits for: the object that a waker must show to `wake`, and what the
                deadlock report prints. Unique to this wait if another thread may wake it. ``None``:
                nothing, it is ready at once (a mere yield).
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
        task = self.current
        if raw is self.raw or task.waiting is not None:
            self._refuse(waiting, task)
        if task.pending is not None:
            self._take_pending(task)
        task.raw = raw
        try:
            if waiting is None:
                if (
                    not (self.ready or self.inbox)
                    and self.in_place
                    and _monotonic() < self.poll_again
                ):
                    return True  # nobody else is there, and it is too early to look again
                self.ready.append(task)
            else:
                task.waiting = waiting
            if deadline != INFINITY:
                # `Deadlines.want`, unrolled for an entry that is there already (benchmarks, echo-1-timeouts).
                task.deadline = deadline
                armed = task.armed
                if armed is None or deadline < armed[0]:
                    self.deadlines.want(task, deadline)
            if self.carried is not None:
                self._switch_carrying(self.carried)
            elif ready := self.ready:
                # Straight to the next of the batch: the way round the hub is two switches.
                batch = self.batch
                if (
                    (batch > 0 or (batch > LAST and not self.inbox))
                    and (target := (first := ready[0]).raw) is not None
                    and target is not raw
                ):
                    self.batch = batch - 1
                    self.current = first
                    ready.popleft()
                    target.switch()
                else:
                    self.raw.switch()
            elif (next_ := self._look_in_place()) is None:
                self.raw.switch()
            elif next_ is not raw:
                next_.switch()
        except GreenletExit:
            # Package greenlet ends this greenlet (nobody refers to it any more), wherever that happens: somebody else
            # runs, and what the hub knows is about that one. A kill is none of these, it comes below.
            raise
        except BaseException:
            # Too deep in the stack, or the handler of a signal has raised that is none of ours. Without calls of Python
            # functions, as far as that goes: nothing of this wait is left, and nobody else's turn is lost.
            first, self.current = self.current, task
            if first is not task and (not self.ready or self.ready[0] is not first):
                self.ready.appendleft(first)
            if task.waiting is not None:
                task.waiting = None
            elif task in self.ready:
                self.ready.remove(task)
            task.deadline = INFINITY
            raise
        if deadline == INFINITY:
            if task.pending is not None:
                self._take_pending(task)
            return True
        task.deadline = INFINITY
        timed_out = task.timed_out
        task.timed_out = False
        if task.pending is not None:
            self._take_pending(task)
        return not timed_out

    def _refuse(self, waiting: object, task: Task) -> NoReturn:
        """The call to `park` comes from a callback, or from a finalizer: nobody is there who could wait."""
        where = "on the hub, which must never wait"
        if getcurrent() is not self.raw:
            where = f"while {task!r} begins to wait for {task.waiting!r}"
        raise BlockingCallOnHub(
            f"a call that would wait for {waiting!r} was made {where}: "
            "a finalizer or a callback must use non-blocking calls only"
        )

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

    def _switch_carrying(self, carried: Carried) -> None:
        """`park`'s switch for a task that keeps something in the thread's own state."""
        self.carried = None
        kept = carried.put_away()
        self.raw.switch()
        if kept is not None:
            carried.bring_back(kept)
            self.carried = carried

    def _look_in_place(self) -> greenlet | None:  # noqa: C901, PLR0912 - as short as `_rounds` allows
        """The short form of a round in which nobody is ready, made by the very task that parks.

        It polls, and says where to go on: that is one switch instead of two, or none if the task itself is
        woken. What has more to it than data that has come (a deadline, a call from another thread, an error) is
        left to the hub, and so is a wait that nobody may ever end: None.

        Invariants: no Python function is called once the poll has returned, for the stack may be too deep, and
        what was polled would be lost (each event comes once). Nothing of others runs here: no callback, no ``due``.
        """
        poller = self.poller
        if (
            not (self.in_place and poller.edge)
            or self.idlers
            or self.finishers
            or self.shuffle is not None
        ):
            return None
        ready = self.ready
        watches = self.watches
        heap = self.deadlines.heap
        while not ready:
            timeout: float | None = None
            wanted = INFINITY
            try:
                if heap:
                    wanted = heap[0][0]
                    if heap[0][2].deadline == INFINITY:
                        wanted = self.deadlines.earliest_wanted()
                if wanted != INFINITY:
                    timeout = wanted - self.clock()
                    if not 0 < timeout < LONGEST_POLL:
                        return None
                elif not self.external:
                    witness = self._witness
                    if (
                        witness is None
                        or witness.closed
                        or (witness.reader is None and witness.writer is None)
                    ) and not self._is_watched():
                        return None
                self.asleep = True
                # Invariant: whoever finds it not asleep, a signal's handler too, has put something in before this.
                if self.inbox or ready:
                    self.asleep = False
                    return None
                events = poller.poll(timeout)
            except RecursionError:
                self.asleep = False
                return None
            except BaseException as error:
                self._loop_failed(error)
                return None
            unusual: list[tuple[int, int]] | None = None
            for event in events:
                fd, bits = event
                watch = watches.get(fd)
                if watch is None:
                    continue
                if bits in PLAIN and watch.more is None:
                    # `_deliver`, unrolled for what nearly all events are (benchmarks, echo-100).
                    if bits != OUT:
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
                elif unusual is None:
                    unusual = [event]
                else:
                    unusual.append(event)
            if unusual is not None or not events:
                self.found = (unusual or events, INFINITY if events else wanted)
                self.asleep = False
                return None
            self.asleep = False
        first = ready[0]
        raw = first.raw
        if raw is None:
            return None
        self.current = first
        ready.popleft()
        self.batch = len(ready)
        return raw

    def yield_now(self) -> None:
        """Let everybody who is ready run first."""
        self.park(None)

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
        nothing: list[tuple[int, int]] = []
        # With a clock of a test's own, every round polls: nothing depends on real time then.
        spare = SPARE if self.clock is _monotonic else 0.0
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
            # 2. Poll, for as long as nothing else is to do.
            looked: float | None = None
            if self.found is not None:
                events, wanted = self.found
                self.found = None
                if wanted != INFINITY:
                    looked = min(wanted, self.clock())
            elif ready or inbox:
                now = _monotonic()
                if now < self.poll_again:
                    events = nothing
                else:
                    self.poll_again = now + spare
                    if deadlines.heap:
                        looked = self.clock()
                    events = poll(0)
            else:
                timeout: float | None = 0
                wanted = deadlines.earliest_wanted() if deadlines.heap else INFINITY
                if wanted != INFINITY:
                    looked = self.clock()
                if self.idlers:
                    pass
                elif self.finishers and self._wake_finishers():
                    continue
                elif looked is not None:
                    timeout = min(max(0, wanted - looked), LONGEST_POLL)
                else:
                    timeout = self._patience()
                self.asleep = True
                # Invariant: whoever finds it not asleep, a signal's handler too, has put something in before this.
                if inbox or ready:
                    timeout = 0
                events = poll(timeout)
                self.asleep = False
                if timeout and looked is not None and not events:
                    looked = min(wanted, self.clock())
            for fd, bits in events:
                watch = watches.get(fd)
                if watch is None:
                    continue
                if bits in PLAIN and watch.more is None:
                    # `_deliver`, unrolled for what nearly all events are (benchmarks, echo-100).
                    if bits != OUT:
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
            # 3. What other threads have posted. What is posted meanwhile waits for the next round.
            if inbox:
                for _ in range(len(inbox)):
                    inbox.popleft()()
            # 4. Deadlines that had passed when the descriptors were looked at. Invariant: what was ready by then
            # comes first, as with poll(2), however late the hub comes to look.
            if looked is not None and deadlines.heap and deadlines.heap[0][0] <= looked:
                deadlines.fire(looked)
            if self.idlers and not ready and not inbox:
                self._wake_idlers()

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

    def _patience(self) -> float | None:
        """Nothing is ready and no deadline is near: how long to wait for who could change that, None for ever.

        If nobody can, main gets `Deadlock`.
        """
        if self._is_watched() or self.external or self.on_stuck is None:
            return None
        report = self.on_stuck(self)
        if report and not self.inbox:
            self.throw(self.main, Deadlock(report))
        return None if report is None else LOOK_AGAIN

    def _loop_failed(self, error: BaseException) -> None:
        """An exception came up on the hub itself. Nothing is lost: the loop begins its next round."""
        self.asleep = False
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.throw(self.main, error)
            return
        failure = InternalError(f"{type(error).__name__} on the hub: {error}")
        failure.__cause__ = error
        self.throw(self.main, failure)

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
