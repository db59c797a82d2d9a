"""Doing a run: train dense, then prune and retrain in cycles, measuring around every pruning (paper, Sections 2.1 and 3.3).

A method that prunes while it trains has its training as the first phase and, after its final prune, its fine-tuning as the
second; the better of the two networks, by validation accuracy, is the run's (Section 3.3: "the better of both").
"""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

from torch import Tensor

from bimp_exp import checkpoint, metrics, prune
from bimp_exp.attest import Attest
from bimp_exp.budget import Phase
from bimp_exp.dataset.data import Data
from bimp_exp.experiment import Experiment
from bimp_exp.ledger import ledger
from bimp_exp.lr import Schedule
from bimp_exp.measure import Measure
from bimp_exp.method.base import Setting
from bimp_exp.phase import train
from bimp_exp.plan import PlannedPhase
from bimp_exp.progress import Display
from bimp_exp.record import Record
from bimp_exp.schedule.base import PruneReport
from bimp_exp.selector.base import Masks

IMAGES_PER_SECOND_INCLUDES = (
    "batches, augmentation, forward, backward, optimiser, masks; not evaluation, logging, saving"
)


def run(experiment: Experiment, record: Record, display: Display) -> dict[str, Any]:
    """Do all of it; what it came to is returned and, last of all, written by ``record``."""
    return Execution(experiment, record, display).run()


