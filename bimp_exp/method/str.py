"""STR, soft threshold reparametrisation: sign(w) relu(|w| - sigmoid(s)), one s per layer (Kusupati et al. 2020).

There is no penalty: weight decay on s and w drives the sparsity, which therefore cannot be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from bimp_exp.method._joint import Joint
from bimp_exp.method.base import Prunes, Setting
from bimp_exp.selector._vector import Segments
from bimp_exp.types import Finite


@dataclass(kw_only=True)
class STR(Joint):
    """``initial``: s at the start; very negative starts dense, 0 already removes all |w| below 1/2."""

    prunes: ClassVar[Prunes] = "while training"
    selects: ClassVar[bool] = False
    has_target: ClassVar[bool] = False

    initial: Finite
    in_layer: Segments = field(init=False, repr=False)

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        self.in_layer = Segments(torch.tensor([w.numel() for w in self.weights], device=self.weights[0].device))
        self.renew()

    def first(self, weight: Tensor) -> Tensor:
        """s, a scalar."""
        return weight.new_full((), self.initial)

    def function(self, weights: Tensor, own: Tensor) -> Tensor:
        """sign(w) relu(|w| - sigmoid(s))."""
        return weights.sign() * (weights.abs() - self.in_layer.spread(own.sigmoid())).relu()
