"""`python -m benchmarks.counts`: how many instructions an operation takes, against recorded figures.

Time depends on what else a machine does; instructions hardly do. So CI counts a few short cases
and fails when one takes more than 10 % over the figure in `counts.json`. A deliberate change updates
the record (`--record`) in the same commit, which says why.

How a figure comes about: the program runs twice, small and large, and the difference is divided by
the difference in operations: start-up, imports and shutdown cancel. Another build of the same
Python takes another number of instructions for the same work, so the calibration case (plain Python,
no runtime) is recorded too, and a recorded figure is scaled by it before it is compared.

Counted by valgrind's callgrind or, where that isn't installed, by `perf stat` (which needs hardware
counters, so not most virtual machines).
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._cases import CASES
from ._runner import Runner, Wrong, fail
from ._runtimes import PROGRAMS, RUNTIMES, Unavailable

RECORD = Path(__file__).resolve().parent / "counts.json"
LIMIT = 1.10


@dataclass(frozen=True)
class Count:
    """A case, the parameter that says how much is done, two sizes of it, and the rest."""

    case: str
    parameter: str
    small: int
    large: int
    fixed: Mapping[str, float]


CALIBRATION = Count("uncontended", "operations", 2000, 6000, {"repeats": 1})
COUNTS: dict[str, Count] = {
    "echo": Count("echo-1", "messages", 100, 400, {"repeats": 1}),
    "echo-timeouts": Count("echo-1-timeouts", "messages", 100, 400, {"repeats": 1}),
    "uncontended": CALIBRATION,
    "pingpong": Count("pingpong", "rounds", 200, 600, {"repeats": 1}),
    "churn": Count("churn", "threads", 200, 600, {"repeats": 1}),
    "spawn": Count("spawn", "greenlets", 1000, 3000, {"repeats": 1}),
    "sleep0": Count("sleep0", "yields", 20, 60, {"repeats": 1, "greenlets": 100}),
}


@dataclass(frozen=True)
class Tool:
    """A counter: the command to run a program under, and how to read what it wrote."""

    name: str
    prefix: Callable[[Path], list[str]]
    read: Callable[[Path], int]
    works: Callable[[], bool]


def _callgrind(output: Path) -> list[str]:
    return ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={output}"]


def _read_callgrind(output: Path) -> int:
    with open(output, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith(("summary:", "totals:")):
                return int(line.split()[1])
    raise Unavailable(f"callgrind wrote no summary to {output}")


def _perf(output: Path) -> list[str]:
    return ["perf", "stat", "-x", ",", "-e", "instructions:u", "-o", str(output), "--"]


def _read_perf(output: Path) -> int:
    for line in output.read_text(encoding="utf-8").splitlines():
        if "instructions" in line:
            return int(line.split(",")[0])
    raise Unavailable(f"perf wrote no count to {output}")


def _perf_works() -> bool:
    if shutil.which("perf") is None:
        return False
    command = ["perf", "stat", "-x", ",", "-e", "instructions:u", "true"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return tried.returncode == 0 and "not supported" not in tried.stderr


TOOLS = (
    Tool("callgrind", _callgrind, _read_callgrind, lambda: shutil.which("valgrind") is not None),
    Tool("perf", _perf, _read_perf, _perf_works),
)


class Counter:
    """Counts the instructions of an operation of a case under a runtime."""

    def __init__(self, tool: Tool, workplace: Path) -> None:
        self.tool = tool
        self.workplace = workplace
        self.runner = Runner(workplace, timeout=600.0)

    def per_operation(self, count: Count, runtime: str) -> float:
        """Instructions per unit of the case's parameter."""
        small = self._instructions(count, count.small, runtime)
        large = self._instructions(count, count.large, runtime)
        return (large - small) / (count.large - count.small)

    def _instructions(self, count: Count, size: int, runtime: str) -> int:
        output = self.workplace / "count"
        case = next(case for case in CASES if case.name == count.case)
        sizes = {**case.sizes(quick=False), **count.fixed, count.parameter: size}
        self.runner.once(case, runtime, prefix=self.tool.prefix(output), sizes=sizes)
        return self.tool.read(output)


def compared(name: str, now: float, recorded: float | None, scale: float) -> tuple[str, bool]:
    """A line about one case, and whether it is within the limit."""
    if recorded is None:
        return f"{name:16} {now:12,.0f}  no record", False
    allowed = recorded * scale
    ratio = now / allowed
    verdict = "within"
    if ratio > LIMIT:
        verdict = "GREW"
    elif ratio < 1 / LIMIT:
        verdict = "shrank: record it, so that the gain is kept"
    return f"{name:16} {now:12,.0f}  recorded {allowed:12,.0f}  {ratio:.3f}  {verdict}", (
        ratio <= LIMIT
    )


def _tool(name: str | None) -> Tool:
    for tool in TOOLS:
        if name in (None, tool.name) and tool.works():
            return tool
    raise Unavailable(f"{name or 'valgrind or perf (with hardware counters)'} isn't usable here")


def _kept() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    return kept


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.counts",
        description="Count instructions per operation and compare with the recorded figures.",
    )
    parser.add_argument("--record", action="store_true", help="keep what is counted now")
    parser.add_argument("--only", action="append", choices=sorted(COUNTS), help="this case")
    parser.add_argument("--runtime", default="graftlet", choices=("graftlet", "gevent", "eventlet"))
    parser.add_argument("--tool", choices=[tool.name for tool in TOOLS])
    return parser


def _directories(package: str) -> list[str]:
    """Where a package's modules are."""
    spec = importlib.util.find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec is not None else []


def main() -> int:
    given = _parser().parse_args()
    try:
        if lacking := RUNTIMES[given.runtime].missing():
            raise Unavailable(f"{given.runtime} needs {', '.join(lacking)}: install it")
        tool = _tool(given.tool)
        version = ".".join(platform.python_version_tuple()[:2])
        key = f"{platform.python_implementation()} {version} {platform.machine()} {tool.name}"
        kept = _kept()
        record: dict[str, Any] = kept.setdefault(key, {}).setdefault(given.runtime, {})
        recorded: dict[str, float] = record.setdefault("instructions", {})
        good = True
        with tempfile.TemporaryDirectory(prefix="graftlet-counts-") as workplace:
            # Or the first run alone would compile what the programs import, and would count it.
            for directory in (str(PROGRAMS), *_directories(given.runtime)):
                compileall.compile_dir(directory, quiet=2)
            counter = Counter(tool, Path(workplace))
            calibration = counter.per_operation(CALIBRATION, "threads")
            scale = calibration / record.get("calibration", calibration)
            print(f"{key}, {given.runtime}; calibration {calibration:,.0f} ({scale:.3f})")
            # Recorded one by one, a figure must be kept on the scale of its neighbours.
            record.setdefault("calibration", round(calibration))
            for name in given.only or COUNTS:
                now = counter.per_operation(COUNTS[name], given.runtime)
                line, within = compared(name, now, recorded.get(name), scale)
                print(line, flush=True)
                good = good and within
                recorded[name] = round(now / scale)
    except (Wrong, Unavailable, ValueError, OSError) as error:
        return fail(str(error))
    if given.record:
        written = json.dumps(kept, indent=2, sort_keys=True)
        RECORD.write_text(written + "\n", encoding="utf-8")
        return 0
    if not good:
        return fail(
            "a case takes more instructions than recorded, or has no record. If it is meant to,"
            " run with --record and commit benchmarks/counts.json with the reason"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
