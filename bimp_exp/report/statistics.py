"""Intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Mean and t interval; std (ddof 1), low, high and half_width are None for a single value."""

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    half_width: float | None


@dataclass(frozen=True, kw_only=True)
class PairedDifference(Interval):
    """p: of a two-sided t test of a mean difference of 0; None for a single pair."""

    p: float | None


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The two-sided t interval of the mean of ``values``, of which there is at least one."""
    from scipy.stats import t

    n, mean = len(values), fmean(values)
    if n == 1:
        return Interval(n=n, mean=mean, std=None, low=None, high=None, half_width=None)
    std = stdev(values)
    half = float(t.isf((1 - level) / 2, n - 1)) * std / math.sqrt(n)
    return Interval(n=n, mean=mean, std=std, low=mean - half, high=mean + half, half_width=half)


def paired_difference(a: Mapping[Any, float], b: Mapping[Any, float], level: float = 0.95) -> PairedDifference:
    """a - b over the common seeds, of which there is at least one; a, b: seed -> value."""
    from scipy.stats import t

    common = [seed for seed in a if seed in b]
    interval = t_interval([a[seed] - b[seed] for seed in common], level)
    p = None
    if interval.std is not None:
        error = interval.std / math.sqrt(interval.n)
        p = float(2 * t.sf(abs(interval.mean) / error, interval.n - 1)) if error else float(interval.mean == 0)
    return PairedDifference(**vars(interval), p=p)
