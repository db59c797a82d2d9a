"""Global magnitude: the smallest |w| of the network are pruned, whatever their layer (Han et al. 2015; paper, Section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bimp_exp.selector.base import Masks, PruningTarget, Selector, one_threshold


@dataclass(frozen=True, kw_only=True)
class Global(Selector):
    """One threshold for all layers; a layer may lose all its weights."""

    def __call__(self, weights: Mapping[str, Tensor], masks: Masks, target: PruningTarget) -> Masks:
        """The smallest |w| of all."""
        sizes = torch._foreach_abs(list(weights.values()))
        return one_threshold(dict(zip(weights, sizes, strict=True)), masks, target.total_pruned)
