"""The entries of a run in MLflow: parameters and tags, which are flat and of text, and metrics, which are finite numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from bimp_exp.config.neutral import leaves
from bimp_exp.results.reader import Run

MAX_TEXT = 500  # MLflow takes 6000 characters, but nobody compares runs by such a value


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
