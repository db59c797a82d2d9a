"""Filter pruning: the output channels of lowest L2 norm, the same share of every convolution (Li et al. 2017, with L2).

    count_l = round(s C_l),  C_l filters left in layer l; at least one stays

Every convolution is pruned, whatever it is connected to; linear layers, biases and batch-norm are not touched, so a pruned
filter still puts out its batch-norm's bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bimp_exp.errors import ConfigError
from bimp_exp.selector.base import Masks, PruningTarget, Selector, prune_lowest


@dataclass(frozen=True, kw_only=True)
class FilterL2(Selector):
    """``fraction_of_remaining`` is a share of the filters here; ``total_pruned`` is not reached where there are linear layers."""

    rounding: ClassVar[float | None] = None

    def check(self, shapes: Sequence[Sequence[int]], target: PruningTarget) -> None:
        """There has to be a convolution."""
        if not any(self.prunes(shape) for shape in shapes):
            raise ConfigError(
                "selector=filter_l2 prunes filters of convolutions, and this network has none: choose another selector"
            )

    def prunes(self, shape: Sequence[int]) -> bool:
        """Convolutions only."""
        return len(shape) > 2

    def __call__(self, weights: Mapping[str, Tensor], masks: Masks, target: PruningTarget) -> Masks:
        """Each convolution without its filters of the lowest norm."""
        return {
            name: _without_filters(w, masks[name], target.fraction_of_remaining)
            if self.prunes(w.shape)
            else masks[name].clone()
            for name, w in weights.items()
        }


def _without_filters(weight: Tensor, mask: Tensor, fraction: float) -> Tensor:
    left = mask.flatten(1).any(1)
    num_left = int(left.count_nonzero())
    count = max(0, min(round(fraction * num_left), num_left - 1))
    norms = torch.linalg.vector_norm(weight.masked_fill(~mask, 0.0).flatten(1), dim=1, dtype=torch.float64)
    kept = prune_lowest(norms, left, len(left) - num_left + count)
    return mask & kept.view(-1, *[1] * (mask.ndim - 1))
