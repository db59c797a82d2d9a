"""STR, soft threshold reparametrisation: sign(w) relu(|w| - sigmoid(s)), one s per layer (Kusupati et al. 2020).

There is no penalty: weight decay on s and w drives the sparsity, which therefore cannot be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from bimp_exp.method import _parametrize
from bimp_exp.method.base import Method, Prunes, Setting
from bimp_exp.types import Finite


class SoftThreshold(nn.Module):
    """The effective weight of one layer; ``s`` is a scalar parameter."""

    def __init__(self, weight: Tensor, initial: float) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.full((), initial, dtype=weight.dtype, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """sign(w) relu(|w| - sigmoid(s))."""
        return weight.sign() * (weight.abs() - self.s.sigmoid()).relu()


@dataclass(kw_only=True)
class STR(Method):
    """``initial``: s at the start; very negative starts dense, 0 already removes all |w| below 1/2."""

    prunes: ClassVar[Prunes] = "while training"
    selects: ClassVar[bool] = False
    has_target: ClassVar[bool] = False

    initial: Finite
    layers: dict[str, SoftThreshold] = field(init=False, repr=False)

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        make = lambda weight: SoftThreshold(weight, self.initial)  # noqa: E731
        self.layers = _parametrize.attach(setting.model, setting.weights, make)

    def detach(self) -> None:
        """The soft-thresholded values become the weights."""
        _parametrize.detach(self.setting.model, self.setting.weights)
