"""What a run will do, computed from its configuration alone: phases, epochs, steps, sparsities, learning rates.

The run follows the same plan, so what ``plan=true`` prints is what happens. Imports no PyTorch and touches no data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bimp_exp.budget import Budget, Phase
from bimp_exp.config import signatures
from bimp_exp.config.build import build
from bimp_exp.config.check import check
from bimp_exp.errors import ConfigError
from bimp_exp.lr import Original, Schedule
from bimp_exp.run import compatible
from bimp_exp.schedule.base import PruneReport, Retraining
from bimp_exp.schedule.ft import FT


@dataclass(frozen=True, kw_only=True)
class PlannedPhase:
    """A phase in steps.

    number: 0 for the first.
    first_step: of the run, at which it begins.
    start: lowest and highest peak rate that it may have.
    rates: its learning rates; None where the report of the pruning before it decides.
    """

    number: int
    phase: Phase
    first_step: int
    num_steps: int
    start: tuple[float, float]
    rates: Schedule | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``original`` is the learning rate of the phase before the first pruning, ``retraining`` what is made of it after one.

    ``budget_epochs`` is what may be spent. ``items`` is what is trained on, images or pairs. ``has_target``: whether the phases'
    sparsities are what the method aims at.
    """

    phases: list[PlannedPhase]
    original: Schedule
    retraining: Retraining
    steps_per_epoch: int
    num_fit_items: int
    drops_last: bool
    items: str
    batch_size: int
    budget_epochs: float
    loads_dense: bool
    has_target: bool

    @property
    def num_steps(self) -> int:
        """Steps of all phases."""
        return sum(p.num_steps for p in self.phases)

    @property
    def start(self) -> int:
        """Number of the phase that the method trains, the last before the first pruning; one before it is dense training."""
        return max(p.number for p in self.phases if not p.phase.cycle)

    @property
    def prunes_while_training(self) -> bool:
        """Whether the method prunes in one phase, and finally at the start of the next."""
        return any(p.phase.pruned_by == "method" for p in self.phases)

    def rates(self, number: int, reports: Sequence[PruneReport]) -> Schedule:
        """The learning rates of phase ``number``, given the reports of the prunings up to its own."""
        planned = self.phases[number]
        if planned.rates is not None and not planned.phase.cycle:
            return planned.rates
        return self.retraining(self.original, planned.num_steps, reports[planned.phase.cycle - 1])

    @property
    def reference_epochs(self) -> float:
        """T of d2 = T_rt / T."""
        return self.retraining.reference_epochs or self.phases[0].phase.epochs

    @property
    def epochs(self) -> float:
        """Epochs of all phases that are really trained."""
        return sum(p.phase.epochs for p in self.phases if p.num_steps)

    @property
    def last_batch(self) -> int:
        """Items in the last batch of an epoch."""
        return self.num_items_per_epoch - (self.steps_per_epoch - 1) * self.batch_size

    @property
    def num_items_per_epoch(self) -> int:
        """Items that an epoch trains on."""
        return self.steps_per_epoch * self.batch_size if self.drops_last else self.num_fit_items

    def num_images(self, num_steps: int) -> int:
        """Items seen in the first ``num_steps`` steps of a phase; the last batch of an epoch may be smaller."""
        epochs, steps = divmod(num_steps, self.steps_per_epoch)
        return epochs * self.num_items_per_epoch + steps * self.batch_size


