"""Figures 3 to 7: the best result of every total of retraining against a baseline, and what shorter dense training costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from bimp_exp.paper.selection import Candidate, select
from bimp_exp.report.statistics import ALPHA, one_sided, paired_difference


@dataclass(frozen=True, kw_only=True)
class EnvelopePoint:
    """The setting that validation chose for a total, its test mean, lowest and highest seed, and the comparison with the baseline.

    best_so_far: the largest mean up to this total. difference: from the baseline, mean over common seeds.
    p_noninferior: one-sided, paired, of "above -margin"; None below two common seeds.
    """

    total: float
    setting: Mapping[str, Any]
    mean: float
    low: float
    high: float
    best_so_far: float
    best_on_test: float
    difference: float | None
    p_noninferior: float | None


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """first_at_baseline: the smallest total that is not below the baseline. first_noninferior: the smallest with p < 0.05."""

    points: list[EnvelopePoint]
    first_at_baseline: float | None
    first_noninferior: float | None


def envelope(
    candidates: Mapping[float, Sequence[Candidate]], seeds: Sequence[int], baseline: Mapping[int, float], margin: float
) -> Envelope:
    """The envelope over totals (total -> candidates in the order of the grid)."""
    points: list[EnvelopePoint] = []
    for total in sorted(candidates):
        chosen = select(candidates[total], seeds)
        if chosen is None:
            continue
        tests = {s: v for s, v in candidates[total][chosen.place].test.items() if s in seeds}
        so_far = max([chosen.test_mean, *(point.best_so_far for point in points)])
        difference, p = noninferiority(tests, baseline, margin)
        points.append(
            EnvelopePoint(
                total=total,
                setting=chosen.setting,
                mean=chosen.test_mean,
                low=min(tests.values()),
                high=max(tests.values()),
                best_so_far=so_far,
                best_on_test=chosen.best_on_test[1],
                difference=difference,
                p_noninferior=p,
            )
        )
    return Envelope(
        points=points,
        first_at_baseline=next((q.total for q in points if q.difference is not None and q.difference >= 0), None),
        first_noninferior=next(
            (q.total for q in points if q.p_noninferior is not None and q.p_noninferior < ALPHA), None
        ),
    )


def noninferiority(
    tests: Mapping[int, float], baseline: Mapping[int, float], margin: float
) -> tuple[float | None, float | None]:
    """The paired difference, and the p of "above -margin"; None where the seeds do not suffice."""
    if not tests.keys() & baseline.keys():
        return None, None
    made = paired_difference(tests, baseline)
    if made.std is None:
        return made.mean, None
    return made.mean, one_sided(made.mean + margin, made.std / sqrt(made.n), made.n - 1)


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """Of the seeds of a shorter training from their own full one, in points; relative_percent: mean, in percent of the full."""

    mean: float
    low: float
    high: float
    relative_percent: float


def deviation(lines: Mapping[Any, Mapping[int, float]], full: Any) -> dict[Any, Deviation]:
    """Length of training -> deviation, over the seeds that it has in common with the full length."""
    whole = lines[full]
    found = {}
    for length, tests in lines.items():
        seeds = sorted(tests.keys() & whole.keys())
        if seeds:
            apart = [tests[seed] - whole[seed] for seed in seeds]
            relative = [100 * (tests[seed] - whole[seed]) / whole[seed] for seed in seeds]
            found[length] = Deviation(
                mean=float(np.mean(apart)), low=min(apart), high=max(apart), relative_percent=float(np.mean(relative))
            )
    return found
