"""Global magnitude: the smallest |w| of the whole network go, whatever their layer (Han et al. 2015; paper, Section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bimp_exp.selector._smallest import smallest
from bimp_exp.selector.base import Cut, Masks


@dataclass(frozen=True, kw_only=True)
class Global:
    """One threshold for all layers; a layer may lose all its weights."""

    def __call__(self, weights: Mapping[str, Tensor], masks: Masks, cut: Cut) -> Masks:
        """See Selector. What is pruned already scores below every weight, so it stays pruned."""
        scores = [w.detach().abs().masked_fill(~masks[name], -1.0).flatten() for name, w in weights.items()]
        kept = ~smallest(torch.cat(scores), cut.num_pruned)
        parts = torch.split(kept, [w.numel() for w in weights.values()])
        return {name: part.view(w.shape) for (name, w), part in zip(weights.items(), parts, strict=True)}
