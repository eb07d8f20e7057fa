"""Medians, spread, and ratios taken pair by pair.

Rule: a ratio is only ever taken between two runs of the same round, that is, between neighbours in
time. The machine's slow drift is then in both and cancels; a ratio of two medians would keep it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median with the lowest and the highest value seen."""

    median: float
    low: float
    high: float
    values: tuple[float, ...]


def spread(values: Sequence[float]) -> Spread:
    """The median and the extremes of at least one value."""
    return Spread(statistics.median(values), min(values), max(values), tuple(values))


def paired_ratios(others: Sequence[float], base: Sequence[float]) -> Spread:
    """How many times the base's figure each other's is, round by round."""
    return spread([other / own for other, own in zip(others, base, strict=True)])


def geometric_mean(values: Iterable[float]) -> float:
    """The mean for ratios: 2.0 and 0.5 cancel."""
    logarithms = [math.log(value) for value in values]
    return math.exp(statistics.fmean(logarithms))
