"""Uniform: every layer loses the same share of what it has left, its smallest |w| (Lee et al. 2021; paper, Section 4).

count_l = round(s R_l),  R_l weights left in layer l, s the fraction of them that goes; halves to the even number
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bimp_exp.selector._allocation import Layer, PerLayer
from bimp_exp.selector.base import Cut


@dataclass(frozen=True, kw_only=True)
class Uniform(PerLayer):
    """The first and the last layer are treated as all others."""

    def counts(self, layers: Sequence[Layer], cut: Cut) -> list[int]:
        """See PerLayer."""
        return [round(cut.fraction * layer.num_left) for layer in layers]
