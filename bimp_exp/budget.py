"""How many epochs a run has and how they are spent: BIMP is a budget, not an algorithm.

T = ``epochs``, T_0 = ``dense_epochs``, T_rt = ``retrain_epochs`` (per cycle), J = ``cycles``, S = ``sparsity``. Every
cycle removes the share p = 1 - (1 - S)^(1/J) of the weights that are left, so S_j = 1 - (1 - S)^(j/J) are gone after
cycle j (paper, Section 2.1). Imports no PyTorch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bimp_exp.errors import ConfigError
from bimp_exp.types import Count, Fraction, NonNegative


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of training. ``cycle`` 0 is the first; each cycle j >= 1 begins with a pruning.

    pruned_by: what prunes at its start: the run's selector, or the method, whose final prune it is; "" where nothing does.
    fraction: share of the remaining weights that the selector prunes then. sparsity: share of all that are pruned afterwards.
    label: its name in logs and reports, where it has one of its own.
    """

    cycle: int
    epochs: float
    pruned_by: Literal["", "selector", "method"] = ""
    fraction: float = 0.0
    sparsity: float = 0.0
    label: str = ""

    @property
    def name(self) -> str:
        """How logs and reports call it."""
        return self.label or (f"cycle {self.cycle}" if self.cycle else "dense")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What each of ``conf/budget/`` has in common; ``epochs`` is T.

    ``finetune_epochs`` come on top for methods that prune while they train (paper, Section 3.3); others ignore them.
    """

    epochs: Count
    finetune_epochs: NonNegative

    def phases(self, sparsity: float) -> list[Phase]:
        """The phases in order, dense training first, ending at ``sparsity``; ConfigError where numbers do not fit."""
        raise NotImplementedError

    def total(self, sparsity: float) -> float:
        """The epochs that any method may spend on a run under this budget."""
        return sum(phase.epochs for phase in self.phases(sparsity))


def split_epochs(epochs: int, cycles: int) -> list[int]:
    """``epochs`` over ``cycles``: equal parts rounded down, the rest to the last (published code)."""
    share = epochs // cycles
    return [share] * (cycles - 1) + [epochs - share * (cycles - 1)]


def fraction_per_cycle(sparsity: float, cycles: int) -> float:
    """p = 1 - (1 - S)^(1/J)."""
    return 1 - math.pow(1 - sparsity, 1 / cycles)


def iterative(dense_epochs: int, retrain_epochs: list[int] | list[float], sparsity: float) -> list[Phase]:
    """Dense training, then one prune-retrain cycle for every entry of ``retrain_epochs``."""
    cycles = len(retrain_epochs)
    fraction = fraction_per_cycle(sparsity, cycles)
    gone = [1 - math.pow(1 - sparsity, j / cycles) for j in range(1, cycles)] + [sparsity]
    return [
        Phase(cycle=0, epochs=dense_epochs),
        *(
            Phase(cycle=j, epochs=e, pruned_by="selector", fraction=fraction, sparsity=s)
            for j, (e, s) in enumerate(zip(retrain_epochs, gone, strict=True), start=1)
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class IMP(Budget):
    """T epochs of dense training, then J cycles of T_rt epochs each (Han et al. 2015; paper, Section 2.1)."""

    retrain_epochs: NonNegative
    cycles: Count

    def phases(self, sparsity: float) -> list[Phase]:
        """See Budget."""
        return iterative(self.epochs, [self.retrain_epochs] * self.cycles, sparsity)


@dataclass(frozen=True, kw_only=True)
class BIMP(Budget):
    """T epochs in all: T_0 of dense training, the rest in J cycles (paper, Section 3.3)."""

    dense_epochs: Count
    retrain_epochs: Count | None
    cycles: Count

    def total(self, sparsity: float) -> float:
        """T, whether or not the cycles use all of it."""
        return self.epochs

    def phases(self, sparsity: float) -> list[Phase]:
        """See Budget."""
        left = self.epochs - self.dense_epochs
        if left <= 0:
            raise ConfigError(
                f"budget.dense_epochs={self.dense_epochs} must be less than budget.epochs={self.epochs}: "
                "the epochs left are for retraining"
            )
        if self.retrain_epochs is None:
            if left < self.cycles:
                raise ConfigError(
                    f"budget.cycles={self.cycles} must be at most {left}, the epochs that budget.epochs="
                    f"{self.epochs} leaves after budget.dense_epochs={self.dense_epochs}"
                )
            return iterative(self.dense_epochs, split_epochs(left, self.cycles), sparsity)
        if self.cycles * self.retrain_epochs > left:
            raise ConfigError(
                f"budget.dense_epochs={self.dense_epochs} + budget.cycles={self.cycles} x budget.retrain_epochs="
                f"{self.retrain_epochs} is {self.dense_epochs + self.cycles * self.retrain_epochs} epochs: "
                f"more than budget.epochs={self.epochs}"
            )
        return iterative(self.dense_epochs, [self.retrain_epochs] * self.cycles, sparsity)


PAPER_CYCLES = {0.9: 10, 0.95: 14, 0.98: 18}


@dataclass(frozen=True, kw_only=True)
class Renda(Budget):
    """The expensive baseline: about ``fraction`` of the weights a cycle, each as long as dense training (Renda et al. 2020).

    ``cycles`` null takes the fewest cycles that remove at most ``fraction`` each; the last one hits the goal exactly.
    ``paper_cycles``: but the paper's own number where it has one (Section 3.3), 10 for 90 %, where 20 % a cycle need 11.
    """

    fraction: Fraction
    cycles: Count | None
    paper_cycles: bool

    def num_cycles(self, sparsity: float) -> int:
        """J: as given, or the paper's, or ceil(log(1 - S) / log(1 - fraction)), at least 1."""
        if self.cycles is not None:
            return self.cycles
        if self.paper_cycles and sparsity in PAPER_CYCLES:
            return PAPER_CYCLES[sparsity]
        return max(1, math.ceil(math.log1p(-sparsity) / math.log1p(-self.fraction) - 1e-9))

    def phases(self, sparsity: float) -> list[Phase]:
        """See Budget."""
        return iterative(self.epochs, [self.epochs] * self.num_cycles(sparsity), sparsity)


@dataclass(frozen=True, kw_only=True)
class Dense(Budget):
    """T epochs in one phase: dense training, or a method that prunes while it trains."""

    def phases(self, sparsity: float) -> list[Phase]:
        """See Budget."""
        return [Phase(cycle=0, epochs=self.epochs)]
