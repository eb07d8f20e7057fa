"""The ratios as an SVG: one bar a case and runtime, with the spread. Needs matplotlib.

Rule: the file is the same for the same figures (fixed ids, no date), so that a commit shows only
what changed.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._report import Row
from ._runtimes import Unavailable
from ._statistics import Spread

#: Inches a bar is high, and how many bars' heights are between two rows.
BAR = 0.085
GAP = 1.2

COLOURS = {
    "gevent": "#3572a5",
    "eventlet": "#b08a3c",
    "threads": "#7a7a7a",
    "floor": "#333333",
    "asyncio": "#a55a9c",
    "uvloop": "#d0752f",
    "uvloop-protocol": "#e2a878",
    "graftlet": "#2e8b57",
}


def draw(
    all_rows: Sequence[Row], runtimes: Sequence[str], machine: dict[str, Any], to: Path
) -> None:
    """Draw how many times the base's figure each other runtime's is, on a logarithmic axis.

    Raises Unavailable if matplotlib isn't installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise Unavailable("drawing needs matplotlib: install it, or leave out --svg")
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "graftlet", "svg.fonttype": "none"})
    plots = importlib.import_module("matplotlib.pyplot")

    shown = [row for row in all_rows if row.ratios]
    if not shown:
        raise Unavailable("drawing needs two runtimes to compare")
    names = [name for name in runtimes if any(name in row.ratios for row in shown)]
    # Down the page in units of one bar: each row is as high as it has bars.
    middles, top = [], 0.0
    places: dict[str, list[tuple[float, Spread]]] = {name: [] for name in names}
    for row in shown:
        present = [name for name in names if name in row.ratios]
        middles.append(top + (len(present) - 1) / 2)
        for number, name in enumerate(present):
            places[name].append((top + number, row.ratios[name]))
        top += len(present) + GAP
    figure, axes = plots.subplots(figsize=(9, 1.2 + top * BAR))
    for name, bars in places.items():
        axes.barh(
            [place for place, _ in bars],
            [ratio.median - 1 for _, ratio in bars],
            height=0.9,
            left=1,
            xerr=(
                [ratio.median - ratio.low for _, ratio in bars],
                [ratio.high - ratio.median for _, ratio in bars],
            ),
            color=COLOURS[name],
            error_kw={"elinewidth": 0.7, "ecolor": "#555555"},
            label=name,
        )
    base = shown[0].base
    axes.set_xscale("log")
    axes.set_xticks([0.25, 0.5, 1, 2, 5, 10, 50], ["¼", "½", "1", "2", "5", "10", "50"])
    axes.minorticks_off()
    axes.axvline(1, color="#000000", linewidth=0.8)
    axes.set_yticks(middles, [row.title for row in shown], fontsize=7)
    axes.set_ylim(top - GAP / 2, -1)
    axes.grid(axis="x", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"times {base}'s figure (right of 1: {base} is better)")
    versions = ", ".join(f"{key} {value}" for key, value in machine["versions"].items())
    axes.set_title(f"{machine['python']}, {versions}\n{machine['processor']}", fontsize=8)
    axes.legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(to, format="svg", metadata={"Date": None})
    plots.close(figure)
