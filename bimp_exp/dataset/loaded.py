"""The data sets that this process has loaded, so that the runs of one worker share them on their device."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from bimp_exp.dataset.base import Dataset
    from bimp_exp.dataset.data import Data

KEPT = 2  # so many lie in memory at once
_kept: OrderedDict[str, Data] = OrderedDict()


def load(
    dataset: Dataset, device: torch.device, *, augment_validation: bool, memory_format: torch.memory_format
) -> Data:
    """What ``dataset.load`` gives; one of the same fields, which is never written to, is loaded once."""
    key = repr((dataset, device, augment_validation, memory_format))
    if key not in _kept:
        while len(_kept) >= KEPT:  # first, so that no more of them meet in memory
            _kept.popitem(last=False)
        _kept[key] = dataset.load(device, augment_validation=augment_validation, memory_format=memory_format)
    _kept.move_to_end(key)
    return _kept[key]
