"""The entries of a run in MLflow: parameters and tags, which are flat and of text, and metrics, which are finite numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import yaml

from bimp_exp.config.neutral import leaves
from bimp_exp.results.reader import Run

MAX_TEXT = 500  # MLflow takes 6000 characters, but nobody compares runs by such a value


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Numbers that change with how much they count, such as a mean over the seeds that are finished.

    counted: the one of ``numbers`` that says how much; it never falls, or the run in MLflow is replaced.
    """

    counted: str
    numbers: dict[str, float]

    @classmethod
    def of(cls, counted: str, count: int, others: Mapping[str, float | None]) -> Self:
        """``others`` without what is no finite number; none of all while nothing is counted."""
        return cls(counted=counted, numbers=numbers({**others, counted: count}) if count else {})

    @property
    def count(self) -> int:
        """The step at which they stand."""
        return int(self.numbers.get(self.counted, 0))

    def contradict(self, held: Mapping[str, float]) -> bool:
        """Whether a run that holds the metrics ``held`` counts more, or has other numbers of the same count."""
        before = held.get(self.counted, 0)
        changed = any(held.get(key, value) != value for key, value in self.numbers.items())
        return before > self.count or (before == self.count and changed)


def params(run: Run) -> dict[str, str]:
    """Parameters that tell runs apart: the leaves of the configuration (no classes, no tracking), choices, swept keys."""
    assert run.facts is not None
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    shown = flatten({key: value for key, value in config.items() if key not in ("tracking", "hydra")})
    shown = {key: value for key, value in shown.items() if not key.endswith(("_target_", "_partial_"))}
    return shown | flatten(run.facts.choices) | flatten(run.facts.swept)


def final_metrics(run: Run) -> dict[str, Any]:
    """The figures of a finished run, under the same names for all runs, as one more point of metrics.jsonl."""
    assert run.result is not None
    result, final, pruning = run.result, run.result.final, run.result.phases[-1].pruning
    return {
        "step": result.budget.num_steps,
        f"final_train_{run.metric}": final.train,
        f"final_validation_{run.metric}": final.validation,
        f"final_test_{run.metric}": final.test,
        **{f"final_test_{name}": number for name, number in (final.test_details or {}).items()},
        "final_sparsity": final.sparsity,
        "final_sparsity_all_parameters": final.sparsity_all_parameters,
        "theoretical_speedup": "inf" if final.theoretical_speedup == math.inf else final.theoretical_speedup,
        "speedup_with_attention": final.speedup_with_attention,
        "pruning_stability": pruning.pruning_stability if pruning else None,
        "epochs_used": result.budget.epochs_used,
        "seconds": result.seconds_of_phases,
    }


def numbers(point: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a point; what is not a finite number ("inf", null) has no place on a plot."""
    return {
        legal(key): float(value)
        for key, value in point.items()
        if key not in ("step", "phase") and isinstance(value, int | float) and math.isfinite(value)
    }


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} -> {"a.b": "1"}; a list is a leaf."""
    return {legal(f"{prefix}{key}"): str(value)[:MAX_TEXT] for key, value in leaves(tree)}


def legal(key: str) -> str:
    """``key`` with only the characters, and no more of them, than MLflow takes in a name."""
    return re.sub(r"[^\w\-. :/]", "_", key)[:250]
