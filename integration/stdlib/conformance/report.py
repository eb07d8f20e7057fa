"""docs/conformance.md, from the recorded verdicts and expected.toml.

Rule: pure text out of records, the same for the same verdicts; nobody edits the page by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.stdlib.conformance import expected, files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from integration.stdlib.conformance.recorded import Recorded, Verdict

_INTRODUCTION = """\
# Conformance

CPython's own test suite is the impartial judge of "behaves as with real threads". The files that
touch threads, sockets, processes, signals, locks and whatever is built on them are run unmodified,
test by test: twice under plain Python, then under graftlet. A test counts if it passes plain Python
both times; it passes under graftlet only if it runs there and succeeds. A test that is skipped under
graftlet, or that does not exist there, has failed. There are no retries. (Files marked with a star were
judged the quick way: plain Python was asked about those tests only that did not pass under graftlet, and
what passes there is taken to pass plain as well.)

Everything runs without a display and with the loopback interface only. Before any test is run, the
runner proves that patching is active: a `Thread` makes no native thread, each blocking call lets
others run, `select.epoll` included, and so it is in the Python children that a test starts.

This page is generated: `python integration/stdlib/run.py --report`. How to repeat a run is said in
`integration/README.md`.
"""


def share(part: int, whole: int) -> str:
    """A share as text, rounded down: 100.0 % means all."""
    return f"{part * 1000 // whole / 10:.1f} %" if whole else "-"


def write(versions: list[Recorded], entries: list[expected.Entry]) -> str:
    """The whole page."""
    lines = [_INTRODUCTION]
    if not versions:
        return "\n".join([*lines, "There are no results yet.", ""])
    lines += _overview(versions, entries)
    for version in versions:
        lines += _section(version, [each for each in entries if each.version == version.minor])
    return "\n".join(lines).rstrip() + "\n"


def _overview(versions: list[Recorded], entries: list[expected.Entry]) -> Iterator[str]:
    yield "## In short"
    yield ""
    yield (
        "| Python | under | files | tests | pass plain twice | pass under graftlet | share | "
        "cannot hold | open faults |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|"
    for version in versions:
        ours = version.under("graftlet")
        tests, counted, passed = _sum(ours.values())
        kinds = [
            sum(each.version == version.minor and each.kind == kind for each in entries)
            for kind in expected.CLASSES
        ]
        yield (
            f"| {version.version} | {_runtime(ours)} | {len(ours)} of {len(version.files)} | "
            f"{tests:,} | {counted:,} | {passed:,} | {share(passed, counted)} | {kinds[0]} | {kinds[1]} |"
        )
    yield ""
    yield '"Cannot hold": a greenlet cannot behave so, and the reason says why. "Open fault": graftlet'
    yield "is wrong and will be mended."
    yield ""


def _runtime(verdicts: dict[str, Verdict]) -> str:
    return ", ".join(sorted({each.runtime for each in verdicts.values()})) or "-"


def _sum(verdicts: Iterable[Verdict]) -> tuple[int, int, int]:
    found = list(verdicts)
    return (
        sum(each.tests for each in found),
        sum(each.counted for each in found),
        sum(each.passed for each in found),
    )


def _section(version: Recorded, entries: list[expected.Entry]) -> Iterator[str]:
    ours, theirs = version.under("graftlet"), version.under("gevent")
    yield f"## Python {version.version}"
    yield ""
    if not all(each.proven for each in ours.values()):
        yield "**Not conformance: the proof that patching is active did not hold.**"
        yield ""
    yield from _table(ours, theirs)
    yield from _exceptions(ours, entries)
    flaky = {
        f"{file}: {test}": how
        for file, each in {**theirs, **ours}.items()
        for test, how in each.flaky.items()
    }
    if flaky:
        yield "Not counted, because they do not pass plain Python every time:"
        yield ""
        for key, how in sorted(flaky.items()):
            yield f"- `{key}` ({how})"
        yield ""
    for file, each in sorted(ours.items()):
        if each.skipped:
            yield f"`{file}` is skipped as a whole under plain Python: {_plain_text(each.skipped)}"
            yield ""
    if version.absent:
        yield f"This interpreter's distribution comes without {_names(version.absent)}."
        yield ""
    if not_run := [each for each in version.files if each not in ours]:
        yield f"Not run: {_names(not_run)}."
        yield ""


def _table(ours: dict[str, Verdict], theirs: dict[str, Verdict]) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for file in {**ours, **theirs}:
        groups.setdefault(files.group(file), []).append(file)
    baseline = f" {_runtime(theirs)} |" if theirs else ""
    yield f"| file | tests | pass plain twice | {_runtime(ours)} | share |{baseline}"
    yield "|---|--:|--:|--:|--:|" + ("--:|" if theirs else "")
    for name, members in groups.items():
        star = "\\*" if any(ours[each].quick for each in members if each in ours) else ""
        yield _row(
            f"`{name}`{star}",
            [ours[each] for each in members if each in ours],
            [theirs[each] for each in members if each in theirs],
            bool(theirs),
        )
    # Only a total over the same files can be compared.
    comparable = ours.keys() == theirs.keys()
    yield _row(
        "all", list(ours.values()), list(theirs.values()) if comparable else [], bool(theirs)
    )
    yield ""


def _row(
    name: str,
    ours: list[Verdict],
    theirs: list[Verdict],
    with_baseline: bool,
) -> str:
    tests, counted, passed = _sum(ours or theirs)
    mine = f"{passed:,} | {share(passed, counted)}" if ours else "- | -"
    row = f"| {name} | {tests:,} | {counted:,} | {mine} |"
    if with_baseline:
        _, counted, passed = _sum(theirs)
        row += f" {passed:,} ({share(passed, counted)}) |" if theirs else " - |"
    return row


def _exceptions(ours: dict[str, Verdict], entries: list[expected.Entry]) -> Iterator[str]:
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
    unexplained = [
        f"- `{file}`: `{test}` ({outcome})"
        for file, each in sorted(ours.items())
        for test, outcome in each.all_failures.items()
        if (file, test) not in named
    ]
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
