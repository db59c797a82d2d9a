"""A finished run as the paper's tables see it: which row and column it belongs to, and its numbers in points."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimp_exp.config.neutral import leaves
from bimp_exp.config.signatures import constant
from bimp_exp.errors import DataError
from bimp_exp.results.reader import Run, read_json, read_sweep
from bimp_exp.results.schema import Result, Scores

BEFORE_PRUNING = ("gmp", "dpf", "dnw", "str", "cs", "dst")
"""Methods whose published score is that at the end of training, before the final prune and before batch-norm is estimated anew."""
METRICS = {"accuracy": "accuracy", "mIoU": "miou", "BLEU": "bleu"}
"""A task's metric, as the paper's data call it."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A finished run.

    name: unique among the runs that are read together, "SWEEP/FOLDER".
    method, schedule: as in ``Place``; a run without retraining after a pruning has no schedule.
    sparsity: the goal, or what was reached where a method cannot be given one.
    cycles: J. fraction: T_rt / T. None where there are no cycles.
    values: every key of the configuration by its dotted name, and the option of every group by the group's.
    validation, test: of the task's metric. numbers: the test score and everything else that is printed, by metric.
    before_pruning: whether the scores are those before the final prune, as for these methods in the paper.
    epochs: of all phases. collapsed: whether a pruning has emptied a layer.
    """

    name: str
    seed: int
    method: str
    schedule: str
    sparsity: float
    cycles: int | None
    fraction: float | None
    values: Mapping[str, Any]
    metric: str
    validation: float
    test: float
    numbers: Mapping[str, float]
    before_pruning: bool
    epochs: float
    collapsed: bool


def read(folders: Sequence[Path]) -> list[Measured]:
    """The finished runs of sweeps, in the order of their grids; of equal runs in several sweeps the first."""
    found: dict[str, Measured] = {}
    for folder in folders:
        how = read_json(folder / "cells.json") or {}
        for run in read_sweep(folder).runs:
            if run.result is not None and run.facts is not None:
                if run.folder.name not in how:
                    raise DataError(
                        f"{folder / 'cells.json'}: does not hold {run.folder.name}; run the sweep's command again"
                    )
                made = measured(run, run.result, how[run.folder.name], f"{folder.name}/{run.folder.name}")
                found.setdefault(json.dumps(_identity(made), sort_keys=True), made)
    return list(found.values())


def _identity(run: Measured) -> dict[str, Any]:
    return {
        key: value for key, value in run.values.items() if not key.startswith(("dataset.root", "store", "tracking"))
    }


def measured(run: Run, result: Result, how: Mapping[str, Any], name: str) -> Measured:
    """``run`` in the paper's terms; ``how``: its entry in cells.json, configuration and options."""
    config, options = how["config"], how["choices"]
    method = (
        {"bimp": "bimp", "renda": "renda"}.get(options["budget"], "imp")
        if options["method"] == "imp"
        else options["method"]
    )
    between = constant(config["method"]["_target_"], "prunes") == "between phases"
    before = method in BEFORE_PRUNING
    scores = _published_scores(result) if before else result.final
    final = result.final
    metric = METRICS.get(run.metric, run.metric)
    asked = constant(config["method"]["_target_"], "has_target")
    budget = config["budget"]
    numbers = {
        metric: 100 * scores.test,
        "speedup": final.theoretical_speedup,
        "achieved_sparsity": 100 * final.sparsity,
        "images_per_second": result.images_per_second,
    }
    return Measured(
        name=name,
        seed=config["seed"],
        method=method,
        schedule=str(options["schedule"]) if between else "",
        sparsity=float(config["sparsity"] if asked else final.sparsity),
        cycles=budget.get("cycles") if between else None,
        fraction=_fraction(budget) if between else None,
        values={**dict(leaves(config)), **options},
        metric=metric,
        validation=100 * scores.validation,
        test=100 * scores.test,
        numbers={key: float(value) for key, value in numbers.items() if value is not None},
        before_pruning=before,
        epochs=float(result.budget.epochs_used),
        collapsed=any(phase.pruning is not None and phase.pruning.emptied_layers for phase in result.phases),
    )


def _published_scores(result: Result) -> Scores:
    """Before the final prune, or after fine-tuning where that has the higher validation score (Section 3.3)."""
    tuned = [phase.metrics for phase in result.phases[1:] if phase.num_steps]
    return max([result.phases[0].metrics, *tuned], key=lambda scores: scores.validation)


def _fraction(budget: Mapping[str, Any]) -> float | None:
    """T_rt / T, rounded down to four digits as the paper prints it: 2 of 90 epochs are 2.22 %."""
    if budget.get("retrain_fraction") is not None:
        share = float(budget["retrain_fraction"])
    elif budget.get("retrain_epochs") is not None:
        share = float(budget["retrain_epochs"]) / budget["epochs"]
    else:
        return None
    return math.floor(1e4 * share + 1e-6) / 1e4
