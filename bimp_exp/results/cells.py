"""The cells of a sweep's grid: all runs that differ only in the seed. Imports no PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bimp_exp.config.check import plain
from bimp_exp.errors import ConfigError
from bimp_exp.results.reader import Run, Sweep
from bimp_exp.results.schema import Result

SEED = "seed"
Swept = Mapping[str, Any]  # swept key -> value


@dataclass(frozen=True, kw_only=True)
class Cell:
    """swept: the values of the swept keys but the seed. runs: in the grid's order, at least one."""

    swept: dict[str, Any]
    runs: list[Run]

    @property
    def name(self) -> str:
        """As its runs are named, without their seed."""
        return name_of(self.runs[0].name, self.runs[0].swept or {})

    @property
    def metric(self) -> str:
        """The name of the task's metric."""
        return next((run.metric for run in self.runs if run.facts), "metric")

    @property
    def results(self) -> dict[Any, Result]:
        """Of each seed that is finished; the seed is None where none is swept."""
        return {(run.swept or {}).get(SEED): run.result for run in self.runs if run.result is not None}

    def scores(self, split: str) -> dict[Any, float]:
        """seed -> the final network's score on ``split``, validation or test, in [0, 1]."""
        return {seed: float(getattr(result.final, split)) for seed, result in self.results.items()}


def cells(sweep: Sweep) -> list[Cell]:
    """All cells, in the grid's order; a run whose swept values nobody has written down is in none."""
    found: dict[str, Cell] = {}
    for run in sweep.runs:
        if run.swept is not None:
            rest = without_seed(run.swept)
            found.setdefault(key_of(run.swept), Cell(swept=rest, runs=[])).runs.append(run)
    return list(found.values())


def without_seed(swept: Swept) -> dict[str, Any]:
    """What a run shares with the others of its cell."""
    return {key: value for key, value in swept.items() if key != SEED}


def key_of(swept: Swept) -> str:
    """The same for two runs if and only if they are in one cell; swept: the values of one of its runs."""
    return json.dumps(without_seed(swept), sort_keys=True)


def name_of(run_name: str, swept: Swept) -> str:
    """The name of a run's cell.

    >>> name_of("allr cycles=2 seed=1", {"schedule": "allr", "budget.cycles": 2, "seed": 1})
    'allr cycles=2'
    >>> name_of("seed=1", {"seed": 1})
    'all seeds'
    """
    own = f"{SEED}={plain(swept[SEED])}" if SEED in swept else ""
    return " ".join(word for word in run_name.split(" ") if word != own) or "all seeds"


def best(among: Sequence[Cell]) -> Cell | None:
    """Of the cells with the most seeds finished the first with the highest validation mean.

    None where no run is finished, or the grid has several data sets.
    """
    measured = [cell for cell in among if cell.results]
    if not measured or len({cell.swept.get("dataset") for cell in among}) > 1:
        return None
    return max(measured, key=lambda cell: (len(cell.results), fmean(cell.scores("validation").values())))


def baseline_of(cell: Cell, among: Sequence[Cell], baseline: Swept) -> Cell | None:
    """The cell with the values of ``baseline`` and otherwise those of ``cell``; None where there is none, or it is ``cell``."""
    wanted = key_of({**cell.swept, **baseline})
    return next((other for other in among if key_of(other.swept) == wanted and other is not cell), None)


def check_baseline(baseline: Swept, swept: Sequence[Swept]) -> None:
    """ConfigError unless a run has the values of ``baseline``, and seeds are swept; swept: the values of every run."""
    if baseline and not any(SEED in values for values in swept):
        raise ConfigError("sweep.baseline: compares over seeds, but seed is not swept; give several (seed=0,1,2)")
    left, said = [without_seed(values) for values in swept], ""
    for key, value in baseline.items():
        keys = dict.fromkeys(name for values in left for name in values)
        if key not in keys:
            legal = ", ".join(keys) or "none"
            raise ConfigError(f"sweep.baseline: {key} is not a swept key beside the seed; these are {legal}")
        legal = ", ".join(dict.fromkeys(plain(values[key]) for values in left if key in values))
        left = [values for values in left if key in values and plain(values[key]) == plain(value)]
        if not left:
            where = f"{key} there" if said else key
            raise ConfigError(
                f"sweep.baseline: no run has {said}{key}={plain(value)}; the values of {where} are {legal}"
            )
        said += f"{key}={plain(value)} "
