"""Compares what graftlet (or gevent) did with what plain Python did, and with what is expected.

Rule: pure functions on records. A test counts if it passed in both runs under plain Python; one that
passed in one of them only is called flaky and counts nowhere. A test that counts and does anything but
pass, being skipped or not existing included, is a failure.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from integration.stdlib.conformance.records import CRASH, HANG, MISSING, OK, Outcome, Run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integration.stdlib.conformance.expected import Entry


@dataclass
class Comparison:
    """One file, judged."""

    file: str
    tests: int  # that exist under plain Python
    counted: list[str] = field(default_factory=list)  # passed twice
    flaky: dict[str, str] = field(default_factory=dict)  # test -> "ok, then fail"
    failures: dict[str, Outcome] = field(default_factory=dict)  # of tests that count
    extra: dict[str, Outcome] = field(default_factory=dict)  # of fixtures, import and exit

    @property
    def passed(self) -> int:
        return len(self.counted) - len(self.failures)

    @property
    def all_failures(self) -> dict[str, Outcome]:
        return {**self.failures, **self.extra}


def compare(file: str, plain: list[Run], run: Run | None) -> Comparison:
    """Judge `run` by the runs under plain Python; without a run, say only what counts."""
    first, second = plain
    keys = list(dict.fromkeys([*first.tests, *second.tests]))
    result = Comparison(file, tests=len(keys))
    for key in keys:
        pair = (_outcome(first, key), _outcome(second, key))
        if pair == (OK, OK):
            result.counted.append(key)
        elif OK in pair:
            result.flaky[key] = ", then ".join(pair)
    if run is not None:
        for key in result.counted:
            outcome = run.tests.get(key) or _missing(run)
            if outcome.outcome != OK:
                result.failures[key] = outcome
        known = {*first.extra, *second.extra}
        result.extra = {key: each for key, each in run.extra.items() if key not in known}
    return result


def _outcome(run: Run, key: str) -> str:
    return run.tests[key].outcome if key in run.tests else MISSING


def _missing(run: Run) -> Outcome:
    if run.skipped:
        return Outcome(MISSING, 0.0, f"the whole file was skipped: {run.skipped}")
    if run.extra:
        name, outcome = next(iter(run.extra.items()))
        return Outcome(MISSING, 0.0, f"{name}: {outcome.outcome}\n{outcome.detail}")
    return Outcome(MISSING, 0.0, "no such test in this run")


def not_to_run(plain: Iterable[Run]) -> list[str]:
    """Tests that hang or crash plain Python: they count nowhere and only cost time."""
    found = {
        key for run in plain for key, each in run.tests.items() if each.outcome in (HANG, CRASH)
    }
    return sorted(found)


def not_to_count(plain: Run) -> list[str]:
    """Tests that a second run under plain Python cannot make count."""
    return [key for key, each in plain.tests.items() if each.outcome != OK]


def with_passes_of(run: Run, plain: Run) -> Run:
    """`plain`, which left out what passes in `run`: that is taken to pass plain as well."""
    passes = {key: each for key, each in run.tests.items() if each.outcome == OK}
    return replace(plain, tests={**passes, **plain.tests})


def usual_seconds(plain: Iterable[Run]) -> dict[str, float]:
    """How long each test takes in plain Python, at most."""
    found: dict[str, float] = {}
    for run in plain:
        for key, each in run.tests.items():
            if each.outcome == OK:
                found[key] = max(found.get(key, 0.0), each.seconds)
    return found


@dataclass
class Judgement:
    """The comparison of one file against expected.toml."""

    comparison: Comparison
    unexpected: dict[str, Outcome]  # failures without an entry
    expected: dict[str, Entry]
    passes_now: list[Entry]
    pointless: dict[str, Entry]  # why -> entry: it names no test that counts

    @property
    def good(self) -> bool:
        return not (self.unexpected or self.passes_now or self.pointless)


def judge(comparison: Comparison, entries: Iterable[Entry]) -> Judgement:
    """`entries`: those of this file and this version."""
    failures = comparison.all_failures
    counted = set(comparison.counted)
    expected: dict[str, Entry] = {}
    passes_now = []
    pointless = {}
    for entry in entries:
        if entry.test in failures:
            expected[entry.test] = entry
        elif entry.test in counted or entry.test.startswith(("<", "tearDown")):
            passes_now.append(entry)
        elif entry.test in comparison.flaky:
            pointless[f"{entry.test} is flaky under plain Python"] = entry
        else:
            pointless[f"{entry.test} does not pass under plain Python, or does not exist"] = entry
    unexpected = {key: each for key, each in failures.items() if key not in expected}
    return Judgement(comparison, unexpected, expected, passes_now, pointless)
