"""DST, dynamic sparse training: a threshold for every output unit, trained with a long-tailed step gradient (Liu et al. 2020).

Q = |w| - t, effective weight w 1[Q > 0]; the step's derivative is taken as H(x) = 2 - 4 |x| for |x| <= 0.4, 0.4 up to 1, else 0.
The loss gets strength * sum exp(-t). A layer that keeps at most 1 % of its weights has its thresholds set back to 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from bimp_exp.method._joint import Joint
from bimp_exp.method.base import Prunes, Setting
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


@dataclass(kw_only=True)
class DST(Joint):
    """``strength`` of the penalty decides the sparsity. Weight decay acts once, on w and on t, as the authors have it."""

    prunes: ClassVar[Prunes] = "while training"
    selects: ClassVar[bool] = False
    has_target: ClassVar[bool] = False

    strength: NonNegative
    double_weight_decay: bool
    layer_of_weight: Segments = field(init=False, repr=False)
    unit_of_weight: Segments = field(init=False, repr=False)
    layer_of_unit: Segments = field(init=False, repr=False)

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        device = self.weights[0].device
        num_units, per_unit = torch.tensor([(len(w), w[0].numel()) for w in self.weights], device=device).T
        self.layer_of_weight, self.layer_of_unit = Segments(num_units * per_unit), Segments(num_units)
        self.unit_of_weight = Segments(self.layer_of_unit.spread(per_unit))
        self.renew()

    def first(self, weight: Tensor) -> Tensor:
        """t, one entry per output unit."""
        return weight.new_zeros(len(weight))

    def function(self, weights: Tensor, own: Tensor) -> Tensor:
        """w 1[Q > 0]."""
        mask: Tensor = _Step.apply(weights.abs() - self.unit_of_weight.spread(own))
        return weights * mask

    def penalty(self) -> Tensor:
        """strength * sum exp(-t)."""
        total = self.strength * torch.cat(self.own).neg().exp().sum()
        return total + self.second_decay() if self.double_weight_decay else total

    def on_step(self, step: int, optimizer: Optimizer) -> None:
        """Set the thresholds of nearly empty layers back to 0."""
        with torch.no_grad():
            kept = join(self.weights).abs() > self.unit_of_weight.spread(torch.cat(self.own))
            enough = 100 * self.layer_of_weight.sums(kept) > self.layer_of_weight.sizes
            factors = self.layer_of_unit.spread(enough.to(self.own[0]))
            torch._foreach_mul_(self.own, torch.split(factors, [len(own) for own in self.own]))
        super().on_step(step, optimizer)
