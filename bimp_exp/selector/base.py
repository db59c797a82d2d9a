"""Selection criteria: functions of the weights, the masks so far and how much to prune.

Laws for all of them: exactly the asked number is pruned (in all, or per layer, as the criterion says); ties are broken by
(layer order, flat C-order index), the earlier one is pruned first; what is pruned stays pruned; the inputs are not changed.

To write a selector, import from here ``Selector``, ``PruningTarget`` and ``Masks``, and ``one_threshold`` for scores that all
layers share; or derive from ``PerLayer``, which asks how many of the smallest |w| each ``Layer`` loses; or use ``prune_lowest`` for
one layer. It is called by ``select``, so its weights are plain numbers: ``w.abs()`` builds no graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bimp_exp.errors import ConfigError
from bimp_exp.selector._smallest import smallest
from bimp_exp.selector._vector import join, part

Masks = dict[str, Tensor]  # name of the weight -> bool tensor of its shape, True = kept

PRUNED_SCORE = -1.0  # of what is pruned already: below all others, so that it stays pruned


@dataclass(frozen=True, kw_only=True)
class PruningTarget:
    """How much one pruning is to prune.

    fraction_of_remaining: share of the weights not yet pruned that is pruned now. total_pruned: how many weights of the network
    are pruned afterwards. Criteria with one threshold follow ``total_pruned``; those with a rule per layer may miss it by the
    layers' roundings.
    """

    fraction_of_remaining: float
    total_pruned: int

    def __post_init__(self) -> None:
        if self.fraction_of_remaining > 1:
            raise ConfigError(
                f"sparsity: {self.fraction_of_remaining:g} of the remaining weights cannot be removed by any selector, at most 1 "
                "(all of them); choose a lower one"
            )


@dataclass(frozen=True, kw_only=True)
class Selector:
    """The base of every option of ``conf/selector/``."""

    rounding: ClassVar[float | None] = 0.0
    """By how many weights a layer may miss its share of ``total_pruned``; None where that number is no goal."""

    def check(self, shapes: Sequence[Sequence[int]], target: PruningTarget) -> None:
        """Raise ConfigError where weights of these shapes cannot be pruned so much, before anything is trained."""

    def prunes(self, shape: Sequence[int]) -> bool:
        """Whether a weight of this shape is ever pruned."""
        return True

    def without_last_layer(self) -> Selector:
        """The rule for a network whose last layer is none of the weights, since it is never pruned."""
        return self

    def __call__(self, weights: Mapping[str, Tensor], masks: Masks, target: PruningTarget) -> Masks:
        """New masks; ``weights`` and ``masks`` have the same names and shapes."""
        raise NotImplementedError


def select(selector: Selector, weights: Mapping[str, Tensor], masks: Masks, target: PruningTarget) -> Masks:
    """New masks by ``selector``, which gets the weights without their gradients and builds no graph."""
    with torch.no_grad():
        return selector({name: weight.detach() for name, weight in weights.items()}, masks, target)


def one_threshold(scores: Mapping[str, Tensor], masks: Masks, total_pruned: int) -> Masks:
    """New masks without the ``total_pruned`` lowest scores, all >= 0, of all layers together; a layer may lose everything."""
    every = join(list(scores.values())).masked_fill(~join([masks[name] for name in scores]), PRUNED_SCORE)
    kept = part(~smallest(every, total_pruned), list(scores.values()))
    return dict(zip(scores, kept, strict=True))


def prune_lowest(scores: Tensor, mask: Tensor, total_pruned: int) -> Tensor:
    """The mask of one layer without its ``total_pruned`` lowest ``scores``, all >= 0, among them what ``mask`` prunes already."""
    pruned = smallest(scores.masked_fill(~mask, PRUNED_SCORE).flatten(), total_pruned)
    return torch.empty_like(scores, dtype=torch.bool).copy_(~pruned.view(scores.shape))


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer as a rule per layer sees it: the shape of its weight, and how many entries are not yet pruned."""

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
    """Each layer loses its smallest |w|; the subclass says how many."""

    rounding: ClassVar[float | None] = 0.5

    def counts(self, layers: Sequence[Layer], target: PruningTarget) -> list[int]:
        """How many of the weights left in each layer are pruned now; ConfigError where ``target`` is infeasible."""
        raise NotImplementedError

    def check(self, shapes: Sequence[Sequence[int]], target: PruningTarget) -> None:
        """Infeasible is what ``counts`` refuses."""
        self.counts([Layer(shape=tuple(shape), num_left=math.prod(shape)) for shape in shapes], target)

    def __call__(self, weights: Mapping[str, Tensor], masks: Masks, target: PruningTarget) -> Masks:
        """Count what is left, then prune each layer."""
        left = torch.stack([masks[name].count_nonzero() for name in weights]).tolist()
        layers = [Layer(shape=tuple(w.shape), num_left=n) for w, n in zip(weights.values(), left, strict=True)]
        now = self.counts(layers, target)
        pruned = [x.num_weights - x.num_left + n for x, n in zip(layers, now, strict=True)]
        return {
            name: prune_lowest(w.abs(), masks[name], n) for (name, w), n in zip(weights.items(), pruned, strict=True)
        }
