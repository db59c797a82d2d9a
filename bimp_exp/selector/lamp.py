"""LAMP, layer-adaptive magnitude: one threshold for scores that compare a weight with the larger ones of its layer.

    score(u) = w_u^2 / sum of w_v^2 over u and the v after it,  weights of a layer in the order of |w|, equal ones of index

(Lee et al. 2021). The largest of a layer scores 1, so each layer keeps a weight as long as there are as many to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bimp_exp.selector.base import Masks, PruningTarget, Selector, one_threshold


@dataclass(frozen=True, kw_only=True)
class LAMP(Selector):
    """Like global magnitude, but no layer is emptied for having small weights."""

    def __call__(self, weights: Mapping[str, Tensor], masks: Masks, target: PruningTarget) -> Masks:
        """One threshold for the scores of all layers."""
        return one_threshold({name: scores(w, masks[name]) for name, w in weights.items()}, masks, target.total_pruned)


def scores(weight: Tensor, mask: Tensor) -> Tensor:
    """The LAMP scores of a layer, in float64 and of the shape of ``weight``; 0 where a weight is 0 or masked.

    Summed from the large end: the published code subtracts running sums in float32, which is unstable for large layers.
    """
    magnitudes = weight.abs().masked_fill(~mask, 0.0).flatten().cpu()  # a sum on CUDA is not deterministic
    ordered, order = magnitudes.sort(stable=True)
    squares = ordered.double().square()
    from_large_end = squares.flip(0).cumsum(0).flip(0)
    ratios = (squares / from_large_end).masked_fill(squares == 0, 0.0)
    return torch.empty_like(ratios).scatter(0, order, ratios).view(weight.shape).to(weight.device)
