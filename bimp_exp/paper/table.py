"""The cells of a table: for every printed number the runs that answer it, of the setting that validation chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bimp_exp.paper.block import Block, differences, setting, variant
from bimp_exp.paper.published import NEAR, SCORES, Number, Place, flags, of_table
from bimp_exp.paper.runs import Measured
from bimp_exp.paper.selection import Candidate, Selection, select

TWICE = "published twice, with different values (Tables 25 and 27)"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table, and ours for it.

    published: None where the paper prints none.
    ours: seed -> value in points, of the chosen setting; empty where nothing has run.
    setting: the values of the selected keys. num_settings: of how many. validation: mean of its runs.
    best_on_test: the mean that choosing on the test set would have given; for information only.
    runs: their names. notes: what to know about the cell.
    reason: why the numbers cannot be compared; "" where they can.
    """

    place: Place
    published: Number | None
    ours: Mapping[int, float] = field(default_factory=dict)
    setting: Mapping[str, Any] = field(default_factory=dict)
    num_settings: int = 0
    validation: float | None = None
    best_on_test: float | None = None
    runs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""


def cells(block: Block, runs: Sequence[Measured]) -> list[Cell]:
    """The cells of the block's table in the paper's order, then those that only our runs have.

    runs: of the block's sweep, in the order of its grid.
    """
    printed = of_table(block.table, block.dataset, block.model)
    groups = grouped(block, runs, printed)
    made: list[Cell] = []
    metrics = {n.place.metric: None for n in printed} or {run.metric: None for run in runs}
    for number in printed:
        made.append(_cell(block, number.place, number, _found(groups, number.place), printed))
    if block.sweep != f"paper_t{int(block.table):02d}":
        return made  # what else the runs of another table have is that table's
    known = {number.place for number in printed}
    for found in groups.values():
        for metric in metrics:
            place = _place(block, found[0], metric, printed)
            if place is not None and place not in known:
                known.add(place)
                made.append(_cell(block, place, None, found, printed))
    return made


def grouped(block: Block, runs: Sequence[Measured], printed: Sequence[Number]) -> dict[Place, list[Measured]]:
    """The runs by the place of their score; one whose sparsity is in no column is left out."""
    groups: dict[Place, list[Measured]] = {}
    for run in runs:
        place = _place(block, run, "", printed)
        if place is not None:
            groups.setdefault(place, []).append(run)
    return groups


def chosen(block: Block, found: Sequence[Measured]) -> tuple[list[Measured], Selection]:
    """The runs of the setting of best validation mean, and how it was selected (``paper.selection``)."""
    settings: dict[str, list[Measured]] = {}
    for run in found:
        settings.setdefault(repr(setting(run, block)), []).append(run)
    candidates = [
        Candidate(
            setting=setting(of[0], block),
            validation={run.seed: run.validation for run in of},
            test={run.seed: run.test for run in of},
        )
        for of in settings.values()
    ]
    selection = select(candidates, sorted({run.seed for run in found}))
    assert selection is not None  # every run has scores
    return settings[repr(selection.setting)], selection


def _found(groups: Mapping[Place, list[Measured]], place: Place) -> list[Measured]:
    """The runs of a place; of a number that has no sparsity those of the first one."""
    row = Place(**{**vars(place), "metric": ""})
    if place.sparsity is not None:
        return groups.get(row, [])
    of_method = [g for p, g in groups.items() if (p.method, p.variant) == (place.method, place.variant)]
    return of_method[0] if of_method else []


def _place(block: Block, run: Measured, metric: str, printed: Sequence[Number]) -> Place | None:
    """Where a run stands: under the printed sparsity that it is within NEAR of, and in the printed form of its row."""
    goals = sorted({n.place.sparsity for n in printed if n.place.sparsity is not None}) or [run.sparsity]
    goal = min(goals, key=lambda g: abs(g - run.sparsity))
    if abs(goal - run.sparsity) > NEAR / 100 + 1e-9:
        return None
    return Place(
        method=run.method,
        schedule=run.schedule,
        variant=variant(run, block),
        sparsity=goal,
        cycles=None if block.budgeted else run.cycles,
        # where the length of dense training is swept, T_rt / T_0 is another one in every row
        fraction=None if block.budgeted or "budget.epochs" in block.variant else run.fraction,
        metric=metric,
    )


def _cell(
    block: Block, place: Place, number: Number | None, found: Sequence[Measured], printed: Sequence[Number]
) -> Cell:
    reason = flags(number, printed) if number else "the paper prints no such number"
    if not found:
        return Cell(place=place, published=number, reason=reason)
    runs, selection = chosen(block, found)
    unlike = list(dict.fromkeys(text for run in runs for text in differences(run, block)))
    notes = [TWICE] if block.table in ("25", "27") and place.schedule == "allr" else []
    if place.metric in SCORES:
        notes += ["measured before the final prune, as published"] if runs[0].before_pruning else []
    return Cell(
        place=place,
        published=number,
        ours={run.seed: run.numbers[place.metric] for run in runs if place.metric in run.numbers},
        setting=selection.setting,
        num_settings=len({repr(setting(run, block)) for run in found}),
        validation=selection.validation,
        best_on_test=selection.best_on_test[1] if place.metric in SCORES else None,
        runs=tuple(run.name for run in runs),
        notes=tuple(notes),
        reason=", ".join(unlike) or reason,
    )
