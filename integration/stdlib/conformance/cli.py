"""The command: what is run, what is printed, and the exit status.

Rule: this module ties the others together and holds no knowledge about tests. Exit status 0: as
expected; 1: something is not; 2: the run could not be made as asked; 3: patching is not active.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from integration.stdlib.conformance import expected, files, recorded, records, report, verdict
from integration.stdlib.conformance.job import Job
from integration.stdlib.conformance.pool import Pool, PoolError, Worker
from integration.stdlib.conformance.records import OK, SKIP, Run, Store
from integration.stdlib.conformance.target import UNDER, Target, TargetError, identify

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE: Final = Path(__file__).resolve().parent.parent
DRIVER: Final = HERE / "driver.py"
PROVE: Final = HERE / "prove.py"
EXPECTED: Final = HERE / "expected.toml"
RECORDED: Final = HERE / "results"
REPORT: Final = HERE.parent.parent / "docs" / "conformance.md"

FAILED: Final = 1
IMPOSSIBLE: Final = 2
UNPATCHED: Final = 3


def main(script: Path, arguments: Sequence[str] | None = None) -> int:
    """Run the command; `script` is the file that starts it, and a worker when told so."""
    options = _parser().parse_args(arguments)
    try:
        if options.report is not None:
            return _report(options)
        if options.quick and options.under == "plain":
            raise PoolError("--quick is about plain Python's answer: it goes with --under graftlet")
        if options.record and (options.under == "plain" or options.test):
            raise PoolError("--record is for verdicts on whole files")
        return Session(script, options).run()
    except (TargetError, PoolError, expected.ExpectedError) as problem:
        print(f"run.py: {problem}", file=sys.stderr)
        return IMPOSSIBLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="Run CPython's own tests under graftlet, and judge the result by plain Python.",
    )
    add = parser.add_argument
    add("files", nargs="*", help="such as test_queue, test_asyncio, test_asyncio.test_events")
    add("--under", choices=UNDER, default="graftlet", help="what runs the tests (%(default)s)")
    add("--python", default=sys.executable, help="the interpreter to judge (this one)")
    add("--core", action="store_true", help="only the files that must never break")
    add(
        "--test",
        action="append",
        metavar="ID",
        help="only this test, by its id or the end of it; prints all, stores nothing",
    )
    add("--shards", type=int, default=2, metavar="N", help="files at a time (%(default)s)")
    add("--budget", type=float, metavar="S", help="begin no further file after S seconds")
    add(
        "--hang-after",
        type=float,
        default=45.0,
        metavar="S",
        help="a hang is S seconds without news, and five times what the test takes (%(default)s)",
    )
    add("--fresh", action="store_true", help="run plain Python again, though it is known")
    add(
        "--quick",
        action="store_true",
        help="take what passes here to pass plain as well; ask plain Python about the rest only; "
        "stores nothing",
    )
    add("--no-follow-children", action="store_true", help="leave `--follow-children` out")
    add("--unproven", action="store_true", help="go on though patching is not complete")
    add("--unconfined", action="store_true", help="go on though packets can leave the machine")
    add("--list", action="store_true", help="say which files would be run")
    add("--details", action="store_true", help="print the traceback of each failure")
    add("--record", action="store_true", help="keep the verdicts for docs/conformance.md")
    add(
        "--report",
        nargs="?",
        const=str(REPORT),
        metavar="FILE",
        help="run nothing: write docs/conformance.md from the verdicts that were kept",
    )
    add(
        "--results",
        type=Path,
        default=records.default_root(),
        metavar="DIR",
        help="where results are kept (%(default)s)",
    )
    return parser


def _report(options: argparse.Namespace) -> int:
    text = report.write(recorded.read_all(RECORDED), expected.load(EXPECTED))
    Path(options.report).write_text(text, encoding="utf-8")
    print(f"wrote {options.report}")
    return 0


class Session:
    """One call of the command on one interpreter."""

    def __init__(self, script: Path, options: argparse.Namespace) -> None:
        self.script = script
        self.options = options
        self.under: str = options.under
        self.target: Target = identify(options.python, self.under)
        self.entries = expected.load(EXPECTED) if self.under == "graftlet" else []
        names = options.files or _files_of(options.test) or _all(options.core)
        self.files, self.absent = files.expand(names, self.target.test_directory)
        self.begun = time.monotonic()

    def run(self) -> int:
        """Do what was asked; returns the exit status."""
        if self.options.list:
            print("\n".join(self.files))
            return 0
        unknown = [each for each in self.absent if each in self.options.files]
        if unknown or not self.files:
            raise PoolError(
                f"{self.target.python} ({self.target.about['version']}) has no "
                f"{', '.join(unknown or self.absent) or 'such file'} in its test package"
            )
        shards = 1 if self.options.test else max(1, min(self.options.shards, len(self.files)))
        with Pool(self.script, shards, not self.options.unconfined) as pool:
            self._introduce(pool)
            proven = self._prove(pool)
            if not proven and not self.options.unproven and self.under == "graftlet":
                print("run.py: patching is not active as a whole; see --unproven", file=sys.stderr)
                return UNPATCHED
            if self.options.test:
                return self._single(pool)
            store = self._store(pool)
            return self._all(pool, store, proven)

    def _introduce(self, pool: Pool) -> None:
        about = self.target.about
        print(f"{about['implementation']} {about['version']} ({self.target.python})")
        judge = (
            "plain Python, where they do not pass" if self.options.quick else "plain Python, twice"
        )
        print(f"tests under: {self.target.runtime(self.under)}; judged by: {judge}")
        print(f"network: {pool.how_confined or 'NOT CONFINED: packets can leave the machine'}")
        missing = [each for each in self.absent if each not in files.COME_AND_GO]
        if missing:
            print(f"this interpreter comes without: {', '.join(missing)}")
        sys.stdout.flush()

    def _prove(self, pool: Pool) -> bool:
        if self.under == "plain":
            return True
        proof = pool.workers[0].prove([*self._command(), str(PROVE)])
        for name, (holds, seen) in proof.items():
            if not holds:
                print(f"not patched: {name}: {seen}")
        holding = sum(bool(holds) for holds, _ in proof.values())
        print(f"patching: {holding} of {len(proof)} checks hold", flush=True)
        return holding == len(proof)

    def _command(self) -> list[str]:
        return self.target.command(self.under, not self.options.no_follow_children)

    def _store(self, pool: Pool) -> Store:
        key = self.target.key(pool.how_confined, os.getuid() == 0, files.RESOURCES)
        return Store(self.options.results, key)

    def _record(self, judged: verdict.Comparison, plain: Run, runtime: str, proven: bool) -> None:
        complete, absent = files.expand(files.FILES, self.target.test_directory)
        known = recorded.Recorded(
            minor=self.target.minor,
            version=self.target.about["version"],
            files=complete,
            absent=[each for each in absent if each not in files.COME_AND_GO],
        )
        summary = recorded.verdict_of(
            judged, plain, runtime, proven=proven, quick=self.options.quick
        )
        known.add(RECORDED, self.under, judged.file, summary)

    def _job(self, pool: Pool, file: str) -> Job:
        return Job(
            file=file,
            command=[*self._command(), str(DRIVER)],
            resources=files.resources(file, bool(pool.how_confined)),
            patched=self.under != "plain",
            hang_after=self.options.hang_after,
        )

    # Single tests

    def _single(self, pool: Pool) -> int:
        """Run a few tests and print all about them. Nothing is stored or expected."""
        found = 0
        good = True
        for file in self.files:
            job = self._job(pool, file)
            job.only, job.show = self.options.test, True
            run = pool.workers[0].run(job)
            found += len(run.tests)
            for key, outcome in {**run.tests, **run.extra}.items():
                good = good and (outcome.outcome == OK)
                print(f"{outcome.outcome:6} {outcome.seconds:7.2f} s  {file}: {key}")
                if outcome.detail:
                    print(_indent(outcome.detail))
            if run.skipped:
                print(f"{file} was skipped: {run.skipped}")
        if not found:
            print(f"no such test in {', '.join(self.files)}", file=sys.stderr)
            return IMPOSSIBLE
        return 0 if good else FAILED

    # Whole files

    def _all(self, pool: Pool, store: Store, proven: bool) -> int:
        todo = sorted(self.files, key=lambda file: -_expected_seconds(store, file))
        until = self.begun + self.options.budget if self.options.budget else None
        summary = Summary(self.target.runtime(self.under), judged=self.under == "graftlet")
        if self.options.quick:
            summary.counts = "pass here or plain twice"

        def do(worker: Worker, file: str) -> tuple[list[Run], Run | None]:
            if self.options.quick:
                return self._quick(pool, worker, file)
            plain = self._plain(pool, worker, store, file)
            if self.under == "plain":
                return plain, None
            job = self._job(pool, file)
            job.skip = verdict.not_to_run(plain)
            job.usual = verdict.usual_seconds(plain)
            return plain, worker.run(job, _tell)

        for number, (file, (plain, run)) in enumerate(pool.each(todo, do, until), 1):
            comparison = verdict.compare(file, plain, run)
            if run is not None and not self.options.quick:
                data = {"run": run.to_json(), "runtime": summary.runtime, "proven": proven}
                store.save(self.under, file, data)
            if self.options.record:
                self._record(comparison, plain[0], summary.runtime, proven)
            entries = expected.for_file(self.entries, file, self.target.minor)
            judgement = verdict.judge(comparison, entries if summary.judged else [])
            todo.remove(file)
            summary.add(judgement, run or plain[1])
            self._print(number, judgement, run or plain[1], summary.judged)
        return summary.finish(todo, time.monotonic() - self.begun)

    def _plain_job(self, pool: Pool, file: str) -> Job:
        job = self._job(pool, file)
        job.command, job.patched = [*self.target.command("plain"), str(DRIVER)], False
        job.hang_after = max(300.0, self.options.hang_after)  # nothing is known of its tests yet
        return job

    def _quick(self, pool: Pool, worker: Worker, file: str) -> tuple[list[Run], Run]:
        """Judge by as little of plain Python as can change the verdict."""
        job = self._job(pool, file)
        # Nothing is known of its tests but that those on the list fail, some of them by a hang.
        job.usual = {
            each.test: 0.0 for each in expected.for_file(self.entries, file, self.target.minor)
        }
        job.unknown = 15.0
        run = worker.run(job, _tell)
        job = self._plain_job(pool, file)
        job.skip = [key for key, each in run.tests.items() if each.outcome == OK]
        first = second = worker.run(job, _tell)  # knows tests that did not exist here, too
        job.skip = [*job.skip, *verdict.not_to_count(first)]
        if len(first.tests) > len(verdict.not_to_count(first)):
            second = worker.run(job, _tell)
        plain = [verdict.with_passes_of(run, each) for each in (first, second)]
        failures = verdict.compare(file, plain, run).failures
        if any(each.outcome == SKIP for each in failures.values()):
            # Alone it is not skipped. That may depend on a test before it.
            job.skip = []
            plain = [verdict.with_passes_of(run, worker.run(job, _tell))] * 2
        return plain, run

    def _plain(self, pool: Pool, worker: Worker, store: Store, file: str) -> list[Run]:
        """The two runs under plain Python, from the store if they are there."""
        known = None if self.options.fresh else store.load("plain", file)
        if known is not None:
            return [Run.from_json(each) for each in known["runs"]]
        job = self._plain_job(pool, file)
        first = worker.run(job, _tell)
        job.skip, job.usual = verdict.not_to_run([first]), verdict.usual_seconds([first])
        runs = [first, worker.run(job, _tell)]
        store.save("plain", file, {"runs": [each.to_json() for each in runs]})
        return runs

    def _print(self, number: int, judged: verdict.Judgement, run: Run, strict: bool) -> None:
        result = judged.comparison
        print(
            f"[{number:3}/{len(self.files)}] {result.file:44} {len(result.counted):5} count"
            f" {result.passed:5} pass {len(result.all_failures):4} fail {run.seconds:7.1f} s"
        )
        for key, outcome in judged.unexpected.items():
            mark = "NOT EXPECTED" if strict else "fails"
            print(f"      {mark}: {outcome.outcome:7} {key}: {_gist(outcome.detail)}")
            if self.options.details:
                print(_indent(outcome.detail))
        for entry in judged.passes_now:
            print(f"      PASSES NOW, remove its entry: {entry}")
        for why, entry in judged.pointless.items():
            print(f"      ENTRY WITHOUT POINT, {why}: {entry}")
        for each in run.leftovers:
            print(f"      left behind: {each}")
        sys.stdout.flush()


class Summary:
    """Adds up the files and says in the end how it went."""

    def __init__(self, runtime: str, judged: bool) -> None:
        self.runtime = runtime
        self.judged = judged
        self.counts = "pass plain twice"  # which tests were counted, in words
        self.counted = self.passed = self.hangs = self.crashes = 0
        self.bad: list[str] = []
        self.flaky: dict[str, str] = {}
        self.groups: dict[str, list[int]] = {}

    def add(self, judgement: verdict.Judgement, run: Run) -> None:
        """Count one file in."""
        result = judgement.comparison
        self.counted += len(result.counted)
        self.passed += result.passed
        outcomes = [each.outcome for each in result.all_failures.values()]
        self.hangs += outcomes.count(records.HANG)
        self.crashes += outcomes.count(records.CRASH)
        self.flaky.update({f"{result.file}: {key}": how for key, how in result.flaky.items()})
        group = self.groups.setdefault(files.group(result.file), [0, 0])
        group[0] += len(result.counted)
        group[1] += result.passed
        if not judgement.good:
            self.bad.append(result.file)

    def finish(self, not_run: list[str], seconds: float) -> int:
        """Print the summary; returns the exit status."""
        for key, how in self.flaky.items():
            print(f"flaky under plain Python, not counted: {key} ({how})")
        if not_run:
            print(f"NOT RUN, the time was up: {', '.join(sorted(not_run))}")
        for name, (counted, passed) in sorted(self.groups.items()):
            if name in files.CORE:
                print(f"{name:26} {passed:5} of {counted:5}  {report.share(passed, counted)}")
        print(
            f"{self.runtime}: {self.passed} of {self.counted} tests that {self.counts} "
            f"({report.share(self.passed, self.counted)}), {self.hangs} hangs, "
            f"{self.crashes} crashes, in {seconds:.0f} s"
        )
        if self.judged and self.bad:
            print(f"NOT AS EXPECTED: {', '.join(self.bad)}")
            return FAILED
        return 0


def _all(core: bool) -> Sequence[str]:
    return files.CORE if core else files.FILES


def _files_of(tests: Sequence[str] | None) -> list[str]:
    """The files that tests are in, by their ids: "test.test_queue.CQueueTest.test_basic"."""
    found = []
    for name in tests or ():
        parts = name.split(".")
        if parts[0] != "test" or len(parts) < 2 or parts[1].startswith("_"):
            raise PoolError(f"name the file of {name!r} as well: run.py test_queue --test {name}")
        found.append(parts[1])
    return list(dict.fromkeys(found))


def _expected_seconds(store: Store, file: str) -> float:
    """For the order: what is long, or not known, comes first."""
    known = store.load("plain", file)
    if known is None:
        return 1e6
    runs: list[dict[str, Any]] = known["runs"]
    return max(float(each["seconds"]) for each in runs)


def _tell(text: str) -> None:
    print(f"      ... {text}", flush=True)


def _gist(detail: str) -> str:
    """The line of a report that says most: its head, or the exception at the traceback's end."""
    lines = [each for each in detail.strip().splitlines() if each.strip()]
    if not lines:
        return ""
    if lines[0].startswith(("HANG", "CRASH", "in ")) or "Traceback" not in detail:
        return lines[0].strip()[:160]
    # An exception's text may have many lines; its first one begins with the type's name.
    raised = [each for each in lines if re.match(r"[\w.]+(: |$)", each)]
    return (raised or lines)[-1].strip()[:160]


def _indent(text: str) -> str:
    return "\n".join(f"        {line}" for line in text.rstrip().splitlines())
