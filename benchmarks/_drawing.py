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
    height = 0.8 / len(names)
    figure, axes = plots.subplots(figsize=(9, 1.5 + len(shown) * (0.15 + 0.11 * len(names))))
    for index, name in enumerate(names):
        places, ratios, below, above = [], [], [], []
        for place, row in enumerate(shown):
            if name in row.ratios:
                ratio = row.ratios[name]
                places.append(place + (index - (len(names) - 1) / 2) * height)
                ratios.append(ratio.median - 1)
                below.append(ratio.median - ratio.low)
                above.append(ratio.high - ratio.median)
        axes.barh(
            places,
            ratios,
            height=height,
            left=1,
            xerr=(below, above),
            color=COLOURS[name],
            error_kw={"elinewidth": 0.7, "ecolor": "#555555"},
            label=name,
        )
    base = shown[0].base
    axes.set_xscale("log")
    axes.set_xticks([0.25, 0.5, 1, 2, 5, 10], ["¼", "½", "1", "2", "5", "10"])
    axes.minorticks_off()
    axes.axvline(1, color="#000000", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [row.title for row in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(f"times {base}'s figure (right of 1: {base} is better)")
    versions = ", ".join(f"{key} {value}" for key, value in machine["versions"].items())
    axes.set_title(f"{machine['python']}, {versions}\n{machine['processor']}", fontsize=8)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(to, format="svg", metadata={"Date": None})
    plots.close(figure)
