"""The k smallest of many numbers, exactly k, ties broken by index."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

UNSIGNED = {torch.float32: np.uint32, torch.float64: np.uint64}  # of the same width


def smallest(scores: Tensor, count: int) -> Tensor:
    """A bool tensor of the shape of the 1-D ``scores``: True at its ``count`` smallest entries.

    Of equal scores the ones with the lower index are taken. NaN counts as largest. float32 and float64 on the CPU cost a
    few passes over memory; anything else is sorted, on its device.
    """
    if not 0 <= count <= scores.numel():
        raise ValueError(f"count {count} of {scores.numel()} scores")
    if scores.device.type == "cpu" and scores.dtype in UNSIGNED:
        return torch.from_numpy(_select(scores.numpy(), UNSIGNED[scores.dtype], count))
    if scores.is_floating_point():
        scores = scores.masked_fill(scores.isnan(), torch.nan)  # all NaN alike, whatever their bits
    order = scores.sort(stable=True).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(0, order[:count], True)


def _select(values: NDArray[Any], unsigned: Any, count: int) -> NDArray[np.bool]:
    if count == 0:
        return np.zeros(values.shape, dtype=np.bool)
    threshold = _kth_smallest(values, unsigned, count)
    chosen = np.ones(values.shape, dtype=np.bool) if np.isnan(threshold) else values <= threshold
    excess = np.count_nonzero(chosen) - count
    if excess:
        ties = np.isnan(values) if np.isnan(threshold) else values == threshold
        chosen[np.flatnonzero(ties)[-excess:]] = False
    return chosen


def _kth_smallest(values: NDArray[Any], unsigned: Any, count: int) -> Any:
    """The ``count``-th smallest value, 1-based; 0.0 for either zero.

    Positive floats order like their bits, and NumPy selects among integers several times faster than among floats, but an
    order of magnitude slower where many are equal and the smallest, as the scores of pruned weights and zeros are. Those are
    counted first, and kept out of the way at the large end: less 1, a zero becomes the largest integer of all.
    """
    num_negative = np.count_nonzero(values < 0)
    if count <= num_negative:
        return np.partition(values[values < 0], count - 1)[count - 1]
    place = count - num_negative - np.count_nonzero(values == 0) - 1
    if place < 0:
        return values.dtype.type(0)
    keys = np.ascontiguousarray(values).view(unsigned) - unsigned(1)
    keys.partition(place)
    found = (keys[place : place + 1] + unsigned(1)).view(values.dtype)[0]
    return found if found > 0 else values.dtype.type(np.nan)  # beyond the positive ones there are only NaN left
