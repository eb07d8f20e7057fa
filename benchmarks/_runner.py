"""Start the programs in turn, check what they print, and collect the figures.

Rule: a figure is only kept if its program ended well, gave the right answer, and ran on the runtime
whose name it carries. Anything else ends the whole run with `Wrong`: a benchmark that is fast
because it did not do the work is worse than none.

The order is A B A B: within a round each runtime runs the case once, so that neighbours in time are
what is compared.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._cases import Case
from ._runtimes import PROGRAMS, RUNTIMES, judge_native, native_command, options


class Wrong(Exception):
    """A program failed, gave a wrong answer, or ran on something else than its runtime."""


@dataclass
class Measure:
    """One measure of one case: for each runtime a figure a round."""

    case: Case
    name: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)
    title: str = ""


@dataclass
class Session:
    """What a whole run measured: measures by case and name, and every run in full."""

    measures: list[Measure] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


class Runner:
    """Runs cases under runtimes; `progress` is told of every figure, for the impatient."""

    def __init__(
        self,
        workplace: Path,
        *,
        quick: bool = False,
        timeout: float = 300.0,
        progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.workplace = workplace
        self.quick = quick
        self.timeout = timeout
        self.progress = progress

    def run(self, cases: Sequence[Case], runtimes: Sequence[str], rounds: int) -> Session:
        """Every case under every runtime that it can run on, `rounds` times in turn."""
        session = Session()
        for case in cases:
            lacking = missing(case)
            if lacking:
                session.skipped[case.name] = f"needs {', '.join(lacking)}"
                self.progress(f"{case.name}: not run, needs {', '.join(lacking)}")
                continue
            able = [name for name in runtimes if name in case.runtimes]
            measures: dict[str, Measure] = {}
            for number in range(rounds):
                for name in able:
                    outcome = self.once(case, name)
                    session.runs.append(
                        {"case": case.name, "round": number, "runtime": name, **outcome}
                    )
                    figures = self._collect(case, name, outcome, measures)
                    self.progress(f"{case.name} [{number + 1}/{rounds}] {name}: {figures}")
            for measure in measures.values():
                several = len(measures) > 1
                measure.title = f"{case.name}:{measure.name}" if several else case.name
            session.measures.extend(measures.values())
        return session

    def once(
        self,
        case: Case,
        name: str,
        prefix: Sequence[str] = (),
        sizes: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:
        """Run a case once under a runtime and return the line it printed, checked.

        `prefix` is a command to run it under (a profiler), `sizes` replaces the case's own.
        """
        sizes = case.sizes(self.quick) if sizes is None else sizes
        runtime = RUNTIMES[name]
        if case.native:
            command = native_command(name, case.program, options(sizes))
        else:
            command = runtime.command(case.program, options(sizes), self.workplace)
        where = f"{case.name} under {name}"
        outcome = parsed(where, finished(where, [*prefix, *command], self.timeout))
        evidence = outcome["evidence"]
        doubts = judge_native(name, evidence) if case.native else runtime.judge(evidence)
        if doubts:
            raise Wrong(f"{where}: it did not really run there: {'; '.join(doubts)}")
        expected = case.answer(sizes)
        if outcome["answer"] != expected:
            raise Wrong(f"{where}: wrong answer {outcome['answer']}, expected {expected}")
        return outcome

    def _collect(
        self, case: Case, runtime: str, outcome: Mapping[str, Any], measures: dict[str, Measure]
    ) -> str:
        figures = []
        for name, measured in outcome["measures"].items():
            measure = measures.setdefault(name, Measure(case, name, measured["unit"]))
            figure = statistics.median(measured["values"])
            measure.values.setdefault(runtime, []).append(figure)
            figures.append(f"{name} {shown(figure, measure.unit)}")
        return ", ".join(figures)


def missing(case: Case) -> list[str]:
    """What a case needs and this machine has not."""
    modules = [name for name in case.needs if importlib.util.find_spec(name) is None]
    return modules + [name for name in case.needs_commands if shutil.which(name) is None]


def environment() -> dict[str, str]:
    """The programs' environment: the same hashes every time, and paths that survive a `cd`."""
    chosen = {**os.environ, "PYTHONHASHSEED": "0"}
    for name in (
        "PYTHONSAFEPATH",
        "PYTHONASYNCIODEBUG",
        "PYTHONDEVMODE",
        "PYTHONDONTWRITEBYTECODE",  # nobody compiles a program anew each time it starts
        "GEVENT_MONITOR_THREAD",
    ):
        chosen.pop(name, None)
    if path := chosen.get("PYTHONPATH"):
        absolute = [os.path.abspath(entry) for entry in path.split(os.pathsep) if entry]
        chosen["PYTHONPATH"] = os.pathsep.join(absolute)
    return chosen


def finished(where: str, command: Sequence[str], timeout: float) -> str:
    """Run a command to its end and return its standard output.

    It runs in a session of its own; if it takes too long, or we are interrupted, the whole of it is
    killed, so that no helper process stays behind.
    """
    process = subprocess.Popen(
        command,
        # Some launchers put the current directory, not the program's, on the path.
        cwd=PROGRAMS,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise Wrong(f"{where}: not ready after {timeout:.0f} s\n{errors}") from None
        raise
    if process.returncode:
        raise Wrong(f"{where}: exit status {process.returncode}\n{output}{errors}")
    return output


def parsed(where: str, output: str) -> dict[str, Any]:
    """The program's line of JSON, the last that it printed."""
    try:
        outcome = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        raise Wrong(f"{where}: its last line is not JSON:\n{output}") from None
    if not isinstance(outcome, dict) or not outcome.get("measures"):
        raise Wrong(f"{where}: it measured nothing:\n{output}")
    return outcome


def shown(value: float, unit: str) -> str:
    """A figure for people: time in a fitting unit, memory in KiB."""
    if unit == "bytes":
        return f"{value / 1024:.2f} KiB"
    if unit == "ratio":
        return f"{value:.3f}"
    for limit, scale, name in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms")):
        if value < limit:
            return f"{value * scale:.3g} {name}"
    return f"{value:.3g} s"


def fail(message: str) -> int:
    """Tell standard error; the exit status of a run that can't be trusted."""
    print(f"benchmarks: {message}", file=sys.stderr)
    return 1
