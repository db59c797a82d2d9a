"""Random pruning: every remaining weight is as likely to be pruned as any other (a lower bound for the criteria; Le & Hua 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bimp_exp.seeds import derive
from bimp_exp.selector.base import Masks, PruningTarget, Selector, one_threshold
from bimp_exp.types import Natural


@dataclass(frozen=True, kw_only=True)
class Random(Selector):
    """Scores drawn from ``seed``, the same in every cycle: weights are pruned in one random order."""

    seed: Natural

    def __call__(self, weights: Mapping[str, Tensor], masks: Masks, target: PruningTarget) -> Masks:
        """Drawn on the CPU, so that a GPU prunes the same; in float64, in which no two are equal."""
        draws = torch.Generator().manual_seed(derive(self.seed, "selector"))
        scores = {
            name: torch.rand(w.shape, generator=draws, dtype=torch.float64).to(w.device) for name, w in weights.items()
        }
        return one_threshold(scores, masks, target.total_pruned)
