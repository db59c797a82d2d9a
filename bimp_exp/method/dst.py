"""DST, dynamic sparse training: a threshold for every output unit, trained with a long-tailed step gradient (Liu et al. 2020).

Q = |w| - t, effective weight w 1[Q > 0]; the step's derivative is taken as H(x) = 2 - 4 |x| for |x| <= 0.4, 0.4 up to 1, else 0.
The loss gets strength * sum exp(-t). A layer that keeps at most 1 % of its weights has its thresholds set back to 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from bimp_exp.method._joint import Joint, auxiliary_parameters, second_decay, stored_weights
from bimp_exp.method.base import MethodContext
from bimp_exp.selector._vector import Segments, join
from bimp_exp.types import NonNegative

if TYPE_CHECKING:
    from torch.optim import Optimizer


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor) -> Tensor:
        ctx.save_for_backward(q)
        return (q > 0).to(q)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        size = ctx.saved_tensors[0].abs()
        slope = torch.where(size <= 0.4, 2 - 4 * size, 0.4).masked_fill(size > 1, 0.0)
        return gradients[0] * slope


class Pieces(NamedTuple):
    """How the vector of all weights, and that of all output units, are cut."""

    layer_of_weight: Segments
    unit_of_weight: Segments
    layer_of_unit: Segments


@lru_cache(maxsize=1)
def _pieces(shapes: tuple[tuple[int, int], ...], device: torch.device) -> Pieces:
    """shapes: of each layer the number of output units, and of weights of each."""
    num_units, per_unit = torch.tensor(shapes, device=device).T
    layer_of_unit = Segments(num_units)
    return Pieces(Segments(num_units * per_unit), Segments(layer_of_unit.spread(per_unit)), layer_of_unit)


@dataclass(frozen=True, kw_only=True)
class DST(Joint):
    """``strength`` of the penalty decides the sparsity. Weight decay acts once, on w and on t, as the authors have it."""

    strength: NonNegative
    double_weight_decay: bool

    def initial_value(self, weight: Tensor) -> Tensor:
        """t, one entry per output unit."""
        return weight.new_zeros(len(weight))

    def effective_weights(self, context: MethodContext, weights: Tensor, auxiliary: Tensor) -> Tensor:
        """w 1[Q > 0]."""
        mask: Tensor = _Step.apply(weights.abs() - _pieces_of(context).unit_of_weight.spread(auxiliary))
        return weights * mask

    def penalty(self, context: MethodContext) -> Tensor:
        """strength * sum exp(-t)."""
        total = self.strength * torch.cat([*auxiliary_parameters(context)]).neg().exp().sum()
        return total + second_decay(context) if self.double_weight_decay else total

    def on_step(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """Set the thresholds of nearly empty layers back to 0."""
        thresholds: list[Tensor] = [*auxiliary_parameters(context)]
        pieces = _pieces_of(context)
        with torch.no_grad():
            kept = join(stored_weights(context)).abs() > pieces.unit_of_weight.spread(torch.cat(thresholds))
            enough = 100 * pieces.layer_of_weight.sums(kept) > pieces.layer_of_weight.sizes
            factors = pieces.layer_of_unit.spread(enough.to(thresholds[0]))
            torch._foreach_mul_(thresholds, torch.split(factors, [len(t) for t in thresholds]))
        super().on_step(context, step, optimizer)


def _pieces_of(context: MethodContext) -> Pieces:
    weights = stored_weights(context)
    return _pieces(tuple((len(w), w.numel() // len(w)) for w in weights), weights[0].device)
