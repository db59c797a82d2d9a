"""Content of result.json, typed. Scores are of the task's metric, in [0, 1], one per split of the data.

A field has the name of its key in the file, and the order of the fields is that of the keys. Of several bases the last comes
first: the keys of ``Final`` are those of a candidate, then those of a network. Imports no PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bimp_exp.results.codec import Json

Real = int | float


@dataclass(frozen=True, kw_only=True)
class Scores(Json):
    """The metric on each split. test_details: further numbers of the task's metric on the test split, by name."""

    train: Real
    validation: Real
    test: Real
    test_details: dict[str, Real | None] | None = None


@dataclass(frozen=True, kw_only=True)
class LearningRate(Json):
    """The learning rate at the first and the last step of a phase, and the highest one."""

    first: Real
    peak: Real
    last: Real


@dataclass(frozen=True, kw_only=True)
class LearningRateCurve(Json):
    """The learning rate (``rate``) over the whole run, by the number of steps done (``step``); thinned out for plots."""

    step: tuple[Real, ...]
    rate: tuple[Real, ...]


@dataclass(frozen=True, kw_only=True)
class LayerFacts(Json):
    """One prunable weight tensor. multiply_adds: of one item; None where the layer's use could not be counted."""

    name: str
    num_weights: int
    num_zeros: int
    multiply_adds: int | None


@dataclass(frozen=True, kw_only=True)
class NetworkFacts(Json):
    """Sparsity and multiply-adds of a network, for one item.

    sparsity_selectable: zeros over the weights that the run's selector ever prunes; None where these are all prunable ones.
    multiply_adds_dense, multiply_adds_sparse, theoretical_speedup: None where some prunable weight was not counted.
    multiply_adds_attention: of the products of attention, which are in none of these three; None where there are none.
    speedup_with_attention: theoretical_speedup with them, which no pruning saves, in both networks.
    not_prunable: weight matrices that no selector sees (name -> number of weights); None where there is none.
    """

    sparsity: Real
    sparsity_all_parameters: Real
    multiply_adds_dense: int | None
    multiply_adds_sparse: Real | None
    theoretical_speedup: Real | None
    layers: tuple[LayerFacts, ...]
    sparsity_selectable: Real | None = None
    multiply_adds_attention: int | None = None
    speedup_with_attention: Real | None = None
    not_prunable: dict[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class PruningEffect(Json):
    """The effect of one pruning on the scores, and the distances d1, d2 that it reports to the schedule.

    fraction: of the remaining weights, pruned now. d: peak of the learning rate that followed / peak of the original one.
    pruning_stability: None where there was nothing to keep.
    """

    fraction: Real
    num_pruned: int
    before: Scores
    right_after: Scores
    pruning_stability: Real | None
    d1: Real
    d1_prunable: Real
    d2: Real
    d: Real | None
    emptied_layers: tuple[str, ...]
    seconds_evaluating: Real


@dataclass(frozen=True, kw_only=True)
class PruningResult(NetworkFacts, PruningEffect):
    """The pruning that opens a phase, and the network right after it."""


@dataclass(frozen=True, kw_only=True)
class PhaseResult(Json):
    """One phase: an optional pruning and the training after it.

    first_step: number of optimiser steps before it. metrics: at its end. key: of the phase in the store.
    clipped_steps: share of its steps in which gradients were clipped. largest_gradient_norm: of any step, before it was
    clipped. None where gradients are not clipped.
    """

    name: str
    first_step: int
    num_steps: int
    epochs: Real
    num_images: int
    seconds_training: Real
    seconds_warming_up: Real | None = None
    seconds_evaluating: Real
    images_per_second: Real | None
    learning_rate: LearningRate | None
    metrics: Scores
    pruning: PruningResult | None
    key: str | None = None
    clipped_steps: Real | None = None
    largest_gradient_norm: Real | None = None

    @property
    def seconds(self) -> float:
        """Training, warming up and evaluating, also around its pruning."""
        pruning = self.pruning.seconds_evaluating if self.pruning else 0.0
        return float(self.seconds_training + (self.seconds_warming_up or 0.0) + self.seconds_evaluating + pruning)


@dataclass(frozen=True, kw_only=True)
class Candidate(Json):
    """A network that the run may end with: as it was after ``phase``, ``epochs`` from the start of the run."""

    phase: str | None = None
    epochs: Real | None = None
    sparsity: Real
    train: Real
    validation: Real
    test: Real
    test_details: dict[str, Real | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Final(NetworkFacts, Candidate):
    """The network that the run ends with: the candidate of highest validation score, and what it is like."""

    @classmethod
    def of(cls, candidate: Candidate, facts: NetworkFacts) -> Final:
        """Both as one."""
        return cls(**vars(candidate) | vars(facts))


@dataclass(frozen=True, kw_only=True)
class BudgetUse(Json):
    """Epochs allowed and used, and the steps and training images that this came to."""

    epochs: Real
    epochs_used: Real
    num_steps: int
    num_images: int

    @property
    def deviation(self) -> str:
        """ "used/allowed" where the run did not use exactly its budget, else ""."""
        return "" if self.epochs_used == self.epochs else f"{self.epochs_used:g}/{self.epochs:g}"


@dataclass(frozen=True, kw_only=True)
class Ledger(Json):
    """Everything that the run spent (``bimp_exp.results.ledger``); multiply-adds are None where they could not be counted.

    images_evaluated: by split. extra_passes: images that a decision needed, by reason; they are among images_evaluated.
    """

    epochs: Real
    num_steps: int
    num_images: int
    forward_multiply_adds: int | None
    backward_multiply_adds: int | None
    seconds: Real
    seconds_training: Real
    seconds_warming_up: Real
    images_evaluated: dict[str, int]
    extra_passes: dict[str, int]

    @property
    def multiply_adds(self) -> int | None:
        """Forward and backward together."""
        forward, backward = self.forward_multiply_adds, self.backward_multiply_adds
        return None if forward is None or backward is None else forward + backward


@dataclass(frozen=True, kw_only=True)
class Result(Json):
    """A finished run. attested: how often each invariant was checked. seconds: of the process that finished it."""

    phases: tuple[PhaseResult, ...]
    candidates: tuple[Candidate, ...] | None = None
    final: Final
    budget: BudgetUse
    ledger: Ledger | None = None
    attested: dict[str, int] | None = None
    images_per_second_includes: str
    computed_on: dict[str, Any] | None = None
    data_hash: str
    learning_rates: LearningRateCurve
    seconds: Real

    @property
    def seconds_of_phases(self) -> float:
        """Seconds that computing all phases took, also those that were computed for another run and found in the store."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def images_per_second(self) -> float | None:
        """Of all training together; None without any."""
        seconds = sum(phase.seconds_training for phase in self.phases)
        return sum(phase.num_images for phase in self.phases) / seconds if seconds else None
