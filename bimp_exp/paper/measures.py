"""What the claims measure: a number per seed over the columns of tables.

Each function makes a measure, which takes columns (``paper.columns``) and gives None where they lack what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

from bimp_exp.paper.columns import Column, Pick

SAME = 1e-9
ENOUGH = 4  # rows of a column in which being best or second says something


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A number per seed; the mean of the seeds says the same, that it is not below 0, in ``agreeing`` of ``columns`` columns."""

    per_seed: Mapping[int, float]
    columns: int
    agreeing: int


Measure = Callable[[Sequence[Column]], Statistic | None]
Where = Callable[[Sequence[Column]], Sequence[Column]]
"""Which columns a claim speaks of."""


def everywhere(columns: Sequence[Column]) -> Sequence[Column]:
    """All of them."""
    return columns


def short_and_dense(columns: Sequence[Column]) -> Sequence[Column]:
    """Of each table's one-shot columns those of the lowest sparsity and the shorter half of the budgets."""
    found: list[Column] = []
    for of in _by_source(columns):
        shots = [c for c in of if c.cycles == 1 and c.fraction is not None]
        low = [c for c in shots if c.sparsity == min(each.sparsity for each in shots)]
        short = sorted({c.fraction for c in low if c.fraction is not None})
        found += [c for c in low if c.fraction in short[: max(1, len(short) // 2)]]
    return found


def at(*sparsities: float) -> Where:
    """Those of these sparsities."""
    return lambda columns: [c for c in columns if c.sparsity in sparsities]


def on(dataset: str) -> Where:
    """Those of one data set, as the paper calls it."""
    return lambda columns: [c for c in columns if c.dataset == dataset]


def without_repeats(columns: Sequence[Column]) -> Sequence[Column]:
    """Without those of Table 2 that repeat Table 23."""
    return [c for c in columns if (c.source, c.dataset) != ("2", "CIFAR-10")]


def difference(a: Pick, b: Pick, where: Where = everywhere) -> Measure:
    """Seed by seed the mean over columns of ``a`` - ``b``."""

    def measure(columns: Sequence[Column]) -> Statistic | None:
        found = []
        for column in where(columns):
            of_a, of_b = a(column), b(column)
            if of_a and of_b and (seeds := of_a.keys() & of_b.keys()):
                found.append({seed: of_a[seed] - of_b[seed] for seed in seeds})
        return mean_over_columns(found)

    return measure


def mean_over_columns(found: Sequence[Mapping[int, float]]) -> Statistic | None:
    """Of values by seed, one mapping for each column; seeds that some column lacks are left out."""
    if not found:
        return None
    seeds = set.intersection(*(set(values) for values in found))
    if not seeds:
        return None
    return Statistic(
        per_seed={seed: float(np.mean([values[seed] for values in found])) for seed in sorted(seeds)},
        columns=len(found),
        agreeing=sum(float(np.mean(list(values.values()))) >= -SAME for values in found),
    )


def best_or_second(name: str, names: Sequence[str]) -> Measure:
    """Seed by seed the share of columns in which at most one of ``names`` is above ``name``; of columns with four rows or more."""

    def measure(columns: Sequence[Column]) -> Statistic | None:
        found = []
        for column in columns:
            tests = {each: column.rows[each].tests for each in names if each in column.rows}
            if name in tests and len(tests) >= ENOUGH:
                seeds = set.intersection(*(set(values) for values in tests.values()))
                above = {s: sum(each[s] > tests[name][s] + SAME for each in tests.values()) for s in seeds}
                found.append({seed: float(count <= 1) for seed, count in above.items()})
        made = mean_over_columns([values for values in found if values])
        if made is None:
            return None
        agreeing = sum(float(np.mean(list(values.values()))) > 0.5 for values in found if values)
        return Statistic(per_seed=made.per_seed, columns=made.columns, agreeing=agreeing)

    return measure


def shrinks(a: Pick, b: Pick) -> Measure:
    """Seed by seed how much ``a`` - ``b`` falls whenever a one-shot budget doubles: minus the slope, mean over sparsities."""

    def measure(columns: Sequence[Column]) -> Statistic | None:
        found: list[dict[int, float]] = []
        for of in _by_source(columns):
            for sparsity in sorted({c.sparsity for c in of}):
                lines: dict[int, list[tuple[float, float]]] = {}
                for column in (c for c in of if (c.sparsity, c.cycles) == (sparsity, 1) and c.fraction):
                    of_a, of_b = a(column), b(column)
                    for seed in (of_a or {}).keys() & (of_b or {}).keys():
                        assert of_a is not None
                        assert of_b is not None
                        assert column.fraction is not None
                        lines.setdefault(seed, []).append((log2(column.fraction), of_a[seed] - of_b[seed]))
                slopes = {s: -_slope(line) for s, line in lines.items() if len(line) > 1}
                found += [slopes] if slopes else []
        return mean_over_columns(found)

    return measure


def _slope(line: Sequence[tuple[float, float]]) -> float:
    return float(np.polyfit([x for x, _ in line], [y for _, y in line], 1)[0])


def _by_source(columns: Sequence[Column]) -> list[list[Column]]:
    return [[c for c in columns if c.source == source] for source in dict.fromkeys(c.source for c in columns)]


def wins(name: str, rivals: Sequence[str], least: int, where: Where = everywhere) -> Measure:
    """Seed by seed, of every column in which ``name`` has rivals the number of those below it, minus ``least``; their mean."""

    def measure(columns: Sequence[Column]) -> Statistic | None:
        found = []
        for column in where(columns):
            there = [column.rows[rival].tests for rival in rivals if rival in column.rows]
            if name in column.rows and len(there) >= least:
                own = column.rows[name].tests
                seeds = set(own).intersection(*(set(each) for each in there))
                found.append({seed: float(sum(own[seed] > each[seed] for each in there) - least) for seed in seeds})
        return mean_over_columns([values for values in found if values])

    return measure


def together(*measures: Measure) -> Measure:
    """The mean of several measures, seed by seed."""

    def measure(columns: Sequence[Column]) -> Statistic | None:
        made = [found for each in measures if (found := each(columns)) is not None]
        mean = mean_over_columns([each.per_seed for each in made])
        if mean is None:
            return None
        return Statistic(
            per_seed=mean.per_seed, columns=sum(m.columns for m in made), agreeing=sum(m.agreeing for m in made)
        )

    return measure


def slower(name: str, other: str, factor: float) -> Measure:
    """Seed by seed how many times the images per second of ``name`` go into those of ``other``, minus ``factor``."""

    def measure(columns: Sequence[Column]) -> Statistic | None:
        found = []
        for column in columns:
            rates = [_rates(column, each) for each in (name, other)]
            found.append({seed: rates[1][seed] / rates[0][seed] - factor for seed in rates[0].keys() & rates[1].keys()})
        return mean_over_columns([values for values in found if values])

    return measure


def _rates(column: Column, name: str) -> dict[int, float]:
    runs = column.rows[name].runs if name in column.rows else []
    return {run.seed: run.numbers["images_per_second"] for run in runs if run.numbers.get("images_per_second")}
