"""How scores become masks: one threshold for all layers, or a number of weights for each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bimp_exp.selector._smallest import smallest
from bimp_exp.selector._vector import join, part
from bimp_exp.selector.base import Cut, Masks, Selector

GONE = -1.0  # the score of what is pruned already: below all others, so that it stays pruned


def one_threshold(scores: Mapping[str, Tensor], masks: Masks, num_pruned: int) -> Masks:
    """New masks without the ``num_pruned`` lowest scores, all >= 0, of all layers together; a layer may lose everything."""
    every = join(list(scores.values())).masked_fill(~join([masks[name] for name in scores]), GONE)
    kept = part(~smallest(every, num_pruned), list(scores.values()))
    return dict(zip(scores, kept, strict=True))


def lowest_go(scores: Tensor, mask: Tensor, num_gone: int) -> Tensor:
    """The mask of one layer without the ``num_gone`` lowest ``scores``, all >= 0, among which are those it has lost already."""
    gone = smallest(scores.masked_fill(~mask, GONE).flatten(), num_gone)
    return torch.empty_like(scores, dtype=torch.bool).copy_(~gone.view(scores.shape))


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
        left = torch.stack([masks[name].count_nonzero() for name in weights]).tolist()
        layers = [Layer(shape=tuple(w.shape), num_left=n) for w, n in zip(weights.values(), left, strict=True)]
        gone = [x.num_weights - x.num_left + n for x, n in zip(layers, self.counts(layers, cut), strict=True)]
        return {
            name: lowest_go(w.detach().abs(), masks[name], n)
            for (name, w), n in zip(weights.items(), gone, strict=True)
        }
