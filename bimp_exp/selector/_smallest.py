"""The k smallest of many numbers, exactly k, ties broken by index."""

from __future__ import annotations

import torch
from torch import Tensor


def smallest(scores: Tensor, count: int) -> Tensor:
    """A bool tensor of the shape of the 1-D ``scores``: True at its ``count`` smallest entries.

    Of equal scores the ones with the lower index are taken. NaN counts as largest. Costs one selection, no sort.
    """
    if not 0 <= count <= scores.numel():
        raise ValueError(f"count {count} of {scores.numel()} scores")
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = scores.kthvalue(count).values
    chosen = scores < threshold
    ties = (scores == threshold).nonzero().squeeze(1)
    if threshold.isnan():
        chosen, ties = ~scores.isnan(), scores.isnan().nonzero().squeeze(1)
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen
