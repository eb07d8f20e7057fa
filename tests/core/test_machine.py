"""Greenlets that park, sleep, join, time out, are woken, linked and killed, against a simple model.

The machine is main: it does things to actors, in no time, and now and then lets the hub run until
everybody is parked (`settle`, `sleep`), in a shuffled order. Actors follow scripts. The model knows
nothing of queues, heaps and rounds: for each actor, it tells from its script and from what was done to
it how each of its waits must have ended.

Where two things happen to an actor in the same instant by the clock, the order of the schedule may
decide; then the model allows both outcomes, but never none and never two.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import graftlet
from graftlet import Greenlet, GreenletExit, Timeout
from graftlet.core._task import Reason
from graftlet.testing import FakeClock, assert_hub_empty, fresh_hub, wait_all_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# -- What actors do


@dataclass(frozen=True)
class Park:
    """Wait to be woken by the machine."""

    timeout: int | None


@dataclass(frozen=True)
class Sleep:
    seconds: int


@dataclass(frozen=True)
class Join:
    """Join the actor of this number (counted around) among those that are there already."""

    target: int
    timeout: int | None


@dataclass(frozen=True)
class Limited:
    """Another command within ``with Timeout(seconds)``."""

    seconds: int
    command: Park | Sleep | Join


Plain = Park | Sleep | Join
Command = Plain | Limited
#: How a wait ended: woken or not, "slept", "timeout", or the number of the kill.
Entry = bool | str | int


class Killed(Exception):
    """A kill of the machine; the first argument is its number."""


class Left(GreenletExit):
    """As `Killed`, but such that it counts as an exit."""


class Failure(Exception):
    """What actors raise that end so."""


def within(limit: int | None, first: int = 0) -> st.SearchStrategy[int | None]:
    return st.one_of(st.none(), st.integers(first, 5)) if limit is None else st.integers(first, 5)


parks = st.builds(Park, within(None))
sleeps = st.builds(Sleep, st.integers(1, 5))
joins = st.builds(Join, st.integers(0, 5), within(None, 1))
commands: st.SearchStrategy[Command] = st.one_of(
    parks,
    sleeps,
    joins,
    st.builds(Limited, st.integers(0, 4), st.one_of(parks, sleeps)),
    st.builds(Limited, st.integers(1, 4), joins),
)
ends = st.sampled_from(["return", "fail", "leave"])
kinds = st.sampled_from(["any", "value", "exception"])
whom = st.integers(0, 9)


@dataclass(eq=False)
class Actor:
    """One greenlet, and what the model knows of it."""

    number: int
    script: list[Command]
    targets: list[Actor]
    stubborn: bool
    end: str

    # The greenlet.
    greenlet: Greenlet = field(init=False)
    log: list[Entry] = field(default_factory=list)
    tokens: list[Reason] = field(default_factory=list)

    # The model: unborn, waiting, done.
    state: str = "unborn"
    start: int | None = None
    position: int = 0
    outcome: Entry | None = None
    pending: list[int] = field(default_factory=list)
    deadline: float = float("inf")
    limit: float = float("inf")
    done_at: int | None = None
    result: object = None
    began: bool = False
    expected: list[set[Entry]] = field(default_factory=list)

    # -- The greenlet

    def play(self) -> int:
        for command in self.script:
            try:
                self.log.append(self.perform(command))
            except Timeout:
                self.log.append("timeout")
            except (Killed, Left) as kill:
                self.log.append(kill.args[0])
                if not self.stubborn:
                    raise
        if self.end == "fail":
            raise Failure
        if self.end == "leave":
            raise Left(self.end)
        return self.number

    def perform(self, command: Command) -> Entry:
        if isinstance(command, Limited):
            with Timeout(command.seconds):
                return self.perform(command.command)
        hub = graftlet.get_hub()
        if isinstance(command, Park):
            token = Reason(f"wake {len(self.tokens)} of {self.number}")
            self.tokens.append(token)
            timeout = command.timeout
            return hub.park(token, float("inf") if timeout is None else hub.clock() + timeout)
        if isinstance(command, Sleep):
            graftlet.sleep(command.seconds)
            return "slept"
        assert isinstance(command, Join)
        return self.target(command).greenlet.join(command.timeout)

    def target(self, command: Join) -> Actor:
        return self.targets[command.target % len(self.targets)]

    # -- The model

    @property
    def command(self) -> Plain:
        command = self.script[self.position]
        return command.command if isinstance(command, Limited) else command

    @property
    def goes_on(self) -> bool:
        """Whether it is in the run queue."""
        if self.state == "waiting":
            return bool(self.outcome is not None or self.pending or self.target_is_done())
        return self.state == "unborn" and self.start is None

    def target_is_done(self) -> bool:
        command = self.command
        return isinstance(command, Join) and self.target(command).state == "done"

    def joins_later(self) -> bool:
        return any(
            isinstance(command.command if isinstance(command, Limited) else command, Join)
            for command in self.script[self.position :]
        )

    def finish(self, now: int, result: object) -> None:
        self.state = "done"
        self.done_at = now
        self.result = result
        self.pending.clear()

    def run(self, now: int) -> None:
        """From where it waits to its next wait."""
        if self.state == "unborn":
            self.state = "waiting"
            self.began = True
        elif not self.leave_wait(now):
            return
        while self.position < len(self.script):
            command = self.script[self.position]
            inner = self.command
            if isinstance(inner, Join) and self.target(inner).state == "done":
                self.expected.append({True})
                self.position += 1
                continue
            seconds = inner.seconds if isinstance(inner, Sleep) else inner.timeout
            self.deadline = float("inf") if seconds is None else now + seconds
            self.limit = now + command.seconds if isinstance(command, Limited) else float("inf")
            if not self.pending:
                return
            if not self.leave_wait(now):
                return
        results = {"return": self.number, "fail": Failure, "leave": Left}
        self.finish(now, results[self.end])

    def leave_wait(self, now: int) -> bool:
        """Note how the wait ended; False if that was the actor's end."""
        outcome, self.outcome = self.outcome, None
        self.position += 1
        if self.pending:
            kill = self.pending.pop(0)
            self.expected.append({kill})
            if not self.stubborn:
                self.finish(now, kill)
                return False
        else:
            assert outcome is not None
            self.expected.append({outcome})
        return True

    def fire(self, now: int) -> None:
        """What is due, and whom it joins."""
        if self.start is not None and self.start <= now:
            self.start = None
        if self.state != "waiting":
            return
        if self.limit <= now:
            self.outcome = "timeout"  # also if it was woken before, but hasn't run yet
        elif self.outcome is None and self.deadline <= now:
            self.outcome = "slept" if isinstance(self.command, Sleep) else False
        elif self.target_is_done():
            self.outcome = True


