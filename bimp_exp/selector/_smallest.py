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

    Of equal scores the ones with the lower index are taken. NaN counts as largest. Nothing is sorted: it costs a few passes
    over memory, and on a GPU the host does not wait.
    """
    if not 0 <= count <= scores.numel():
        raise ValueError(f"count {count} of {scores.numel()} scores")
    scores = scores.detach()
    if scores.device.type == "cpu" and scores.dtype in UNSIGNED:
        return torch.from_numpy(_select(scores.numpy(), UNSIGNED[scores.dtype], count))
    return _select_anywhere(scores, count)


def _select_anywhere(scores: Tensor, count: int) -> Tensor:
    """The same with PyTorch's own operations, all of them deterministic on a GPU."""
    if count in (0, scores.numel()):
        return torch.full_like(scores, count > 0, dtype=torch.bool)
    keys = _ordered(scores)
    if 2 * count <= len(keys):
        threshold = keys.topk(count, largest=False, sorted=False).values.amax()
    else:
        threshold = keys.topk(len(keys) - count + 1, sorted=False).values.amin()
    below, ties = keys < threshold, keys == threshold
    return below | (ties & (ties.cumsum(0) <= count - below.sum()))


def _ordered(scores: Tensor) -> Tensor:
    """Integers in the order of ``scores``, equal where these are: the bits of a float, of which a negative one's are turned."""
    if not scores.is_floating_point():
        return scores
    wide = scores if scores.dtype == torch.float64 else scores.float()
    wide = wide.masked_fill(wide.isnan(), torch.nan) + 0.0  # one NaN, and one zero
    bits = wide.view(torch.int64 if wide.dtype == torch.float64 else torch.int32)
    return torch.where(bits < 0, bits ^ torch.iinfo(bits.dtype).max, bits)


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
