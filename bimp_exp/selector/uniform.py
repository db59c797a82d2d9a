"""Uniform: every layer loses the same share of what it has left, its smallest |w| (Lee et al. 2021; paper, Section 4).

count_l = round(s R_l),  R_l weights left in layer l, s the fraction of them that is pruned; halves to the even number
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bimp_exp.selector.base import Layer, PerLayer, PruningTarget


@dataclass(frozen=True, kw_only=True)
class Uniform(PerLayer):
    """The first and the last layer are treated as all others."""

    def counts(self, layers: Sequence[Layer], target: PruningTarget) -> list[int]:
        """round(s R_l)."""
        return [round(target.fraction_of_remaining * layer.num_left) for layer in layers]
