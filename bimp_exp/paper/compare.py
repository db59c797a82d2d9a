"""Ours against the paper, cell by cell: means, intervals, differences and verdicts (docs/reproduction.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bimp_exp.paper.verdict import Verdict
from bimp_exp.report.statistics import Interval, t_interval

from bimp_exp.paper.published import SCORES, dense
from bimp_exp.paper.table import Cell

SPARSITY = 0.25  # points within which a reached sparsity is the printed one (caption of Table 23)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A cell with our interval, the verdict and its numbers. mark: of ours in its column, best, tie, unknown or ""."""

    cell: Cell
    ours: Interval | None
    verdict: Verdict
    mark: str
    printed_mark: bool


def lines(table: str, dataset: str, model: str, cells: Sequence[Cell]) -> list[Line]:
    """A line per cell, in their order; verdicts are adjusted over the table's compared cells of one metric."""
    verdicts = {}
    for metric in dict.fromkeys(cell.place.metric for cell in cells):
        of = [cell for cell in cells if cell.place.metric == metric]
        if metric in SCORES:
            verdicts |= _scores(table, dense(dataset, model).mean, of)
        else:
            verdicts |= {cell.place: _other(cell) for cell in of}
    marks = _marks(cells)
    best = _best_printed(cells)
    return [
        Line(
            cell=cell,
            ours=t_interval(list(cell.ours.values())) if cell.ours else None,
            verdict=verdicts[cell.place],
            mark=marks.get(cell.place, ""),
            printed_mark=cell.place in best,
        )
        for cell in cells
    ]
