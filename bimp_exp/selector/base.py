"""What a selection criterion is: a function of the weights, the masks so far and how much to cut.

Laws for all of them: exactly the asked number goes (in all, or per layer, as the criterion says); ties are broken by
(layer order, flat C-order index), the earlier goes first; what is pruned stays pruned; the inputs are not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

Masks = dict[str, Tensor]  # name of the weight -> bool tensor of its shape, True = kept


@dataclass(frozen=True, kw_only=True)
class Cut:
    """``fraction`` of the remaining weights is to go, so that ``num_pruned`` of all are gone afterwards."""

    fraction: float
    num_pruned: int


class Selector(Protocol):
    """One option of ``conf/selector/``."""

    def __call__(self, weights: Mapping[str, Tensor], masks: Masks, cut: Cut) -> Masks:
        """New masks; ``weights`` and ``masks`` have the same names and shapes."""
        ...
