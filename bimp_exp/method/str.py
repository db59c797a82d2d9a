"""STR, soft threshold reparametrisation: sign(w) relu(|w| - sigmoid(s)), one s per layer (Kusupati et al. 2020).

There is no penalty: weight decay on s and w drives the sparsity, which therefore cannot be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from bimp_exp.method._joint import Joint, stored_weights
from bimp_exp.method.base import MethodContext
from bimp_exp.selector._vector import Segments
from bimp_exp.types import Finite


@dataclass(frozen=True, kw_only=True)
class STR(Joint):
    """``initial``: s at the start; very negative starts dense, 0 already removes all |w| below 1/2."""

    initial: Finite

    def initial_value(self, weight: Tensor) -> Tensor:
        """s, a scalar."""
        return weight.new_full((), self.initial)

    def effective_weights(self, context: MethodContext, weights: Tensor, auxiliary: Tensor) -> Tensor:
        """sign(w) relu(|w| - sigmoid(s))."""
        layers = _layers(tuple(w.numel() for w in stored_weights(context)), weights.device)
        return weights.sign() * (weights.abs() - layers.spread(auxiliary.sigmoid())).relu()


@lru_cache(maxsize=1)
def _layers(sizes: tuple[int, ...], device: torch.device) -> Segments:
    return Segments(torch.tensor(sizes, device=device))
