"""Whether our runs reproduce a printed mean of two seeds: a moderated Welch test, an equivalence test, and a verdict.

Alone, Welch's test with two printed seeds has one degree of freedom. So the variance of a cell borrows from its stratum, the cells
of equal table, metric and sparsity (Smyth 2004): s0 is the stratum's standard deviation, d0 how many degrees of freedom it has.
All values are in points; v stands for a variance, f for its degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median
from typing import Literal

import numpy as np

from bimp_exp.report.statistics import ALPHA, benjamini_hochberg, t_quantile, t_test, tost

Verdict = Literal[
    "reproduced", "within noise but imprecise", "contradicted higher", "contradicted lower", "not run", "not comparable"
]
HEAVY_TAILED = ("2", "10", "12", "18", "23", "24", "28", "29")
"""Tables whose printed standard deviations do not fit one sigma in each stratum."""
ROUNDING = 0.01  # of printed means, in points
NORMAL = 0.6744897501960817  # the median of |z|, z standard normal
FEWEST = 3  # cells of ours that make a common variance
MARGINS = {"accuracy": 0.5, "miou": 1.0, "bleu": 0.5}
FAR = 0.9
"""Below this share of the dense accuracy the margin of accuracy is twice as wide."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A printed number and ours. stratum: its sparsity. dense: the dense reference. ours: None where nothing has run."""

    name: str
    stratum: str
    metric: str
    dense: float
    published_mean: float
    published_std: float
    ours: Sequence[float] | None
    comparable: bool


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The verdict, and its numbers where there was a comparison.

    prior_published, prior_ours: s0 squared of the stratum, None where too few of our cells make one.
    difference: ours - printed, with standard error, degrees of freedom and 95 % interval.
    p: two-sided. p_adjusted: over the table's compared cells of the metric (Benjamini-Hochberg). p_tost: of equivalence.
    """

    verdict: Verdict
    prior_published: float
    prior_ours: float | None = None
    n: int = 0
    mean: float | None = None
    std: float | None = None
    difference: float | None = None
    se: float | None = None
    df: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    p: float | None = None
    p_tost: float | None = None
    p_adjusted: float | None = None


def margin(cell: Compared) -> float:
    """How far apart equal results may be, in points."""
    wide = cell.metric == "accuracy" and cell.published_mean < FAR * cell.dense
    return 1.0 if wide else MARGINS[cell.metric]


def judge(table: str, cells: Sequence[Compared]) -> dict[str, Judged]:
    """The verdict of every cell of a table, by its name."""
    d0 = 2 if table in HEAVY_TAILED else 8
    priors = {key: _printed_prior(of) for key, of in _strata(cells).items()}
    ours = {key: _our_prior(of) for key, of in _strata(cells).items()}
    found: dict[str, Judged] = {}
    for cell in cells:
        key = (cell.metric, cell.stratum)
        if cell.ours is None:
            found[cell.name] = Judged(verdict="not run", prior_published=priors[key])
        elif not _is_compared(cell):
            found[cell.name] = Judged(verdict="not comparable", prior_published=priors[key])
        else:
            found[cell.name] = _compare(cell, d0, priors[key], ours[key])
    return _adjusted(cells, found)


def _strata(cells: Sequence[Compared]) -> dict[tuple[str, str], list[Compared]]:
    found: dict[tuple[str, str], list[Compared]] = {}
    for cell in cells:
        found.setdefault((cell.metric, cell.stratum), []).append(cell)
    return found


def _is_compared(cell: Compared) -> bool:
    return cell.comparable and cell.ours is not None and len(cell.ours) > 1


def _printed_prior(cells: Sequence[Compared]) -> float:
    return float((median(cell.published_std for cell in cells) / NORMAL) ** 2)


def _our_prior(cells: Sequence[Compared]) -> float | None:
    ours = [cell.ours for cell in cells if cell.ours is not None and _is_compared(cell)]
    if len(ours) < FEWEST:
        return None
    weights = [len(values) - 1 for values in ours]
    return float(np.average([np.var(values, ddof=1) for values in ours], weights=weights))


def _compare(cell: Compared, d0: int, printed: float, prior: float | None) -> Judged:
    assert cell.ours is not None
    n, mean, variance = len(cell.ours), float(np.mean(cell.ours)), float(np.var(cell.ours, ddof=1))
    v_ours, f_ours = (
        (variance, n - 1) if prior is None else ((d0 * prior + (n - 1) * variance) / (d0 + n - 1), d0 + n - 1)
    )
    # the maximum guards against a lucky pair of printed seeds
    v_printed, f_printed = max((d0 * printed + cell.published_std**2) / (d0 + 1), v_ours), d0 + 1
    a, b = v_ours / n, v_printed / 2
    se = sqrt(a + b + ROUNDING**2 / 12)
    spread = a**2 / f_ours + b**2 / f_printed
    df = (a + b) ** 2 / spread if spread > 0 else float(f_ours + f_printed)
    difference = mean - cell.published_mean
    width = t_quantile(1 - ALPHA / 2, df) * se
    return Judged(
        verdict="within noise but imprecise",
        prior_published=printed,
        prior_ours=prior,
        n=n,
        mean=mean,
        std=sqrt(variance),
        difference=difference,
        se=se,
        df=df,
        low=difference - width,
        high=difference + width,
        margin=margin(cell),
        p=t_test(difference, se, df)[1],
        p_tost=max(tost(difference, se, df, margin(cell))),
    )


def _adjusted(cells: Sequence[Compared], found: Mapping[str, Judged]) -> dict[str, Judged]:
    """With p_adjusted and the verdicts that follow from it."""
    made = dict(found)
    for metric in dict.fromkeys(cell.metric for cell in cells):
        tested = [cell.name for cell in cells if cell.metric == metric and found[cell.name].p is not None]
        p = [found[name].p for name in tested]
        for name, q in zip(tested, benjamini_hochberg([value for value in p if value is not None]), strict=True):
            made[name] = Judged(**{**vars(found[name]), "p_adjusted": q, "verdict": _verdict(found[name], q)})
    return made


def _verdict(judged: Judged, q: float) -> Verdict:
    assert judged.p_tost is not None
    assert judged.difference is not None
    if judged.p_tost < ALPHA:
        return "reproduced"
    if q < ALPHA:
        return "contradicted higher" if judged.difference > 0 else "contradicted lower"
    return "within noise but imprecise"


def speedup(printed: float, printed_std: float, ours: Sequence[float]) -> tuple[float, float, float, Verdict]:
    """Our mean, the range in which it reproduces a speed-up that was printed rounded down, and the verdict; no p value."""
    mean = float(np.mean(ours))
    low, high = 0.9 * printed - 2 * printed_std, 1.1 * (printed + 1) + 2 * printed_std
    return mean, low, high, within(mean, low, high)


def within(mean: float, low: float, high: float) -> Verdict:
    """Whether a mean lies in a range."""
    return "contradicted higher" if mean > high else "contradicted lower" if mean < low else "reproduced"
