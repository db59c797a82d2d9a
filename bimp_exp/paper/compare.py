"""Ours against the paper, cell by cell: means, intervals, differences and verdicts (docs/reproduction.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bimp_exp.paper import verdict as rule
from bimp_exp.paper.published import NEAR, SCORES, Place, dense
from bimp_exp.paper.table import Cell
from bimp_exp.paper.verdict import Compared, Judged, Verdict
from bimp_exp.report.statistics import Interval, Mark, t_interval, ties

HIGHLIGHTED = 3  # schedules of a column that the paper highlights


@dataclass(frozen=True, kw_only=True)
class Line:
    """A cell with our interval (None: nothing has run) and the verdict with its numbers.

    reason: of the verdict, where it is not of the rule itself. mark: of ours in its column.
    highlighted: whether the printed number is one of the best of its column.
    """

    cell: Cell
    ours: Interval | None
    judged: Judged
    reason: str
    mark: Mark
    highlighted: bool

    @property
    def verdict(self) -> Verdict:
        return self.judged.verdict


def lines(cells: Sequence[Cell], *, table: str, dataset: str, model: str) -> list[Line]:
    """A line per cell, in their order; p values are adjusted over the compared cells of one metric."""
    scores = [cell for cell in cells if cell.place.metric in SCORES and cell.published]
    reference = dense(dataset, model).mean if scores else 0.0
    judged = rule.judge(table, [_compared(cell, reference) for cell in scores])
    marks = _marks(cells)
    highlighted = _highlighted(cells)
    return [
        Line(
            cell=cell,
            ours=t_interval(list(cell.ours.values())) if cell.ours else None,
            judged=judged.get(str(cell.place)) or _other(cell),
            reason=_reason(cell),
            mark=marks.get(cell.place, ""),
            highlighted=cell.place in highlighted,
        )
        for cell in cells
    ]


def _compared(cell: Cell, reference: float) -> Compared:
    assert cell.published is not None
    return Compared(
        name=str(cell.place),
        stratum=str(cell.place.sparsity),
        metric=cell.place.metric,
        dense=reference,
        published_mean=cell.published.mean,
        published_std=cell.published.std or 0.0,
        ours=list(cell.ours.values()) or None,
        comparable=not cell.reason,
    )


def _other(cell: Cell) -> Judged:
    """The verdict on what is not a score: a range instead of a test."""
    values = list(cell.ours.values())
    number = cell.published
    verdict: Verdict = "not comparable"
    if not values:
        verdict = "not run"
    elif number is not None and not cell.reason and len(values) > 1:
        if cell.place.metric == "speedup":
            verdict = rule.speedup(number.mean, number.std or 0.0, values)[3]
        elif cell.place.metric == "achieved_sparsity":
            verdict = rule.within(t_interval(values).mean, number.mean - NEAR, number.mean + NEAR)
    difference = t_interval(values).mean - number.mean if values and number else None
    return Judged(verdict=verdict, prior_published=0.0, n=len(values), difference=difference)


def _reason(cell: Cell) -> str:
    few = "one seed" if len(cell.ours) == 1 and not cell.reason else ""
    return "; ".join(filter(None, [cell.reason if cell.ours else "", few, *cell.notes]))


def _marks(cells: Sequence[Cell]) -> dict[Place, Mark]:
    """Of our scores, best and ties of each column."""
    found: dict[Place, Mark] = {}
    for column in _columns([cell for cell in cells if cell.ours]):
        marks = ties({str(cell.place): cell.ours for cell in column}).mark
        found |= {cell.place: marks[str(cell.place)] for cell in column}
    return found


def _highlighted(cells: Sequence[Cell]) -> set[Place]:
    found: set[Place] = set()
    for column in _columns([cell for cell in cells if cell.published]):
        means = sorted((cell.published.mean for cell in column if cell.published), reverse=True)[:HIGHLIGHTED]
        found |= {cell.place for cell in column if cell.published and cell.published.mean >= means[-1]}
    return found


def _columns(cells: Sequence[Cell]) -> list[list[Cell]]:
    found: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        if cell.place.metric in SCORES:
            found.setdefault((cell.place.sparsity, cell.place.cycles, cell.place.fraction), []).append(cell)
    return list(found.values())
