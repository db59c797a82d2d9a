"""The ledger of a run: everything that it spent, counted alike for every method.

Multiply-adds are those of the dense network, which is what is computed, whatever is 0 in it: F for one item forward, 2 F
backward (gradients of both factors), the products of attention among them. F is that of the task's example in eval mode: items of
other sizes cost otherwise, and a head for training alone does not count. What a method adds to a step (masks, penalties) is
elementwise and not counted; ``benchmarks/method_cost.py`` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bimp_exp.results.schema import Ledger, PhaseResult


def ledger(
    phases: Sequence[PhaseResult],
    *,
    multiply_adds: int | None,
    seconds: float,
    images_evaluated: Mapping[str, int],
    extra_passes: Mapping[str, int],
) -> Ledger:
    """The sums over ``phases``.

    multiply_adds: F, with attention; None where it could not be counted. seconds: of the whole run.
    images_evaluated: by split; they go forward only. extra_passes: those of them that a decision needed, by reason.
    """
    num_images = sum(phase.num_images for phase in phases)
    forward = None if multiply_adds is None else num_images * multiply_adds
    return Ledger(
        epochs=sum(phase.epochs for phase in phases),
        num_steps=sum(phase.num_steps for phase in phases),
        num_images=num_images,
        forward_multiply_adds=forward,
        backward_multiply_adds=None if forward is None else 2 * forward,
        seconds=seconds,
        seconds_training=sum(phase.seconds_training for phase in phases),
        seconds_warming_up=sum(phase.seconds_warming_up or 0.0 for phase in phases),
        images_evaluated=dict(images_evaluated),
        extra_passes=dict(extra_passes),
    )