class Execution:
    """The state of a run: the network, its masks, its optimiser and what was measured."""

    def __init__(self, experiment: Experiment, record: Record, display: Display) -> None:
        self.started = time.perf_counter()
        self.x, self.record, self.display = experiment, record, display
        self.plan = experiment.plan()
        self.device = experiment.runtime.start()
        model = experiment.network()
        if experiment.dense_checkpoint is not None:
            checkpoint.load(experiment.dense_checkpoint, model)
        self.model = model.to(self.device).to(memory_format=experiment.runtime.memory_format)
        self.data: Data = experiment.dataset.load(
            self.device,
            augment_validation=experiment.conventions.augment_validation,
            memory_format=experiment.runtime.memory_format,
        )
        self.weights = prune.prunable(self.model, every_weight=experiment.conventions.prune_every_weight)
        self.num_weights = sum(weight.numel() for weight in self.weights.values())
        self.multiply_adds = sum(metrics.multiply_adds(self.model, experiment.dataset.image_shape).values())
        self.masks: Masks = {}
        self.phases: list[dict[str, Any]] = []
        self.rates: list[Schedule] = []
        self.candidates: list[dict[str, Any]] = []
        self.chosen: dict[str, Tensor] = {}
        self.extra_passes: Counter[str] = Counter()
        self.attest = Attest()
        self.measure = Measure(
            experiment=experiment, model=self.model, weights=self.weights, data=self.data, device=self.device
        )

    def run(self) -> dict[str, Any]:
        x, (first, *later) = self.x, self.plan.phases
        x.method.attach(
            Setting(
                model=self.model,
                weights=self.weights,
                selector=x.selector,
                sparsity=x.sparsity,
                weight_decay=x.optim.weight_decay,
                num_steps=first.num_steps,
                steps_per_epoch=self.plan.steps_per_epoch,
                retraining=tuple(planned.num_steps for planned in later),
            )
        )
        self.optimizer = x.optim.build(self.model.parameters(), x.method.undecayed())
        for planned in self.plan.phases:
            self.phase(planned)
            self.record.sync()
        return self.finish()

    def phase(self, planned: PlannedPhase) -> None:
        """Prune, unless it is the first phase, then train; the optimiser is made anew once and stays over all cycles."""
        x, lr, pruning = self.x, self.plan.original, None
        if planned.phase.cycle:
            pruning, report = self.prune(planned)
            if x.method.prunes == "while training":
                self.keep(pruning["right_after"])
            lr = self.plan.retraining(self.plan.original, planned.num_steps, report)
            pruning["d"] = lr.peak / self.plan.original.peak if planned.num_steps else None
            if planned.phase.cycle == 1:
                self.optimizer = x.optim.build(self.model.parameters())
            x.method.on_cycle(planned.num_steps, self.optimizer)
            prune.apply(self.weights, self.masks)
        measured = pruning["right_after"] if pruning and not planned.num_steps else None
        trained = train(self, planned, lr, measured)
        self.phases.append(trained | {"pruning": pruning})
        self.rates += [lr] if planned.num_steps else []
        if planned is self.plan.phases[-1] and not (self.candidates and measured):
            self.keep(self.phases[-1]["metrics"])

    def keep(self, scores: dict[str, float]) -> None:
        """The network as it is may be the one that the run ends with: so it is if none before has its validation accuracy."""
        best = max((c["validation"] for c in self.candidates), default=-1.0)
        name, epochs = self.phases[-1]["name"], sum(phase["epochs"] for phase in self.phases)
        sparsity = metrics.sparsity(
            metrics.layer_counts(self.model, every_weight=self.x.conventions.prune_every_weight)
        )
        self.candidates.append({"phase": name, "epochs": epochs, "sparsity": sparsity} | scores)
        if scores["validation"] > best:
            self.chosen = {key: value.clone() for key, value in self.model.state_dict().items()}

    def finish(self) -> dict[str, Any]:
        """Write and return the result; the network is the candidate of highest validation accuracy, the first of equals."""
        self.model.load_state_dict(self.chosen)
        final = max(self.candidates, key=lambda c: float(c["validation"]))
        saved = self.record.save(self.chosen)
        copy = self.x.network()
        copy.load_state_dict(saved)
        copy.to(self.device).to(memory_format=self.x.runtime.memory_format)
        self.attest.same_outputs(self.measure.outputs(copy), self.measure.outputs(self.model))
        seconds = time.perf_counter() - self.started
        spent = ledger(
            self.phases,
            multiply_adds=self.multiply_adds,
            seconds=seconds,
            images_evaluated=self.measure.num_images,
            extra_passes=self.extra_passes,
        )
        result = {
            "phases": self.phases,
            "candidates": self.candidates,
            "final": final | self.measure.facts(),
            "budget": {
                "epochs": self.plan.budget_epochs,
                "epochs_used": self.plan.epochs,
                "num_steps": self.plan.num_steps,
                "num_images": spent["num_images"],
            },
            "ledger": spent,
            "attested": dict(self.attest.checks),
            "images_per_second_includes": IMAGES_PER_SECOND_INCLUDES,
            "data_hash": self.data.fingerprint,
            "learning_rates": _sample(self.rates),
            "seconds": seconds,
        }
        self.record.finish(result)
        return result

    def prune(self, planned: PlannedPhase) -> tuple[dict[str, Any], PruneReport]:
        """Cut the network down to the sparsity of ``planned``; what happened, for the result and for the schedule."""
        x, phase, c = self.x, planned.phase, self.x.conventions
        before, dense = self.phases[-1]["metrics"], self.phases[0]["metrics"]
        whole, others = prune.effective(self.model, self.weights), prune.others(self.model, self.weights)
        gone_before = _num_pruned(self.masks)
        self.masks = prune.cut(x.method, x.selector, self.weights, self.masks, phase, per_cycle=c.count_per_cycle)
        self.attest.held(self.measure.zeros(), self.masks)
        self.attest.others_untouched(others, prune.others(self.model, self.weights))
        self.attest_count(phase, gone_before)
        norm_prunable = prune.norm(whole.values())
        norm_all = math.hypot(norm_prunable, prune.norm(prune.other_weights_and_biases(self.model, self.weights)))
        removed_norm = prune.norm(whole[name] - weight.detach() for name, weight in self.weights.items())
        evaluating = self.measure.seconds
        after = self.measure.scores(recalibrate=c.recalibrate_batch_norm)
        if getattr(self.plan.retraining, "extra_pass", False):
            self.extra_passes["training accuracy right after pruning"] += len(self.data.train)
        facts = self.measure.facts()
        self.record.point(
            planned.first_step, phase.name, sparsity=facts["sparsity"],
            **{f"pruned_{split}_accuracy": after[split] for split in after},
        )  # fmt: skip
        report = PruneReport(
            fraction=phase.fraction,
            removed_norm=removed_norm,
            norm_all=norm_all,
            norm_prunable=norm_prunable,
            length_ratio=phase.epochs / self.plan.phases[0].phase.epochs,
            train_metric_dense=dense["train"],
            train_metric_pruned=after["train"],
        )
        reference = dense if c.stability_against_dense else before
        return {
            "fraction": phase.fraction,
            "num_pruned": _num_pruned(self.masks) - gone_before,
            "before": before,
            "right_after": after,
            "pruning_stability": metrics.pruning_stability(
                reference["test"], after["test"], clipped=not c.unclipped_stability
            ),
            "d1": report.d1("all"),
            "d1_prunable": report.d1("prunable"),
            "d2": report.d2,
            "emptied_layers": [
                layer["name"] for layer in facts["layers"] if layer["num_zeros"] == layer["num_weights"]
            ],
            "seconds_evaluating": self.measure.seconds - evaluating,
        } | facts, report

    def attest_count(self, phase: Phase, gone_before: int) -> None:
        """The goal of a method that has one was reached, up to what the selector rounds in each layer and cycle."""
        x = self.x
        if x.method.has_target and x.selector.rounding is not None:
            per_cycle = x.conventions.count_per_cycle
            wanted = prune.num_pruned(phase, self.num_weights, gone_before, per_cycle=per_cycle)
            slack = x.selector.rounding * len(self.weights) * phase.cycle + x.method.slack
            at_least = x.method.prunes == "while training"  # its pattern also has the weights that are 0 by themselves
            self.attest.count(_num_pruned(self.masks), wanted, slack, at_least=at_least)


def _num_pruned(masks: Masks) -> int:
    return sum(int((~mask).sum()) for mask in masks.values())


def _sample(rates: list[Schedule], most: int = 2000) -> dict[str, list[float]]:
    """Step and learning rate of all phases one after the other, thinned out evenly to ``most`` points, for plots."""
    every = [rate(i) for rate in rates for i in range(rate.num_steps)]
    steps = sorted({i * len(every) // most for i in range(most)} if len(every) > most else set(range(len(every))))
    return {"step": [float(s + 1) for s in steps], "rate": [every[s] for s in steps]}
