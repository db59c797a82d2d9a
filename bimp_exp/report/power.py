"""How many seeds a difference needs, and what difference so many seeds can tell: power of the t test (noncentral t)."""

from __future__ import annotations

from math import isnan, sqrt
from typing import Literal

from bimp_exp.report.statistics import ALPHA, SAME, t_quantile

Design = Literal["paired", "independent"]


def power(difference: float, sd: float, n: int, design: Design) -> float:
    """The probability that a two-sided t test at 0.05 finds a true ``difference``; sd: of pairs' differences, or of each side."""
    from scipy.special import nctdtr  # scipy.stats.nct gives the same, after a second of importing

    df, centre = _design(difference / sd, n, design)
    limit = t_quantile(1 - ALPHA / 2, df)
    below, not_above = (float(nctdtr(df, centre, t)) for t in (-limit, limit))
    return 1 - _number(not_above) + _number(below)


def required_n(difference: float, sd: float, power_wanted: float = 0.8, design: Design = "paired") -> tuple[int, float]:
    """The fewest values (of each side), at least 2, that reach the power, and the power that they have."""
    if sd <= SAME:
        return 2, 1.0
    high = 2
    while power(difference, sd, high, design) < power_wanted:
        high *= 2
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(difference, sd, middle, design) >= power_wanted else (middle, high)
    high = max(high, 2)
    return high, power(difference, sd, high, design)


def detectable(sd: float, n: int, power_wanted: float = 0.8, design: Design = "paired") -> float:
    """The difference that ``n`` values tell with that power."""
    low, high = 0.0, sd
    while power(high, sd, n, design) < power_wanted:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, sd, n, design) >= power_wanted else (middle, high)
    return high


def half_width(sd: float, n: int, design: Design) -> float:
    """Of the 95 % interval of a difference."""
    df, _ = _design(0.0, n, design)
    return t_quantile(1 - ALPHA / 2, df) * sd * sqrt((2 if design == "independent" else 1) / n)


def _design(effect: float, n: int, design: Design) -> tuple[float, float]:
    """Degrees of freedom and the centre of the noncentral t, for an effect in standard deviations."""
    return (n - 1, effect * sqrt(n)) if design == "paired" else (2 * n - 2, effect * sqrt(n / 2))


def _number(probability: float) -> float:
    """0 for NaN, which the noncentral t gives far below its centre."""
    return 0.0 if isnan(probability) else probability