class GreenletMachine(RuleBasedStateMachine):
    """See above."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = FakeClock()
        self.hub = self.stack.enter_context(fresh_hub(self.clock))
        self.hub.on_unhandled = lambda greenlet, error: self.reported.append(greenlet)
        self.reported: list[object] = []
        self.actors: list[Actor] = []
        self.kills = 0
        self.broken = False
        self.posted: list[tuple[Actor, int]] = []
        self.told: Counter[tuple[int, int]] = Counter()
        self.links: list[tuple[Actor, str, Callable[[Greenlet], object]]] = []

    @initialize(seed=st.one_of(st.none(), st.integers(0, 2**32)))
    def choose_order(self, seed: int | None) -> None:
        self.hub.shuffle = None if seed is None else random.Random(seed)
        # The very first round begins with its batch; all others, seen from main, with what was posted.
        graftlet.sleep(0)

    # -- What the machine does

    @rule(
        script=st.lists(commands, max_size=4),
        stubborn=st.booleans(),
        end=ends,
        later=st.one_of(st.none(), st.none(), st.integers(0, 3)),
    )
    def spawn(self, script: list[Command], stubborn: bool, end: str, later: int | None) -> None:
        if not self.actors:
            script = [command for command in script if not has_join(command)]
        actor = Actor(len(self.actors), script, list(self.actors), stubborn, end)
        if later is None:
            actor.greenlet = graftlet.spawn(actor.play)
        else:
            actor.greenlet = graftlet.spawn_later(later, actor.play)
            actor.start = self.now + later
        self.actors.append(actor)

    @precondition(lambda self: self.actors)
    @rule(which=whom)
    def wake(self, which: int) -> None:
        actor = self.pick(which)
        can_be_woken = (
            actor.state == "waiting" and not actor.goes_on and isinstance(actor.command, Park)
        )
        token = actor.tokens[-1] if actor.tokens else Reason("no wait at all")
        assert self.hub.wake(actor.greenlet, token) is can_be_woken
        if can_be_woken:
            actor.outcome = True

    @precondition(lambda self: self.actors)
    @rule(which=whom)
    def wake_a_wait_that_is_over(self, which: int) -> None:
        actor = self.pick(which)
        for token in actor.tokens[:-1]:
            assert self.hub.wake(actor.greenlet, token) is False

    @precondition(lambda self: self.actors)
    @rule(which=whom, exits=st.booleans())
    def kill(self, which: int, exits: bool) -> None:
        actor = self.pick(which)
        if actor.pending and actor.joins_later():
            return  # the schedule decides whether the join is a wait: no model could tell
        self.kills += 1
        actor.greenlet.kill((Left if exits else Killed)(self.kills))
        self.killed(actor, self.kills)

    @precondition(lambda self: self.actors)
    @rule(which=whom, exits=st.booleans())
    def post_a_kill(self, which: int, exits: bool) -> None:
        """As another native thread does."""
        actor = self.pick(which)
        if any(has_join(command) for command in actor.script):
            return  # as above
        self.kills += 1
        kill = (Left if exits else Killed)(self.kills)
        self.hub.post(lambda: actor.greenlet._kill_here(kill))
        self.posted.append((actor, self.kills))

    @precondition(lambda self: self.actors)
    @rule(which=whom, kind=kinds)
    def link(self, which: int, kind: str) -> None:
        actor = self.pick(which)
        key = (actor.number, len(self.links))

        def receive(ended: Greenlet) -> None:
            assert ended is actor.greenlet
            assert ended.ready()
            self.told[key] += 1

        methods = {
            "any": actor.greenlet.link,
            "value": actor.greenlet.link_value,
            "exception": actor.greenlet.link_exception,
        }
        methods[kind](receive)
        self.links.append((actor, kind, receive))

    @precondition(lambda self: any(actor.state != "done" for actor, *_ in self.links))
    @rule(which=whom)
    def unlink(self, which: int) -> None:
        live = [number for number, link in enumerate(self.links) if link[0].state != "done"]
        number = live[which % len(live)]
        actor, _, receive = self.links[number]
        actor.greenlet.unlink(receive)
        self.links[number] = (actor, "taken back", receive)

    @rule(seconds=st.integers(0, 4))
    def advance(self, seconds: int) -> None:
        """Time passes, and the hub hasn't seen it yet."""
        self.clock.advance(seconds)

    @rule()
    def settle(self) -> None:
        wait_all_parked()
        self.predict()
        self.compare()

    @rule(seconds=st.integers(1, 6))
    def sleep(self, seconds: int) -> None:
        until = self.now + seconds
        now: float = self.now
        graftlet.sleep(seconds)
        wait_all_parked()
        assert self.now == until
        self.predict(now)
        while (now := self.next_event(now)) <= until:
            self.predict(now)
        self.compare()

    def teardown(self) -> None:
        with self.stack:
            if self.broken:
                return  # one failure is enough
            self.settle()
            if self.actors:
                graftlet.killall([actor.greenlet for actor in self.actors], Killed, timeout=1000)
            wait_all_parked()
            assert_hub_empty()
            for actor in self.actors:
                assert not actor.greenlet._joiners
                assert not actor.greenlet._links
            assert all(alarm.deadline == float("inf") for *_, alarm in self.hub.deadlines.heap)

    # -- The model

    @property
    def now(self) -> int:
        return int(self.clock.now)

    def pick(self, which: int) -> Actor:
        return self.actors[which % len(self.actors)]

    def killed(self, actor: Actor, kill: int) -> None:
        if actor.state == "unborn":
            actor.finish(self.now, kill)
        elif actor.state == "waiting":
            actor.pending.append(kill)

    def next_event(self, now: float) -> float:
        times = [time for actor in self.actors for time in self.times_of(actor) if time > now]
        return min(times, default=float("inf"))

    @staticmethod
    def times_of(actor: Actor) -> Iterator[float]:
        if actor.state == "waiting":
            yield actor.deadline
            yield actor.limit
        elif actor.state == "unborn" and actor.start is not None:
            yield actor.start

    def predict(self, now: float | None = None) -> None:
        """Everything that happens at the instant ``now``."""
        instant = self.now if now is None else int(now)
        open_joins: list[tuple[Actor, int, Actor]] = []
        posted, self.posted = self.posted, []
        for actor, kill in posted:
            self.killed(actor, kill)
        while True:
            # The hub's order: what was posted, what is due, who is ready.
            for actor in self.actors:
                actor.fire(instant)
            running = [actor for actor in self.actors if actor.goes_on]
            if not running:
                break
            for actor in running:
                late = actor.outcome in {False, "timeout"} and not actor.pending
                if late and isinstance(actor.command, Join):
                    # Whether the target's end came first is known only at the end of the instant.
                    target = actor.target(actor.command)
                    open_joins.append((actor, len(actor.expected), target))
                actor.run(instant)
        for actor, number, target in open_joins:
            if target.done_at == instant:
                actor.expected[number].add(True)

    def compare(self) -> None:
        self.broken = True
        for actor in self.actors:
            assert len(actor.log) == len(actor.expected), actor
            for found, allowed in zip(actor.log, actor.expected, strict=True):
                # True == 1, and kills have numbers: compared with their types.
                assert any(found == each and type(found) is type(each) for each in allowed), actor
            greenlet = actor.greenlet
            assert greenlet.ready() is (actor.state == "done")
            if actor.state == "done":
                self.compare_end(actor)
        failed = [
            actor.greenlet
            for actor in self.actors
            if actor.state == "done" and actor.began and actor.greenlet.exception is not None
        ]
        assert Counter(self.reported) == Counter(failed)
        for number, (actor, kind, _) in enumerate(self.links):
            good = actor.greenlet.successful()
            wanted = {"any": True, "value": good, "exception": not good}.get(kind, False)
            assert self.told[actor.number, number] == (wanted and actor.state == "done")
        self.broken = False

    @staticmethod
    def compare_end(actor: Actor) -> None:
        greenlet, result = actor.greenlet, actor.result
        ended_by = greenlet.exception or greenlet.value
        if isinstance(result, type):
            assert type(ended_by) is result
        elif isinstance(ended_by, (Killed, Left)):
            assert ended_by.args[0] == result
        else:
            assert greenlet.value == result == actor.number
        assert greenlet.successful() is not isinstance(greenlet.exception, Exception)
        assert greenlet.successful() is not isinstance(ended_by, (Killed, Failure))

    # -- What holds at any time

    @invariant()
    def each_is_in_one_place(self) -> None:
        hub = self.hub
        assert len(set(hub.ready)) == len(hub.ready), "ready twice"
        for actor in self.actors:
            parked = actor.greenlet.waiting is not None
            assert not (parked and actor.greenlet in hub.ready)
            assert parked is (actor.state == "waiting" and not actor.goes_on)
        tasks = [worker.task for worker in hub.workers if worker.task is not None]
        assert len(set(tasks)) == len(tasks)
        for worker in hub.workers:
            assert (worker.task is None) is (worker in hub.idle)


def has_join(command: Command) -> bool:
    return isinstance(command.command if isinstance(command, Limited) else command, Join)


GreenletMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
# Some hundred programs of some dozen steps.
TestGreenlets = pytest.mark.slow(GreenletMachine.TestCase)
