"""Tests of a claim over seeds: a number per seed against what the paper says of it.

Columns of a table share dense networks, so they are no replicates: each seed counts once, with its mean over columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from bimp_exp.report.statistics import ALPHA, SAME, one_sided, t_interval, tost

Answer = Literal["supported", "contradicted", "undecided"]
Values = Mapping[str, Mapping[int, float]]
"""Column -> seed -> value."""


@dataclass(frozen=True, kw_only=True)
class Tested:
    """The mean over seeds with its 95 % interval, one-sided p for and against the claim (None below two seeds), the answer."""

    n: int
    mean: float
    low: float | None
    high: float | None
    p_support: float | None
    p_contradict: float | None
    verdict: Answer


def above(per_seed: Sequence[float], bound: float) -> Tested:
    """ "The mean is above ``bound``"."""
    return _tested(per_seed, lambda m, se, df: (one_sided(m - bound, se, df), one_sided(bound - m, se, df)))


def inside(per_seed: Sequence[float], bound: float) -> Tested:
    """ "The mean lies in (-bound, bound)": two one-sided tests for it; against it, that the mean is beyond the nearer bound."""
    return _tested(per_seed, lambda m, se, df: (max(tost(m, se, df, bound)), one_sided(abs(m) - bound, se, df)))


def _tested(per_seed: Sequence[float], test: Callable[[float, float, float], tuple[float, float]]) -> Tested:
    """test: of mean, standard error and degrees of freedom, p for and against."""
    made = t_interval(per_seed)
    two = (None, None) if made.std is None else test(made.mean, made.std / sqrt(made.n), made.n - 1)
    return Tested(
        n=made.n,
        mean=made.mean,
        low=made.low,
        high=made.high,
        p_support=two[0],
        p_contradict=two[1],
        verdict=answer(*two),
    )


def answer(p_support: float | None, p_contradict: float | None) -> Answer:
    """Of the two p values, adjusted or not."""
    if p_support is not None and p_support < ALPHA:
        return "supported"
    if p_contradict is not None and p_contradict < ALPHA:
        return "contradicted"
    return "undecided"


def claim_difference(
    a: Values, b: Values, direction: Literal["greater", "less"] = "greater", margin: float = 0.0
) -> tuple[Tested, list[float], int]:
    """ "a is greater (less) than b, or by less than ``margin`` on the other side", the numbers per seed, the columns that agree.

    Common columns and, of these, common seeds; ValueError without any.
    """
    columns = [column for column in a if column in b]
    seeds = sorted(set.intersection(*(a[c].keys() & b[c].keys() for c in columns))) if columns else []
    if not seeds:
        raise ValueError("no column or no seed is common to both")
    sign = 1 if direction == "greater" else -1
    per_seed = [sign * float(np.mean([a[c][seed] - b[c][seed] for c in columns])) for seed in seeds]
    means = [sign * float(np.mean([a[c][seed] - b[c][seed] for seed in seeds])) for c in columns]
    return above(per_seed, -margin), per_seed, sum(mean >= -SAME for mean in means)


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Of a row: columns, in how many its mean is best or second, the same by seed, and its mean rank."""

    columns: int
    count: int
    per_seed: list[int]
    mean_rank: float


def best_or_second(row: str, table: Mapping[str, Values]) -> Ranks:
    """How often ``row`` has at most one row above it (table: column -> row -> seed -> value); rows within SAME are equal."""

    def rank(values: Mapping[str, float]) -> int:
        return 1 + sum(other > values[row] + SAME for other in values.values())

    seeds = sorted(set.intersection(*(set(values) for rows in table.values() for values in rows.values())))
    ranks = [rank({name: float(np.mean([v[s] for s in seeds])) for name, v in rows.items()}) for rows in table.values()]
    by_seed = [[rank({name: v[s] for name, v in rows.items()}) for rows in table.values()] for s in seeds]
    return Ranks(
        columns=len(ranks),
        count=sum(each <= 2 for each in ranks),
        per_seed=[sum(each <= 2 for each in of) for of in by_seed],
        mean_rank=float(np.mean(ranks)),
    )
