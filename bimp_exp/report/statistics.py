"""Intervals, differences and multiplicity for a few seeds: every table, plot and verdict takes its statistics from here.

The replicate is the seed. Functions are pure; values keep their unit. scipy is imported where it is needed, 0.4 s after the start.
Symbols: mean m, standard deviation s with ddof = 1, n values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf, sqrt
from typing import Literal

import numpy as np

LEVEL = 0.95
ALPHA = 0.05
SAME = 1e-9
"""Means no further apart than this are equal: they differ by rounding."""
EXACT = 6
"""Values up to which the bootstrap lists all resamples."""
Mark = Literal["best", "tie", "unknown", ""]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Mean, standard deviation and t interval; of a single value the mean alone."""

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    half_width: float | None


@dataclass(frozen=True, kw_only=True)
class Difference(Interval):
    """Of a - b. t, p: two-sided, None below two values. seeds: the common ones. correlation: None where one side has no spread."""

    t: float | None
    p: float | None
    seeds: tuple[int, ...] = ()
    correlation: float | None = None


@dataclass(frozen=True, kw_only=True)
class Welch:
    """The difference of two means of independent values (Welch 1947)."""

    difference: float
    df: float
    t: float
    p: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Two one-sided tests against a margin (Schuirmann 1987); the 90 % interval lies inside the margin iff equivalent."""

    mean: float
    p_lower: float
    p_upper: float
    p: float
    low90: float
    high90: float
    equivalent: bool


@dataclass(frozen=True, kw_only=True)
class Ties:
    """A column: means, p against the best (None where it has too few runs), p after Holm, the test, and the mark, by row."""

    means: dict[str, float]
    p: dict[str, float | None]
    p_adjusted: dict[str, float]
    test: dict[str, str]
    mark: dict[str, Mark]


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """m +- t(1 - (1 - level) / 2; n - 1) s / sqrt(n)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(n=len(values), mean=mean, std=None, low=None, high=None, half_width=None)
    std = float(np.std(values, ddof=1))
    width = t_quantile(1 - (1 - level) / 2, len(values) - 1) * std / sqrt(len(values))
    return Interval(n=len(values), mean=mean, std=std, low=mean - width, high=mean + width, half_width=width)


def bootstrap(values: Sequence[float], level: float = LEVEL) -> tuple[float, float, int]:
    """Ends of the bootstrap interval of the mean, and the number of resamples; too narrow below ten values.

    Up to EXACT values all n^n resamples with the quantiles of their distribution, above BCa (Efron 1987) with a fixed seed.
    """
    if len(values) <= EXACT:
        means = np.array([np.mean(each) for each in product(values, repeat=len(values))])
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
        return float(low), float(high), len(means)
    from scipy.stats import bootstrap as resample

    made = resample(
        (values,), np.mean, confidence_level=level, method="BCa", n_resamples=9999, rng=np.random.default_rng(0)
    )
    return float(made.confidence_interval.low), float(made.confidence_interval.high), 9999


def paired_difference(a: Mapping[int, float], b: Mapping[int, float], level: float = LEVEL) -> Difference:
    """The t interval of a - b over the common seeds; ValueError without any."""
    seeds = tuple(sorted(a.keys() & b.keys()))
    if not seeds:
        raise ValueError("no seed is common to both")
    interval = t_interval([a[seed] - b[seed] for seed in seeds], level)
    of_a, of_b = ([values[seed] for seed in seeds] for values in (a, b))
    spread = len(seeds) > 1 and np.ptp(of_a) > SAME and np.ptp(of_b) > SAME
    correlation = float(np.corrcoef(of_a, of_b)[0, 1]) if spread else None
    if interval.std is None:
        return Difference(**vars(interval), t=None, p=None, seeds=seeds, correlation=correlation)
    t, p = t_test(interval.mean, interval.std / sqrt(interval.n), interval.n - 1)
    return Difference(**vars(interval), t=t, p=p, seeds=seeds, correlation=correlation)


