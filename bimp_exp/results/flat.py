"""A run's files in MLflow's words: flat parameters, tags and metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from bimp_exp.results.reader import Run

MAX_TEXT = 500  # MLflow takes 6000 characters, but nobody compares runs by such a value


def params(run: Run) -> dict[str, str]:
    """What tells runs apart: the config's leaves (no classes, no tracking), choices, swept keys."""
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    leaves = flatten({key: value for key, value in config.items() if key not in ("tracking", "hydra")})
    leaves = {key: value for key, value in leaves.items() if not key.endswith(("_target_", "_partial_"))}
    return leaves | flatten(run.facts["choices"]) | flatten(run.facts["swept"])


def final_metrics(run: Run) -> dict[str, Any]:
    """A finished run's figures, under the same names for all runs, as one more record of metrics.jsonl."""
    assert run.result is not None
    final, budget = run.result["final"], run.result["budget"]
    pruning = run.result["phases"][-1]["pruning"] or {}
    return {
        "step": budget["num_steps"],
        **{f"final_{split}_{run.metric}": final.get(split) for split in ("train", "validation", "test")},
        "final_sparsity": final["sparsity"],
        "final_sparsity_all_parameters": final["sparsity_all_parameters"],
        "theoretical_speedup": final["theoretical_speedup"],
        "pruning_stability": pruning.get("pruning_stability"),
        "epochs_used": budget["epochs_used"],
        "seconds": run.result["seconds"],
    }


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a record; what is not a finite number ("inf", null) has no place on a plot."""
    return {
        legal(key): float(value)
        for key, value in record.items()
        if key not in ("step", "phase") and isinstance(value, int | float) and math.isfinite(value)
    }


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} -> {"a.b": "1"}; a list is a leaf."""
    leaves: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[legal(f"{prefix}{key}")] = str(value)[:MAX_TEXT]
    return leaves


def legal(key: str) -> str:
    """``key`` with only the characters, and no more of them, than MLflow takes in a name."""
    return re.sub(r"[^\w\-. :/]", "_", key)[:250]
