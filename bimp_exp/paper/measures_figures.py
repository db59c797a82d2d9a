"""Measures of what the paper only draws: envelopes, shorter dense training, criteria. As ``paper.measures``."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from bimp_exp.paper.columns import Column
from bimp_exp.paper.measures import SAME, Measure, Statistic, mean_over_columns


def narrows(names: Sequence[str], wide: str, narrow: str) -> Measure:
    """Seed by seed how much the range over ``names`` is larger under the schedule ``wide`` than under ``narrow``."""

    def spread(column: Column, schedule: str) -> dict[int, float]:
        rows = [column.rows[f"{schedule} {name}"].tests for name in names if f"{schedule} {name}" in column.rows]
        seeds = set.intersection(*(set(each) for each in rows)) if len(rows) > 1 else set()
        return {seed: max(r[seed] for r in rows) - min(r[seed] for r in rows) for seed in seeds}

    def measure(columns: Sequence[Column]) -> Statistic | None:
        found = []
        for column in columns:
            a, b = spread(column, wide), spread(column, narrow)
            found += [{seed: a[seed] - b[seed] for seed in a.keys() & b.keys()}]
        return mean_over_columns([values for values in found if values])

    return measure


def within_budget(row: str, baseline: str, most: float) -> Measure:
    """``row``, whose cycles and epochs validation chooses among those of at most ``most`` x T in all, minus the baseline.

    most: infinite for the largest total alone.
    """

    def measure(columns: Sequence[Column]) -> Statistic | None:
        found = []
        for sparsity in sorted({c.sparsity for c in columns}):
            of = [c for c in columns if c.sparsity == sparsity]
            bases = [c.rows[baseline].tests for c in of if baseline in c.rows]
            totals = {c.cycles * c.fraction: None for c in of if row in c.rows and c.cycles and c.fraction}
            limit = max(totals, default=0.0) if most == inf else most
            least = limit if most == inf else 0.0
            rows = [
                c.rows[row]
                for c in of
                if row in c.rows and c.cycles and c.fraction and least - SAME <= c.cycles * c.fraction <= limit + SAME
            ]
            if bases and rows:
                best = max(rows, key=lambda r: r.validation).tests
                found.append({seed: best[seed] - bases[0][seed] for seed in best.keys() & bases[0].keys()})
        return mean_over_columns([values for values in found if values])

    return measure


def spread_of(row: str, full: str) -> Measure:
    """Seed by seed the largest minus the smallest deviation of ``row`` from ``full`` over the columns."""

    def measure(columns: Sequence[Column]) -> Statistic | None:
        found = [
            {
                seed: c.rows[row].tests[seed] - value
                for seed, value in c.rows[full].tests.items()
                if seed in c.rows[row].tests
            }
            for c in columns
            if row in c.rows and full in c.rows
        ]
        seeds = set.intersection(*(set(each) for each in found)) if len(found) > 1 else set()
        if not seeds:
            return None
        per_seed = {seed: max(d[seed] for d in found) - min(d[seed] for d in found) for seed in sorted(seeds)}
        return Statistic(per_seed=per_seed, columns=len(found), agreeing=len(found))

    return measure


def collapses(row: str, above: float) -> Measure:
    """The share of seeds of which ``row`` loses a whole layer beyond the sparsity ``above`` in one shot, and never in cycles."""

    def measure(columns: Sequence[Column]) -> Statistic | None:
        once = [c.rows[row] for c in columns if row in c.rows and c.cycles == 1 and c.sparsity > above]
        often = [c.rows[row] for c in columns if row in c.rows and c.cycles != 1]
        if not (once and often and all(r.runs for r in [*once, *often])):
            return None
        lost = {run.seed for r in once for run in r.runs if run.collapsed}
        kept = {run.seed for r in often for run in r.runs} - {
            run.seed for r in often for run in r.runs if run.collapsed
        }
        seeds = sorted({run.seed for r in once for run in r.runs})
        return Statistic(
            per_seed={seed: float(seed in lost and seed in kept) for seed in seeds},
            columns=len(once) + len(often),
            agreeing=len(lost),
        )

    return measure