def welch_difference(x: Sequence[float], y: Sequence[float], level: float = LEVEL) -> Welch:
    """The difference of the means of x and y, with at least two values each."""
    mean = float(np.mean(x) - np.mean(y))
    a, b = (float(np.var(values, ddof=1)) / len(values) for values in (x, y))
    error = sqrt(a + b)
    df = (a + b) ** 2 / (a**2 / (len(x) - 1) + b**2 / (len(y) - 1)) if error > SAME else float(len(x) + len(y) - 2)
    t, p = t_test(mean, error, df)
    width = t_quantile(1 - (1 - level) / 2, df) * error
    return Welch(difference=mean, df=df, t=t, p=p, low=mean - width, high=mean + width)


def t_test(mean: float, error: float, df: float) -> tuple[float, float]:
    """t = mean / error and its two-sided p; without spread p is 1 where the mean is 0, else 0."""
    if error <= SAME:
        return (0.0, 1.0) if abs(mean) <= SAME else (inf if mean > 0 else -inf, 0.0)
    return mean / error, 2 * t_above(abs(mean / error), df)


def one_sided(mean: float, error: float, df: float) -> float:
    """The p of "greater than 0"."""
    if error <= SAME:
        return 0.0 if mean > SAME else 1.0
    return t_above(mean / error, df)


def t_above(t: float, df: float) -> float:
    """The probability of a value of Student's t above ``t``."""
    from scipy.special import stdtr

    return float(stdtr(df, -t))


def t_quantile(probability: float, df: float) -> float:
    """The quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p (Holm 1979): the i-th smallest becomes the largest of min(1, (m - j + 1) p(j)) over j <= i."""
    adjusted = [0.0] * len(p)
    largest = 0.0
    for rank, place in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = largest
    return adjusted


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjusted p of the false discovery rate (Benjamini and Hochberg 1995)."""
    from scipy.stats import false_discovery_control

    return [float(value) for value in false_discovery_control(p)] if len(p) else []


def tost(mean: float, error: float, df: float, margin: float) -> tuple[float, float]:
    """The p of "above -margin" and of "below margin"."""
    return one_sided(mean + margin, error, df), one_sided(margin - mean, error, df)


def tost_paired(a: Mapping[int, float], b: Mapping[int, float], margin: float) -> Equivalence:
    """Whether a - b over the common seeds, at least two, lies within the margin."""
    made = paired_difference(a, b, level=1 - 2 * ALPHA)
    assert made.std is not None
    assert made.low is not None
    assert made.high is not None
    lower, upper = tost(made.mean, made.std / sqrt(made.n), made.n - 1, margin)
    return Equivalence(
        mean=made.mean,
        p_lower=lower,
        p_upper=upper,
        p=max(lower, upper),
        low90=made.low,
        high90=made.high,
        equivalent=max(lower, upper) < ALPHA,
    )


def ties(column: Mapping[str, Mapping[int, float]]) -> Ties:
    """Which rows of a column (row -> seed -> value, higher is better) are best, and which are not told apart from the first best.

    A paired t test where both have the same seeds, else Welch's; Holm over the rows that are tested. A row with one run, or all
    but the best where that has one, is unknown.
    """
    means = {row: float(np.mean(list(values.values()))) for row, values in column.items() if values}
    if not means:
        return Ties(means={}, p={}, p_adjusted={}, test={}, mark={})
    largest = max(means.values())
    best = [row for row, mean in means.items() if mean >= largest - SAME]
    top = column[best[0]]
    p: dict[str, float | None] = {}
    test: dict[str, str] = {}
    for row in means:
        if row in best:
            continue
        values = column[row]
        if min(len(values), len(top)) < 2:
            p[row] = None
        elif values.keys() == top.keys():
            p[row], test[row] = paired_difference(top, values).p, "paired"
        else:
            p[row], test[row] = welch_difference(list(top.values()), list(values.values())).p, "welch"
    tested = {row: value for row, value in p.items() if value is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    mark: dict[str, Mark] = {}
    for row in means:
        if row in best:
            mark[row] = "best"
        elif row not in adjusted:
            mark[row] = "unknown"
        else:
            mark[row] = "tie" if adjusted[row] >= ALPHA else ""
    return Ties(means=means, p=p, p_adjusted=adjusted, test=test, mark=mark)