def make(
    *,
    num_fit_items: int,
    drops_last: bool,
    items: str,
    batch_size: int,
    lr: Original,
    budget: Budget,
    schedule: Retraining,
    prunes: str,
    sparsity: float,
    loads_dense: bool,
    has_target: bool,
) -> Plan:
    """The plan of a run; ConfigError where budget, method, schedule and sparsity do not fit together.

    prunes: when the method does, as its class constant of that name says.
    """
    phases = _phases(prunes, budget, sparsity)
    dense = [phase for phase in phases if not phase.cycle]
    if prunes == "while training":
        schedule = FT()  # of fine-tuning
        loads_dense = loads_dense and len(dense) > 1  # else a checkpoint is where training starts, not what replaces it
    steps_per_epoch = num_fit_items // batch_size if drops_last else -(-num_fit_items // batch_size)
    if not steps_per_epoch:
        raise ConfigError(
            f"optim.batch_size={batch_size} must be at most {num_fit_items}, the {items} that are trained on: a smaller "
            "last batch of an epoch is left out"
        )
    before = [lr.schedule(round(phase.epochs * steps_per_epoch), steps_per_epoch) for phase in dense]
    original = before[-1]
    reference = schedule.reference_epochs or phases[0].epochs
    planned = []
    first_step = 0
    rates: Schedule | None
    for number, phase in enumerate(phases):
        num_steps = round(phase.epochs * steps_per_epoch)
        if phase.cycle == 0:
            rates = before[number]
            start = (rates.peak, rates.peak)
            num_steps = 0 if loads_dense and not number else num_steps
        else:
            mild, harsh = (schedule(original, num_steps, _report(phase, reference, d1)) for d1 in (0.0, 1.0))
            start, rates = (mild.peak, harsh.peak), None if schedule.adaptive else mild
        planned.append(
            PlannedPhase(
                number=number, phase=phase, first_step=first_step, num_steps=num_steps, start=start, rates=rates
            )
        )
        first_step += num_steps
    return Plan(
        phases=planned,
        original=original,
        retraining=schedule,
        steps_per_epoch=steps_per_epoch,
        num_fit_items=num_fit_items,
        drops_last=drops_last,
        items=items,
        batch_size=batch_size,
        budget_epochs=budget.total(sparsity),
        loads_dense=loads_dense,
        has_target=has_target,
    )


def _phases(prunes: str, budget: Budget, sparsity: float) -> list[Phase]:
    """Those of the budget where pruning comes between them, else those of training, and fine-tuning on top."""
    if prunes == "between phases":
        phases = budget.phases(sparsity)
        if not any(phase.pruned_by for phase in phases):
            raise ConfigError(
                f"budget={type(budget).__name__.lower()} has no pruning, but the method prunes between phases: budget must be "
                "one of bimp, imp, renda"
            )
        return phases
    if prunes == "never":
        return [Phase(cycle=0, epochs=budget.total(sparsity))]
    return [
        *budget.training(sparsity),
        Phase(cycle=1, epochs=budget.finetune_epochs, pruned_by="method", sparsity=sparsity, label="finetune"),
    ]


def _report(phase: Phase, reference: float, d1: float) -> PruneReport:
    """A pruning whose damage is ``d1``, by norm and by metric: the bounds of what an adaptive schedule may see."""
    scale = phase.fraction**0.5
    return PruneReport(
        fraction=phase.fraction,
        removed_norm=d1 * scale,
        norm_all=1.0,
        norm_prunable=1.0,
        length_ratio=phase.epochs / reference,
        train_metric_dense=1.0,
        train_metric_pruned=1.0 - d1,
    )


def from_config(cfg: Mapping[str, Any]) -> Plan:
    """The plan of a composed, resolved configuration, after checking all of it that needs no PyTorch and no data."""
    check(cfg)
    compatible.check(cfg)
    names = ("dataset", "optim", "lr", "budget", "schedule", "tracking", "runtime")
    parts = {name: _part(json.dumps(cfg[name])) for name in names}
    parts["dataset"].check()
    if not isinstance(parts["schedule"], Retraining):
        raise ConfigError(
            f"schedule._target_={cfg['schedule']['_target_']}: must derive from {Retraining.__module__}.Retraining"
        )
    parts["runtime"].check_threads()
    return make(
        num_fit_items=parts["dataset"].num_fit_items,
        drops_last=parts["dataset"].drops_last,
        items=parts["dataset"].items,
        batch_size=parts["optim"].batch_size,
        lr=parts["lr"],
        budget=parts["budget"],
        schedule=parts["schedule"],
        prunes=signatures.constant(cfg["method"]["_target_"], "prunes"),
        sparsity=cfg["sparsity"],
        loads_dense=cfg["dense_checkpoint"] is not None,
        has_target=signatures.constant(cfg["method"]["_target_"], "has_target"),
    )


def has_no_data(cfg: Mapping[str, Any]) -> bool:
    """Whether the configuration leaves open where its data lie; a plan goes by the number of items of the usual files."""
    data = cfg["dataset"]
    return "root" in data and data["root"] is None and not data.get("download")


@lru_cache(maxsize=1000)
def _part(node: str) -> Any:
    """The object that a node of the configuration, as JSON, describes; thousands of runs share most of theirs."""
    return build(json.loads(node))
