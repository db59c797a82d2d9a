"""What a selection criterion is: a function of the weights, the masks so far and how much to cut.

Laws for all of them: exactly the asked number goes (in all, or per layer, as the criterion says); ties are broken by
(layer order, flat C-order index), the earlier goes first; what is pruned stays pruned; the inputs are not changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bimp_exp.errors import ConfigError

Masks = dict[str, Tensor]  # name of the weight -> bool tensor of its shape, True = kept


@dataclass(frozen=True, kw_only=True)
class Cut:
    """``fraction`` of the remaining weights is to go, so that ``num_pruned`` of all are gone afterwards.

    Criteria with one threshold follow ``num_pruned``; those with a rule per layer may miss it by the layers' roundings.
    """

    fraction: float
    num_pruned: int

    def __post_init__(self) -> None:
        if self.fraction > 1:
            raise ConfigError(
                f"sparsity: {self.fraction:g} of the remaining weights cannot be removed by any selector, at most 1 "
                "(all of them); choose a lower one"
            )


@dataclass(frozen=True, kw_only=True)
class Selector:
    """What each of ``conf/selector/`` has in common."""

    rounding: ClassVar[float | None] = 0.0
    """How many weights a layer may miss its share by, when ``num_pruned`` of all are to go; None where that is no goal."""

    def check(self, shapes: Sequence[Sequence[int]], cut: Cut) -> None:
        """Raise ConfigError where no weights of these shapes could be cut so much, before anything is trained."""

    def __call__(self, weights: Mapping[str, Tensor], masks: Masks, cut: Cut) -> Masks:
        """New masks; ``weights`` and ``masks`` have the same names and shapes."""
        raise NotImplementedError
