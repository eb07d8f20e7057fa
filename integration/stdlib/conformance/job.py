"""Runs one test file to its end, in as many processes as it takes.

Rule: every test that was planned gets exactly one outcome, and each further process has at least one
test less to run. A hang, a crash or an escaped exception costs the test (or the fixture) it happened
in; the next process runs the rest. No test is ever run twice in one run.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from integration.stdlib.conformance.records import ABORT, CRASH, EXIT, HANG, IMPORT, Outcome, Run
from integration.stdlib.conformance.watch import Ended, Spec, watch

if TYPE_CHECKING:
    from collections.abc import Callable

_ESCAPED_STATUS: Final = 70  # driver.ESCAPED
_WORTH: Final = 20_000  # characters kept of a report on a hang or a crash


class Unpatched(Exception):
    """The launcher did not patch: nothing that passes would mean anything."""


@dataclass
class Job:
    """One run of one file."""

    file: str
    command: list[str]
    resources: list[str]
    patched: bool = False
    path: str = ""  # put in front of sys.path
    package: str = "test"
    only: list[str] | None = None
    skip: list[str] = field(
        default_factory=list
    )  # tests that cannot be run even under plain Python
    hang_after: float = 45.0  # seconds without an event, for a test that takes no time
    usual: dict[str, float] = field(default_factory=dict)  # seconds each test takes in plain Python
    unknown: float = 0.0  # the same for a test of which that is not known
    show: bool = False  # do not catch what the process prints


class _Process:
    """What one process has reported so far."""

    def __init__(self, run: Run, job: Job) -> None:
        self.run = run
        self.job = job
        self.plan: dict[str, tuple[str, str]] = {}  # key -> class and module, in order
        self.current: str | None = None
        self.fixture: str | None = None
        self.loaded = False
        self.ended = False
        self.unpatched = ""
        self.aborted = ""
        self.escaped: set[str] = set()

    def on_event(self, event: dict[str, Any]) -> None:
        if "plan" in event:
            self.loaded = True
            self.plan.update({key: (cls, module) for key, cls, module in event["plan"]})
        elif "start" in event:
            self.current = event["start"]
        elif "done" in event:
            self.current = None
            self._done(event)
        elif "fixture" in event:
            self.fixture = event["fixture"]
        elif "fixture_ended" in event:
            ended = Outcome(event["outcome"], 0.0, event["detail"])
            self.blame_fixture(event["fixture_ended"], ended)
        elif "escaped" in event:
            self.escaped.add(event["escaped"] or IMPORT)
        elif "module_skipped" in event:
            self.loaded = True
            self.run.skipped = event["module_skipped"]
        elif "aborted" in event:
            self.aborted = event["aborted"]
        elif "unpatched" in event:
            self.unpatched = event["unpatched"]
        elif "end" in event:
            self.ended = True

    def _done(self, event: dict[str, Any]) -> None:
        outcome = Outcome(event["outcome"], event["seconds"], event["detail"])
        if event["done"] in self.escaped:
            detail = "a forked child left its test and came back into the test runner\n"
            outcome = Outcome("error", outcome.seconds, detail + outcome.detail)
        self.run.tests[event["done"]] = outcome

    def patience(self) -> float:
        usual = self.job.usual.get(self.current or "", self.job.unknown)
        return self.job.hang_after + 5 * usual

    def blame_fixture(self, name: str, ended: Outcome) -> None:
        """Record a fixture that failed, and the tests it was to prepare.

        `name` is "setUpClass (package.module.Class)" or its kin, as unittest words it.
        """
        where = name.partition("(")[2].rstrip(")")
        outcome = Outcome(ended.outcome, 0.0, f"in {name}\n{ended.detail}")
        if name.startswith("setUp"):
            for key in self.rest():
                if where in self.plan[key]:
                    self.run.tests[key] = outcome
        elif ended.outcome != "skip":
            self.run.extra[name] = ended

    def rest(self) -> list[str]:
        return [key for key in self.plan if key not in self.run.tests]

    def blame(self, outcome: Outcome) -> bool:
        """Record how the process ended; False if there is no point in going on."""
        if self.current is not None:
            spent = self.job.usual.get(self.current, 0.0)
            self.run.tests[self.current] = Outcome(outcome.outcome, spent, outcome.detail)
        elif self.fixture is not None:
            before = len(self.run.tests)
            self.blame_fixture(self.fixture, outcome)
            if len(self.run.tests) == before:
                # A tear-down: it would not come again, so the rest can be run, unless it was
                # the last thing to do.
                self.run.extra[self.fixture] = outcome
        elif not self.loaded:
            self.run.extra[IMPORT] = outcome
            return False
        elif self.rest():  # between two tests: the next one to start is charged
            self.run.tests[self.rest()[0]] = outcome
        else:
            self.run.extra[EXIT] = outcome
        return bool(self.rest())


def run_file(job: Job, tell: Callable[[str], None] = lambda text: None) -> Run:
    """Run a file to its end; `tell` gets a line of progress now and then."""
    run = Run()
    begun = time.monotonic()
    while True:
        process = _Process(run, job)
        known = len(run.tests)
        spec = Spec(
            module=f"{job.package}.{job.file}",
            resources=job.resources,
            skip=[*job.skip, *run.tests],
            only=job.only,
            path=job.path,
            patched=job.patched,
        )
        ended = watch(job.command, process.on_event, process.patience, spec, job.show)
        run.processes += 1
        run.leftovers += ended.leftovers
        if process.unpatched:
            raise Unpatched(process.unpatched)
        go_on = _judge(process, ended)
        if not go_on or len(run.tests) == known:
            break
        tell(f"{job.file}: {_where(process)}; {len(process.rest())} tests to go")
    for key in process.rest():  # only when the file cannot be gone on with
        run.tests[key] = Outcome(CRASH, 0.0, "not reached: see the other failures of this file")
    run.seconds = round(time.monotonic() - begun, 1)
    return run


def _where(process: _Process) -> str:
    last = next(reversed(process.run.tests))
    return f"{process.run.tests[last].outcome} in {last}"


def _judge(process: _Process, ended: Ended) -> bool:
    """Record what the end of the process means; whether tests are left for another one."""
    output = f"\nlast output:\n{ended.output}" if ended.output.strip() else ""
    if ended.hung:
        text = f"HANG: nothing ended for {process.patience():.0f} s\n{ended.stacks}{output}"
        return process.blame(Outcome(HANG, 0.0, _keep(text)))
    if process.aborted:
        outcome = Outcome(ABORT if process.loaded else "error", 0.0, process.aborted)
        return process.blame(outcome)
    if not process.ended:
        text = f"CRASH: {ended.how()}{output}"
        return process.blame(Outcome(CRASH, 0.0, _keep(text)))
    if ended.status != 0:
        text = f"CRASH after the last test: {ended.how()}{output}"
        process.run.extra[EXIT] = Outcome(CRASH, 0.0, _keep(text))
    return bool(process.rest())


def _keep(text: str) -> str:
    """The start, which says what happened, and the end, which is the output's."""
    if len(text) <= _WORTH:
        return text
    head, tail = _WORTH * 2 // 3, _WORTH // 3
    return f"{text[:head]}\n[... {len(text) - head - tail} characters left out ...]\n{text[-tail:]}"
