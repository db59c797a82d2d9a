"""The epochs of a run and how its phases share them: BIMP is a budget, not an algorithm.

T = ``epochs``, T_0 = ``dense_epochs``, T_rt = ``retrain_epochs`` (per cycle), J = ``cycles``, S = ``sparsity``. Every
cycle prunes the fraction p = 1 - (1 - S)^(1/J) of the remaining weights, so the sparsity after cycle j is
S_j = 1 - (1 - S)^(j/J) (paper, Section 2.1). Imports no PyTorch.

>>> bimp = BIMP(epochs=200, dense_epochs=60, retrain_epochs=None, cycles=3, finetune_epochs=0)
>>> for phase in bimp.phases(0.9):
...     print(f"{phase.name}: {phase.epochs} epochs, prunes {phase.fraction:.3f} of the rest, to {phase.sparsity:.3f}")
dense: 60 epochs, prunes 0.000 of the rest, to 0.000
cycle 1: 46 epochs, prunes 0.536 of the rest, to 0.536
cycle 2: 46 epochs, prunes 0.536 of the rest, to 0.785
cycle 3: 48 epochs, prunes 0.536 of the rest, to 0.900
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bimp_exp.errors import ConfigError
from bimp_exp.types import Count, Fraction, NonNegative

TRAINING = "training"  # label of the phase in which a method prunes while it trains


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of training, and the pruning before it.

    cycle: 0 for the first phase; each cycle j >= 1 first prunes. A method that prunes while it trains has its training as
        cycle 0 and, after its final prune, its fine-tuning as cycle 1.
    pruned_by: what prunes at its start: the run's selector, or the method, whose final prune it is; "" where nothing does.
    fraction: share of the remaining weights that the selector prunes at its start.
    sparsity: share of all prunable weights that are then pruned.
    label: how logs and reports call it, where not by its cycle.
    """

    cycle: int
    epochs: float
    pruned_by: Literal["", "selector", "method"] = ""
    fraction: float = 0.0
    sparsity: float = 0.0
    label: str = ""

    @property
    def name(self) -> str:
        """The label, ``cycle j`` or ``dense``."""
        return self.label or (f"cycle {self.cycle}" if self.cycle else "dense")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Base of the options of ``conf/budget/``.

    epochs: T.
    finetune_epochs: on top of T, for methods that prune while they train (paper, Section 3.3); others ignore them.
    """

    epochs: Count
    finetune_epochs: NonNegative

    def phases(self, sparsity: float) -> list[Phase]:
        """The phases in order, dense training first, ending at ``sparsity``; ConfigError where numbers do not fit."""
        raise NotImplementedError

    def training(self, sparsity: float) -> list[Phase]:
        """Those of a method that prunes while it trains, without its fine-tuning: it has all the epochs."""
        return [Phase(cycle=0, epochs=self.total(sparsity), label=TRAINING)]

    def total(self, sparsity: float) -> float:
        """The epochs that any method may spend on a run under this budget."""
        return sum(phase.epochs for phase in self.phases(sparsity))


def split_epochs(epochs: int, cycles: int) -> list[int]:
    """``epochs`` over ``cycles``: equal parts rounded down, the rest to the last (published code).

    >>> split_epochs(100, 3)
    [33, 33, 34]
    """
    share = epochs // cycles
    return [share] * (cycles - 1) + [epochs - share * (cycles - 1)]


def fraction_per_cycle(sparsity: float, cycles: int) -> float:
    """p = 1 - (1 - S)^(1/J).

    >>> round(fraction_per_cycle(0.9, 2), 6)
    0.683772
    """
    return 1 - math.pow(1 - sparsity, 1 / cycles)


def iterative(dense_epochs: int, retrain_epochs: list[int] | list[float], sparsity: float) -> list[Phase]:
    """Dense training, then one prune-retrain cycle for every entry of ``retrain_epochs``.

    >>> [(phase.epochs, round(phase.sparsity, 3)) for phase in iterative(200, [2.5, 2.5], 0.9)]
    [(200, 0.0), (2.5, 0.684), (2.5, 0.9)]
    """
    cycles = len(retrain_epochs)
    fraction = fraction_per_cycle(sparsity, cycles)
    sparsities = [1 - math.pow(1 - sparsity, j / cycles) for j in range(1, cycles)] + [sparsity]
    return [
        Phase(cycle=0, epochs=dense_epochs),
        *(
            Phase(cycle=j, epochs=e, pruned_by="selector", fraction=fraction, sparsity=s)
            for j, (e, s) in enumerate(zip(retrain_epochs, sparsities, strict=True), start=1)
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class IMP(Budget):
    """T epochs of dense training, then J cycles of T_rt epochs each (Han et al. 2015; paper, Section 2.1).

    retrain_epochs: T_rt, of each cycle; None where ``retrain_fraction`` says it.
    retrain_fraction: T_rt / T, so that a grid keeps its shape when T changes; None where ``retrain_epochs`` says it.
    cycles: J.
    """

    retrain_epochs: NonNegative | None
    retrain_fraction: NonNegative | None
    cycles: Count

    def phases(self, sparsity: float) -> list[Phase]:
        return iterative(self.epochs, [self._retrain_epochs()] * self.cycles, sparsity)

    def _retrain_epochs(self) -> float:
        """T_rt, a whole number where the product is one but for its last digits; ConfigError unless one key alone says it."""
        if self.retrain_fraction is None:
            if self.retrain_epochs is None:
                raise ConfigError("budget.retrain_epochs and budget.retrain_fraction are null: one must be a number")
            return self.retrain_epochs
        if self.retrain_epochs is not None:
            raise ConfigError(
                f"budget.retrain_epochs={self.retrain_epochs} and budget.retrain_fraction={self.retrain_fraction}: "
                "both say how long a cycle is, leave one of them out"
            )
        epochs = round(self.retrain_fraction * self.epochs, 9)
        return int(epochs) if epochs == int(epochs) else epochs


@dataclass(frozen=True, kw_only=True)
class BIMP(Budget):
    """T epochs in all: T_0 of dense training, the rest in J cycles (paper, Section 2.2).

    dense_epochs: T_0.
    retrain_epochs: T_rt, of each cycle; None divides T - T_0 over the cycles.
    cycles: J.
    """

    dense_epochs: Count
    retrain_epochs: Count | None
    cycles: Count

    def total(self, sparsity: float) -> float:
        """T, whether or not the cycles use all of it."""
        return self.epochs

    def phases(self, sparsity: float) -> list[Phase]:
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


PAPER_CYCLES = {0.9: 10, 0.95: 14, 0.98: 18}  # sparsity -> J (Section 3.2)


@dataclass(frozen=True, kw_only=True)
class Renda(Budget):
    """The expensive baseline: about a fifth of the weights a cycle, each as long as dense training (Renda et al. 2020).

    fraction: at most this share of the remaining weights is pruned in a cycle, where ``cycles`` does not say more.
    cycles: J; None takes the fewest cycles that ``fraction`` allows. The last one hits the goal exactly.
    paper_cycles: but the paper's own J where it has one (Section 3.2), 10 for 90 %, where 20 % a cycle need 11.
    exact_fraction: every cycle prunes ``fraction`` and the last one misses the goal instead; so the cycles of a lower sparsity are
        the first ones of a higher, and are computed once.

    >>> renda = Renda(epochs=200, finetune_epochs=0, fraction=0.2, cycles=None, paper_cycles=False)
    >>> renda.num_cycles(0.9), renda.num_cycles(0.95), renda.num_cycles(0.98)
    (11, 14, 18)
    >>> exact = Renda(epochs=200, finetune_epochs=0, fraction=0.2, cycles=None, paper_cycles=True, exact_fraction=True)
    >>> [round(100 * exact.phases(goal)[-1].sparsity, 2) for goal in (0.9, 0.95, 0.98)]
    [89.26, 95.6, 98.2]
    """

    fraction: Fraction
    cycles: Count | None
    paper_cycles: bool
    exact_fraction: bool = False

    def num_cycles(self, sparsity: float) -> int:
        """J: as given, or the paper's, or ceil(log(1 - S) / log(1 - fraction)), at least 1."""
        if self.cycles is not None:
            return self.cycles
        if self.paper_cycles and sparsity in PAPER_CYCLES:
            return PAPER_CYCLES[sparsity]
        return max(1, math.ceil(math.log1p(-sparsity) / math.log1p(-self.fraction) - 1e-9))

    def phases(self, sparsity: float) -> list[Phase]:
        cycles = self.num_cycles(sparsity)
        if not self.exact_fraction:
            return iterative(self.epochs, [self.epochs] * cycles, sparsity)
        pruned = {"epochs": self.epochs, "pruned_by": "selector", "fraction": self.fraction}
        goals = (1 - math.pow(1 - self.fraction, j) for j in range(1, cycles + 1))
        later = [Phase(cycle=j, sparsity=s, **pruned) for j, s in enumerate(goals, start=1)]  # type: ignore[arg-type]
        return [Phase(cycle=0, epochs=self.epochs), *later]


@dataclass(frozen=True, kw_only=True)
class Dense(Budget):
    """T epochs in one phase: dense training, or a method that prunes while it trains."""

    def phases(self, sparsity: float) -> list[Phase]:
        return [Phase(cycle=0, epochs=self.epochs)]


@dataclass(frozen=True, kw_only=True)
class Pretrained(Budget):
    """T epochs of dense training, then E of a method that prunes while it trains (GSM and LC in Section 3.3).

    train_epochs: E.
    """

    train_epochs: Count

    def phases(self, sparsity: float) -> list[Phase]:
        return [Phase(cycle=0, epochs=self.epochs), Phase(cycle=0, epochs=self.train_epochs, label=TRAINING)]

    def training(self, sparsity: float) -> list[Phase]:
        return self.phases(sparsity)
