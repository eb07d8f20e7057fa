"""`python -m benchmarks`: run the cases side by side and show, keep and draw what came out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from . import _drawing, _machine, _report
from ._cases import CASES, MEAN, chosen
from ._runner import Runner, Wrong, fail
from ._runtimes import MAIN, ORIENTATION, RUNTIMES, Unavailable


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run unmodified threaded programs in turn under graftlet and what it replaces.",
        epilog="Exit status: 0, or 1 if a program failed, lied or answered wrongly, or if --goals"
        " was given and a goal was missed.",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="CASE",
        help="a case, the beginning of names up to a dash, or a pattern; may be given more than"
        " once, or with commas",
    )
    parser.add_argument("--list", action="store_true", help="show the cases and stop")
    parser.add_argument("--rounds", type=int, help="rounds of A B A B (5, with --quick 2)")
    parser.add_argument("--quick", action="store_true", help="small sizes: a look, not a proof")
    parser.add_argument(
        "--runtimes",
        metavar="NAMES",
        help=f"with commas, of {', '.join(RUNTIMES)}; the first is what the others are compared"
        " with (default: all, those for orientation only if they are installed)",
    )
    parser.add_argument("--cpu", type=int, help="keep everything on this one processor")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds a program may take")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all figures here")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw here (needs matplotlib)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    parser.add_argument(
        "--saved", type=Path, metavar="FILE", help="run nothing: show a file that --json made"
    )
    parser.add_argument("--goals", action="store_true", help="fail if a goal is missed")
    return parser


def _runtimes(given: str | None) -> list[str]:
    """The runtimes to run, checked; those for orientation are left out if they are missing."""
    names = [name.strip() for name in given.split(",")] if given else [*MAIN, *ORIENTATION]
    if unknown := [name for name in names if name not in RUNTIMES]:
        raise Unavailable(f"unknown runtime {', '.join(unknown)}; known: {', '.join(RUNTIMES)}")
    present = []
    for name in names:
        lacking = RUNTIMES[name].missing()
        if not lacking:
            present.append(name)
        elif given or not RUNTIMES[name].orientation:
            raise Unavailable(
                f"{name} needs {', '.join(lacking)}: install it, or name the others: --runtimes "
                + ",".join(other for other in names if not RUNTIMES[other].missing())
            )
        else:
            print(f"{name}: left out, {', '.join(lacking)} isn't installed", file=sys.stderr)
    return present


def _list() -> None:
    for case in CASES:
        print(f"{case.name:20} {case.about} ({case.program}; {', '.join(case.runtimes)})")


def _measure(given: argparse.Namespace) -> tuple[dict[str, Any], list[_report.Row], list[str]]:
    """Run; the JSON, the rows and the runtimes."""
    patterns = [pattern for words in given.only for pattern in words.split(",") if pattern]
    cases = chosen(patterns)
    runtimes = _runtimes(given.runtimes)
    rounds = given.rounds or (2 if given.quick else 5)
    if given.cpu is not None:
        os.sched_setaffinity(0, {given.cpu})
    machine = _machine.described()
    with tempfile.TemporaryDirectory(prefix="graftlet-benchmarks-") as workplace:
        runner = Runner(
            Path(workplace),
            quick=given.quick,
            timeout=given.timeout,
            progress=lambda line: print(line, file=sys.stderr, flush=True),
        )
        session = runner.run(cases, runtimes, rounds)
    rows = _report.rows(session.measures, runtimes[0])
    settings = {
        "rounds": rounds,
        "quick": given.quick,
        "runtimes": runtimes,
        "cases": [case.name for case in cases],
        "cpu": given.cpu,
    }
    return _report.as_json(session, rows, machine, settings), rows, runtimes


def main() -> int:
    given = _parser().parse_args()
    if given.list:
        _list()
        return 0
    try:
        if given.saved:
            kept = json.loads(given.saved.read_text(encoding="utf-8"))
            rows, runtimes = _report.rows_from_json(kept), kept["settings"]["runtimes"]
        else:
            kept, rows, runtimes = _measure(given)
        if given.json:
            written = json.dumps(kept, indent=1, ensure_ascii=False)
            given.json.write_text(written + "\n", encoding="utf-8")
        if given.markdown:
            written = _report.markdown(rows, runtimes, kept["machine"])
            given.markdown.write_text(written, encoding="utf-8")
        if given.svg:
            _drawing.draw(rows, runtimes, kept["machine"], given.svg)
    except (Wrong, Unavailable, ValueError, OSError) as error:
        return fail(str(error))
    print(_report.text(rows, runtimes))
    for name, reason in kept["not_run"].items():
        print(f"{name}: not run, {reason}")
    missed = [row.title for row in rows if not all(met for _, met in row.goals)]
    mean = _report.means(rows).get(MEAN.against)
    everything = len(kept["settings"]["cases"]) == len(CASES)
    if everything and runtimes[0] == "graftlet" and mean is not None and mean < MEAN.at_least:
        missed.append(f"geometric mean (>= {MEAN.at_least:g} of {MEAN.against})")
    if given.goals and (missed or kept["not_run"]):
        return fail(f"goals missed: {', '.join(missed) or 'none, but not every case was run'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
