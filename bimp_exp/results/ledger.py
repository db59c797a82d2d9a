"""The ledger of a run: everything that it spent, counted alike for every method.

Multiply-adds are those of the dense network, which is what is computed, whatever is 0 in it: F for one image forward, 2 F
backward (gradients of inputs and of weights). What a method adds to a step (masks, penalties) is elementwise and not counted;
``benchmarks/method_cost.py`` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def seconds_of(phase: Mapping[str, Any]) -> float:
    """Seconds of training, warming up and evaluating in a phase of result.json, also around its pruning."""
    pruning = phase["pruning"] or {}
    kinds = ("seconds_training", "seconds_warming_up", "seconds_evaluating")
    return float(sum(phase.get(kind, 0) for kind in kinds) + pruning.get("seconds_evaluating", 0))


def ledger(
    phases: Sequence[Mapping[str, Any]],
    *,
    multiply_adds: int,
    seconds: float,
    images_evaluated: Mapping[str, int],
    extra_passes: Mapping[str, int],
) -> dict[str, Any]:
    """For result.json. multiply_adds: F. seconds: of the whole run. extra_passes: images that a decision needed, by reason;

    they are among ``images_evaluated``, all of which go forward only.
    """
    num_images = sum(phase["num_images"] for phase in phases)
    return {
        "epochs": sum(phase["epochs"] for phase in phases),
        "num_steps": sum(phase["num_steps"] for phase in phases),
        "num_images": num_images,
        "forward_multiply_adds": num_images * multiply_adds,
        "backward_multiply_adds": 2 * num_images * multiply_adds,
        "seconds": seconds,
        "seconds_training": sum(phase["seconds_training"] for phase in phases),
        "seconds_warming_up": sum(phase["seconds_warming_up"] for phase in phases),
        "images_evaluated": dict(images_evaluated),
        "extra_passes": dict(extra_passes),
    }
