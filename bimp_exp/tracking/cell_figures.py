"""What MLflow shows of the cells of a sweep: statistics over seeds, differences to a baseline, and the best of them.

``NAME_mean``, ``_std`` and ``_half_width`` (of the 95 % t interval) are over the finished seeds' metric ``NAME``, in its own unit.
"""

from __future__ import annotations

from collections.abc import Sequence

from bimp_exp.report.statistics import paired_difference, t_interval
from bimp_exp.results.cells import Cell, best
from bimp_exp.tracking.entries import Figures

SPLITS = ("validation", "test")


def figures(cell: Cell, baseline: Cell | None) -> list[Figures]:
    """Of each split over all finished seeds, and of test minus ``baseline``'s over the seeds that both have finished."""
    metric = cell.metric
    found: dict[str, float | None] = {}
    if cell.results:
        for split in SPLITS:
            found |= _over_seeds(f"final_{split}_{metric}", list(cell.scores(split).values()))
    name = f"difference_test_{metric}"
    compared: dict[str, float | None] = {}
    mine, theirs = cell.scores("test"), baseline.scores("test") if baseline else {}
    common = len(mine.keys() & theirs.keys())
    if common:
        difference = paired_difference(mine, theirs)
        compared = {
            f"{name}_mean": difference.mean,
            f"{name}_half_width": difference.half_width,
            f"{name}_p": difference.p,
        }
    return [Figures.of("n", len(cell.results), found), Figures.of(f"{name}_n", common, compared)]


def best_figures(among: Sequence[Cell]) -> tuple[str, Figures]:
    """Name of the best cell by validation mean ("" where there is none), and its figures, by number of finished runs."""
    chosen, num_finished = best(among), sum(len(cell.results) for cell in among)
    found: dict[str, float | None] = {}
    if chosen:
        scores = list(chosen.scores("validation").values())
        found = {**_over_seeds(f"best_validation_{chosen.metric}", scores), "best_n": len(scores)}
    return chosen.name if chosen else "", Figures.of("num_finished", num_finished, found)


def _over_seeds(name: str, scores: Sequence[float]) -> dict[str, float | None]:
    interval = t_interval(scores)
    return {f"{name}_mean": interval.mean, f"{name}_std": interval.std, f"{name}_half_width": interval.half_width}
