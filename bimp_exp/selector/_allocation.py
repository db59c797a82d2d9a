"""How scores become masks: one threshold for all layers, or a number of weights for each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bimp_exp.selector._smallest import smallest
from bimp_exp.selector.base import Cut, Masks, Selector

GONE = -1.0  # the score of what is pruned already: below all others, so that it stays pruned


def one_threshold(scores: Mapping[str, Tensor], masks: Masks, num_pruned: int) -> Masks:
    """New masks without the ``num_pruned`` lowest scores, all >= 0, of all layers together; a layer may lose everything."""
    every = torch.cat([score.masked_fill(~masks[name], GONE).flatten() for name, score in scores.items()])
    parts = torch.split(~smallest(every, num_pruned), [score.numel() for score in scores.values()])
    return {name: part.view(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}


def lowest_go(scores: Tensor, mask: Tensor, count: int) -> Tensor:
    """The mask of one layer without the ``count`` lowest ``scores``, all >= 0, among what it keeps."""
    num_gone = mask.numel() - int(mask.count_nonzero())
    return ~smallest(scores.masked_fill(~mask, GONE).flatten(), num_gone + count).view(mask.shape)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What a rule per layer may know of a layer: the shape of its weight, and how many entries are left."""

    shape: tuple[int, ...]
    num_left: int

    @property
    def num_weights(self) -> int:
        """Entries, pruned ones included."""
        return math.prod(self.shape)

    @property
    def is_conv(self) -> bool:
        """(out, in / groups, height, width) for a convolution, (out, in) for a linear layer."""
        return len(self.shape) > 2


@dataclass(frozen=True, kw_only=True)
class PerLayer(Selector):
    """The smallest |w| of each layer go; the subclass says how many."""

    rounding: ClassVar[float | None] = 0.5

    def counts(self, layers: Sequence[Layer], cut: Cut) -> list[int]:
        """How many of the weights left in each layer go now; ConfigError where ``cut`` is infeasible."""
        raise NotImplementedError

    def check(self, shapes: Sequence[Sequence[int]], cut: Cut) -> None:
        """See Selector."""
        self.counts([Layer(shape=tuple(shape), num_left=math.prod(shape)) for shape in shapes], cut)

    def __call__(self, weights: Mapping[str, Tensor], masks: Masks, cut: Cut) -> Masks:
        """See Selector."""
        layers = [Layer(shape=tuple(w.shape), num_left=int(masks[name].count_nonzero())) for name, w in weights.items()]
        counts = zip(weights.items(), self.counts(layers, cut), strict=True)
        return {name: lowest_go(w.detach().abs(), masks[name], count) for (name, w), count in counts}
