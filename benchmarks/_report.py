"""Tables for people and JSON for later: both from the same rows.

Rule: nothing is computed twice. `rows` turns measures into rows of figures and paired ratios; the
terminal's table, the Markdown table, the JSON file and the drawing all show these rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ._cases import Ceiling, Goal, GoalOrCeiling
from ._runner import Measure, Session, shown
from ._runtimes import RUNTIMES
from ._statistics import Spread, geometric_mean, paired_ratios, spread

FORMAT = 1


@dataclass(frozen=True)
class Row:
    """A measure: figures by runtime, ratios to the base by runtime, and goals with what became of them."""

    title: str
    unit: str
    base: str
    figures: dict[str, Spread]
    ratios: dict[str, Spread]
    in_mean: bool
    goals: tuple[tuple[str, bool], ...]


def rows(measures: Iterable[Measure], base: str) -> list[Row]:
    """The rows; `base` is the runtime that the others are compared with."""
    return [_row(measure, base) for measure in measures]


def _row(measure: Measure, base: str) -> Row:
    figures = {name: spread(values) for name, values in measure.values.items()}
    ratios = {
        name: paired_ratios(values, measure.values[base])
        for name, values in measure.values.items()
        if name != base and base in measure.values
    }
    goals = []
    if base == "graftlet":
        for goal in measure.case.goals_of(measure.name):
            met = _met(goal, figures, ratios)
            if met is not None:
                goals.append((_worded(goal), met))
    outside = measure.name in measure.case.outside_mean or measure.unit == "ratio"
    return Row(measure.title, measure.unit, base, figures, ratios, not outside, tuple(goals))


def _met(goal: GoalOrCeiling, figures: dict[str, Spread], ratios: dict[str, Spread]) -> bool | None:
    """Whether a goal was met; None if this run can't tell."""
    if isinstance(goal, Ceiling):
        return figures["graftlet"].median <= goal.at_most if "graftlet" in figures else None
    return ratios[goal.against].median >= goal.at_least if goal.against in ratios else None


def _worded(goal: GoalOrCeiling) -> str:
    if isinstance(goal, Goal):
        return f">= {goal.at_least:g} of {goal.against}"
    return f"<= {goal.at_most:g}"


def means(all_rows: Iterable[Row]) -> dict[str, float]:
    """The geometric mean of the ratios to each runtime, over the rows that count."""
    ratios: dict[str, list[float]] = {}
    for row in all_rows:
        if row.in_mean:
            for name, ratio in row.ratios.items():
                if not RUNTIMES[name].orientation:
                    ratios.setdefault(name, []).append(ratio.median)
    return {name: geometric_mean(values) for name, values in ratios.items()}


def _cells(row: Row, runtimes: Sequence[str]) -> list[str]:
    cells = [row.title]
    for name in runtimes:
        if name not in row.figures:
            cells.append("")
            continue
        cell = shown(row.figures[name].median, row.unit)
        ratio = row.ratios.get(name)
        if ratio is not None:
            cell += f"  {ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"
        cells.append(cell)
    missed = [goal for goal, met in row.goals if not met]
    if row.base == "graftlet":
        cells.append("missed: " + ", ".join(missed) if missed else "met" if row.goals else "")
    return cells


def _table(all_rows: Sequence[Row], runtimes: Sequence[str]) -> list[list[str]]:
    used = [name for name in runtimes if any(name in row.figures for row in all_rows)]
    head = ["case", *used]
    if any(row.base == "graftlet" for row in all_rows):
        head.append("goals")
    mean = means(all_rows)
    lines = [head, *(_cells(row, used) for row in all_rows)]
    if mean:
        cells = [f"{mean[name]:.2f}" if name in mean else "" for name in used]
        lines.append(["geometric mean", *cells, ""][: len(head)])
    return lines


def text(all_rows: Sequence[Row], runtimes: Sequence[str]) -> str:
    """The terminal's table. A ratio is the other's figure over the base's: over 1 the base is better."""
    lines = _table(all_rows, runtimes)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(all_rows: Sequence[Row], runtimes: Sequence[str], machine: dict[str, Any]) -> str:
    """The same for the documentation, with the machine it was measured on."""
    head, *body = _table(all_rows, runtimes)
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    hardware = f"{machine['processor']}, {machine['cores']} cores, {machine['kernel']}"
    lines = [
        f"{machine['python']}, {versions}; {hardware}.",
        "",
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
        *("| " + " | ".join(line) + " |" for line in body),
    ]
    return "\n".join(lines) + "\n"


def as_json(
    session: Session,
    all_rows: Sequence[Row],
    machine: dict[str, Any],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Everything: settings, machine, rows, means, and each run with all of its repeats."""
    return {
        "format": FORMAT,
        "settings": settings,
        "machine": machine,
        "rows": [asdict(row) for row in all_rows],
        "geometric_means": means(all_rows),
        "not_run": session.skipped,
        "runs": session.runs,
    }


def rows_from_json(saved: dict[str, Any]) -> list[Row]:
    """The rows of a file that `as_json` made, to show or draw them again."""
    if saved.get("format") != FORMAT:
        raise ValueError(f"format {saved.get('format')} isn't known, only {FORMAT}")

    def spreads(given: dict[str, Any]) -> dict[str, Spread]:
        return {
            name: Spread(one["median"], one["low"], one["high"], tuple(one["values"]))
            for name, one in given.items()
        }

    return [
        Row(
            row["title"],
            row["unit"],
            row["base"],
            spreads(row["figures"]),
            spreads(row["ratios"]),
            row["in_mean"],
            tuple((goal, met) for goal, met in row["goals"]),
        )
        for row in saved["rows"]
    ]
