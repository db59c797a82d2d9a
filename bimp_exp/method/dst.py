"""DST, dynamic sparse training: a threshold for every output unit, trained with a long-tailed step gradient (Liu et al. 2020).

Q = |w| - t, effective weight w 1[Q > 0]; the step's derivative is taken as H(x) = 2 - 4 |x| for |x| <= 0.4, 0.4 up to 1, else 0.
The loss gets strength * sum exp(-t). A layer that keeps at most 1 % of its weights has its thresholds set back to 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from bimp_exp.method import _parametrize
from bimp_exp.method.base import Method, Prunes, Setting
from bimp_exp.selector._vector import join
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


class Threshold(nn.Module):
    """The effective weight of one layer; ``t`` has one entry per output unit."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.t = nn.Parameter(weight.new_zeros(weight.shape[0]))

    def excess(self, weight: Tensor) -> Tensor:
        """Q = |w| - t."""
        return weight.abs() - self.t.view(-1, *[1] * (weight.dim() - 1))

    def forward(self, weight: Tensor) -> Tensor:
        """w 1[Q > 0]."""
        mask: Tensor = _Step.apply(self.excess(weight))
        return weight * mask


@dataclass(kw_only=True)
class DST(Method):
    """``strength`` of the penalty decides the sparsity. Weight decay acts once, on w and on t, as the authors have it."""

    prunes: ClassVar[Prunes] = "while training"
    selects: ClassVar[bool] = False
    has_target: ClassVar[bool] = False

    strength: NonNegative
    double_weight_decay: bool
    layers: dict[str, Threshold] = field(init=False, repr=False)
    layer: Tensor = field(init=False, repr=False)  # of each unit
    unit: Tensor = field(init=False, repr=False)  # of each weight
    sizes: Tensor = field(init=False, repr=False)  # weights in each layer

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        self.layers = _parametrize.attach(setting.model, setting.weights, Threshold)
        weights = list(setting.weights.values())
        device = weights[0].device
        num_units, per_unit = torch.tensor([(len(w), w[0].numel()) for w in weights], device=device).T
        self.layer = torch.arange(len(weights), device=device).repeat_interleave(num_units)
        self.unit = torch.arange(len(self.layer), device=device).repeat_interleave(per_unit[self.layer]).int()
        self.sizes = num_units * per_unit

    def penalty(self) -> Tensor:
        """strength * sum exp(-t)."""
        total = self.strength * torch.cat([layer.t for layer in self.layers.values()]).neg().exp().sum()
        return total + _parametrize.second_decay(self.setting) if self.double_weight_decay else total

    def on_step(self, step: int, optimizer: Optimizer) -> None:
        """Set the thresholds of nearly empty layers back to 0: all layers at once, and the host does not wait."""
        with torch.no_grad():
            thresholds: list[Tensor] = [layer.t for layer in self.layers.values()]
            sizes = join([weight.detach() for weight in self.setting.weights.values()]).abs()
            kept = (sizes > torch.cat(thresholds).index_select(0, self.unit)).cumsum(0)
            num_kept = kept.index_select(0, self.sizes.cumsum(0) - 1).diff(prepend=self.sizes.new_zeros(1))
            enough = (100 * num_kept > self.sizes).to(thresholds[0])
            torch._foreach_mul_(
                thresholds, torch.split(enough.index_select(0, self.layer), [len(t) for t in thresholds])
            )

    def detach(self) -> None:
        """See Method."""
        _parametrize.detach(self.setting.model, self.setting.weights)
