"""docs/conformance.md, from the stored results and expected.toml.

Rule: pure text out of records, the same for the same results; nobody edits the page by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from integration.stdlib.conformance import expected, files, verdict
from integration.stdlib.conformance.records import Outcome, Run, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_INTRODUCTION = """\
# Conformance

CPython's own test suite is the impartial judge of "behaves as with real threads". The files that
touch threads, sockets, processes, signals, locks and whatever is built on them are run unmodified,
test by test: twice under plain Python, then under graftlet. A test counts if it passes plain Python
both times; it passes under graftlet only if it runs there and succeeds. A test that is skipped under
graftlet, or that does not exist there, has failed. There are no retries.

Everything runs without a display and with the loopback interface only. Before any test is run, the
runner proves that patching is active: a `Thread` makes no native thread, each blocking call lets
others run, `select.epoll` included, and so it is in the Python children that a test starts.

This page is generated: `python integration/stdlib/run.py --report`. How to repeat a run is said in
`integration/README.md`.
"""


@dataclass
class Version:
    """Everything that is stored about one version."""

    about: dict[str, Any]
    runtime: str = ""
    proven: bool = True
    comparisons: dict[str, verdict.Comparison] = field(default_factory=dict)
    baseline: str = ""
    baselines: dict[str, verdict.Comparison] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def minor(self) -> str:
        """The version as expected.toml names it."""
        return str(self.about["minor"])

    @property
    def not_run(self) -> list[str]:
        """Files of the list without a result."""
        return [each for each in self.about["files"] if each not in self.comparisons]


def share(part: int, whole: int) -> str:
    """A share as text, rounded down: 100.0 % means all."""
    return f"{part * 1000 // whole / 10:.1f} %" if whole else "-"


def read(store: Store) -> Version | None:
    """What is stored about one interpreter, if it was ever judged."""
    about = store.about()
    if about is None:
        return None
    version = Version(about)
    for file in about["files"]:
        stored = store.load("plain", file)
        if stored is None:
            continue
        plain = [Run.from_json(each) for each in stored["runs"]]
        for under, into in (("graftlet", version.comparisons), ("gevent", version.baselines)):
            result = store.load(under, file)
            if result is None:
                continue
            into[file] = verdict.compare(file, plain, Run.from_json(result["run"]))
            if under == "graftlet":
                version.runtime = result["runtime"]
                version.proven = version.proven and result["proven"]
                if plain[0].skipped:
                    version.skipped[file] = plain[0].skipped
            else:
                version.baseline = result["runtime"]
    return version


def choose(stores: Iterable[Store]) -> list[Version]:
    """For each minor version the interpreter with most results, oldest version first."""
    best: dict[tuple[int, ...], Version] = {}
    for store in stores:
        version = read(store)
        if version is None or not (version.comparisons or version.baselines):
            continue
        minor = tuple(int(part) for part in version.minor.split("."))
        other = best.get(minor)
        if other is None or _amount(version) > _amount(other):
            best[minor] = version
    return [best[minor] for minor in sorted(best)]


def _amount(version: Version) -> tuple[int, int]:
    return len(version.comparisons), len(version.baselines)


def write(stores: Iterable[Store], entries: list[expected.Entry]) -> str:
    """The whole page."""
    versions = choose(stores)
    lines = [_INTRODUCTION]
    if not versions:
        return "\n".join([*lines, "There are no results yet.", ""])
    lines += _overview(versions, entries)
    for version in versions:
        lines += _section(version, [each for each in entries if each.version == version.minor])
    return "\n".join(lines).rstrip() + "\n"


def _overview(versions: list[Version], entries: list[expected.Entry]) -> Iterator[str]:
    yield "## In short"
    yield ""
    yield (
        "| Python | under | tests | pass plain twice | pass under graftlet | share | "
        "cannot hold | open faults |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|"
    for version in versions:
        tests, counted, passed = _sum(version.comparisons.values())
        kinds = [
            sum(each.version == version.minor and each.kind == kind for each in entries)
            for kind in expected.CLASSES
        ]
        yield (
            f"| {version.about['version']} | {version.runtime or '-'} | {tests:,} | {counted:,} | "
            f"{passed:,} | {share(passed, counted)} | {kinds[0]} | {kinds[1]} |"
        )
    yield ""
    yield '"Cannot hold": a greenlet cannot behave so, and the reason says why. "Open fault": graftlet'
    yield "is wrong and will be mended."
    yield ""


def _sum(comparisons: Iterable[verdict.Comparison]) -> tuple[int, int, int]:
    found = list(comparisons)
    return (
        sum(each.tests for each in found),
        sum(len(each.counted) for each in found),
        sum(each.passed for each in found),
    )


def _section(version: Version, entries: list[expected.Entry]) -> Iterator[str]:
    about = version.about
    yield f"## Python {about['version']}"
    yield ""
    if not version.proven:
        yield "**Not conformance: the proof that patching is active did not hold.**"
        yield ""
    yield from _table(version)
    yield from _exceptions(version, entries)
    flaky = {
        f"{file}: {test}": how
        for file, each in {**version.baselines, **version.comparisons}.items()
        for test, how in each.flaky.items()
    }
    if flaky:
        yield "Not counted, because they do not pass plain Python every time:"
        yield ""
        for key, how in sorted(flaky.items()):
            yield f"- `{key}` ({how})"
        yield ""
    for file, reason in sorted(version.skipped.items()):
        yield f"`{file}` is skipped as a whole under plain Python: {_plain_text(reason)}"
        yield ""
    if about["absent"]:
        yield f"This interpreter's distribution comes without {_names(about['absent'])}."
        yield ""
    if version.not_run and version.comparisons:
        yield f"Not run: {_names(version.not_run)}."
        yield ""


def _table(version: Version) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for file in version.about["files"]:
        if file in version.comparisons or file in version.baselines:
            groups.setdefault(files.group(file), []).append(file)
    with_baseline = bool(version.baselines)
    baseline = f" {version.baseline} |" if with_baseline else ""
    yield f"| file | tests | pass plain twice | {version.runtime or 'graftlet'} | share |{baseline}"
    yield "|---|--:|--:|--:|--:|" + ("--:|" if with_baseline else "")
    for name, members in groups.items():
        ours = [version.comparisons[each] for each in members if each in version.comparisons]
        theirs = [version.baselines[each] for each in members if each in version.baselines]
        yield _row(f"`{name}`", ours, theirs, with_baseline)
    both = [each for each in version.comparisons if each in version.baselines]
    yield _row(
        "all",
        list(version.comparisons.values()),
        # Only a total over the same files can be compared.
        list(version.baselines.values())
        if len(both) == len(version.comparisons) or not both
        else [],
        with_baseline,
    )
    yield ""


def _row(
    name: str,
    ours: list[verdict.Comparison],
    theirs: list[verdict.Comparison],
    with_baseline: bool,
) -> str:
    tests, counted, passed = _sum(ours or theirs)
    mine = f"{passed:,} | {share(passed, counted)}" if ours else "- | -"
    row = f"| {name} | {tests:,} | {counted:,} | {mine} |"
    if with_baseline:
        _, counted, passed = _sum(theirs)
        row += f" {passed:,} ({share(passed, counted)}) |" if theirs else " - |"
    return row


def _exceptions(version: Version, entries: list[expected.Entry]) -> Iterator[str]:
    titles = {
        expected.CANNOT_HOLD: "Cannot hold for greenlets:",
        expected.OPEN_FAULT: "Open faults:",
    }
    for kind, title in titles.items():
        chosen = [each for each in entries if each.kind == kind]
        if chosen:
            yield title
            yield ""
            for entry in sorted(chosen, key=lambda each: (each.file, each.test)):
                yield f"- `{entry.file}`: `{entry.test}`. {_plain_text(entry.reason)}"
            yield ""
    named = {(each.file, each.test) for each in entries}
    unexplained: dict[str, Outcome] = {
        f"- `{file}`: `{test}` ({outcome.outcome})": outcome
        for file, each in sorted(version.comparisons.items())
        for test, outcome in each.all_failures.items()
        if (file, test) not in named
    }
    if unexplained:
        yield "Failing without an explanation:"
        yield ""
        yield from unexplained
        yield ""


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{each}`" for each in names)


def _plain_text(text: str) -> str:
    """One line that Markdown takes literally enough."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")
