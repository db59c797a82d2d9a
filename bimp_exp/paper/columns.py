"""Columns of tables as the claims need them: per row the chosen runs by seed, ours and printed alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bimp_exp.paper.block import Block
from bimp_exp.paper.published import SCORES, Number, of_table
from bimp_exp.paper.runs import Measured
from bimp_exp.paper.table import chosen, grouped

LENGTHS = ("budget.epochs",)
PRINTED = -1
"""Stands for a seed where the values are printed means."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What stands in one row of a column: the runs of the chosen setting.

    tests: seed -> test score in points. validation: mean. setting: the selected values. runs: those runs, [] of printed numbers.
    """

    tests: Mapping[int, float]
    validation: float
    setting: Mapping[str, Any]
    runs: Sequence[Measured]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column. source: the table, or the sweep of a table of one's own. rows: schedule, or method with its variant, to its row.

    cycles, fraction: None where methods choose them.
    """

    source: str
    dataset: str
    sparsity: float
    cycles: int | None
    fraction: float | None
    rows: Mapping[str, Row]

    @property
    def name(self) -> str:
        """ "4: 90 %, 2 x 2.5 %"."""
        budget = "" if self.fraction is None else f", {self.cycles} x {100 * self.fraction:g} %"
        return f"{self.source}: {100 * self.sparsity:g} %{budget}"


def ours(block: Block, runs: Sequence[Measured]) -> list[Column]:
    """The columns of a block's runs; where the length of dense training is swept, a row is one length, as "0.5 T"."""
    whole = max((float(run.values["budget.epochs"]) for run in runs), default=1.0)
    printed = of_table(block.table, block.dataset, block.model)
    found: dict[tuple[Any, ...], dict[str, Row]] = {}
    for place, group in grouped(block, runs, printed).items():
        best, selection = chosen(block, group)
        row = Row(
            tests={run.seed: run.test for run in best},
            validation=selection.validation,
            setting=selection.setting,
            runs=best,
        )
        name = label(place.method, place.schedule, place.variant)
        if block.variant == LENGTHS:
            name = f"{float(place.variant) / whole:g} T"
        found.setdefault((place.sparsity, place.cycles, place.fraction), {})[name] = row
    return [
        Column(source=block.table or block.sweep, dataset=block.dataset, sparsity=s, cycles=j, fraction=f, rows=rows)
        for (s, j, f), rows in sorted(found.items(), key=lambda item: [value or 0 for value in item[0]])
    ]


def printed(numbers: Iterable[Number]) -> list[Column]:
    """The same of printed means, each as the only seed PRINTED."""
    found: dict[tuple[Any, ...], dict[str, Row]] = {}
    for n in numbers:
        place = n.place
        if place.metric in SCORES:
            key = (n.table, n.dataset, place.sparsity, place.cycles, place.fraction)
            row = Row(tests={PRINTED: n.mean}, validation=n.mean, setting={}, runs=[])
            found.setdefault(key, {})[label(place.method, place.schedule, place.variant)] = row
    return [
        Column(source=t, dataset=d, sparsity=s, cycles=j, fraction=f, rows=rows)
        for (t, d, s, j, f), rows in found.items()
    ]


def label(method: str, schedule: str, variant: str) -> str:
    """How the claims call a row: by its schedule under IMP, else by its method, and by its variant."""
    return f"{schedule if method == 'imp' else method} {variant}".rstrip()


Pick = Callable[[Column], Mapping[int, float] | None]
"""Seed -> value of a column, or None where it has no such row."""


def row(name: str) -> Pick:
    """The row of that name."""
    return lambda column: column.rows[name].tests if name in column.rows else None


def best(names: Sequence[str], *, least: int | None = None) -> Pick:
    """Of these rows the one of best validation mean; None unless ``least`` of them are there, None: all."""

    def pick(column: Column) -> Mapping[int, float] | None:
        there = [column.rows[name] for name in names if name in column.rows]
        if len(there) < (len(names) if least is None else least):
            return None
        return max(there, key=lambda row: row.validation).tests

    return pick


def extreme(names: Sequence[str], of: Callable[[Iterable[float]], float]) -> Pick:
    """Seed by seed the largest or smallest (``of``) of these rows; None unless all of them are there."""

    def pick(column: Column) -> Mapping[int, float] | None:
        if not all(name in column.rows for name in names):
            return None
        tests = [column.rows[name].tests for name in names]
        seeds = set.intersection(*(set(each) for each in tests))
        return {seed: of(each[seed] for each in tests) for seed in sorted(seeds)}

    return pick
