"""Global magnitude: the smallest |w| of the whole network go, whatever their layer (Han et al. 2015; paper, Section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bimp_exp.selector._allocation import one_threshold
from bimp_exp.selector.base import Cut, Masks, Selector


@dataclass(frozen=True, kw_only=True)
class Global(Selector):
    """One threshold for all layers; a layer may lose all its weights."""

    def __call__(self, weights: Mapping[str, Tensor], masks: Masks, cut: Cut) -> Masks:
        """See Selector."""
        sizes = torch._foreach_abs([w.detach() for w in weights.values()])
        return one_threshold(dict(zip(weights, sizes, strict=True)), masks, cut.num_pruned)
