"""A run: train dense, then prune and retrain in cycles, measuring around every pruning (paper, Sections 2.1 and 3.3).

The fields of ``Experiment`` are the keys of ``conf/config.yaml``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from bimp_exp import checkpoint, metrics, prune
from bimp_exp import plan as planning
from bimp_exp.budget import Budget, Phase
from bimp_exp.conventions import Conventions
from bimp_exp.dataset.base import Dataset
from bimp_exp.dataset.data import Data
from bimp_exp.errors import ConfigError, TrainingError
from bimp_exp.lr import Original, Schedule
from bimp_exp.method.base import Method, Setting
from bimp_exp.method.dense import Dense
from bimp_exp.optim import SGD
from bimp_exp.plan import Plan, PlannedPhase
from bimp_exp.progress import Display
from bimp_exp.record import Record, Tracking
from bimp_exp.runtime import Runtime
from bimp_exp.schedule.base import PruneReport, Retraining
from bimp_exp.seeds import derive
from bimp_exp.selector.base import Cut, Masks, Selector
from bimp_exp.training import Epoch, Score, evaluate, fit
from bimp_exp.types import Seed, Sparsity

EVALUATION_BATCH = 500  # images; has no influence on any result beyond rounding
LOGGED_PER_EPOCH = 10  # points of loss and learning rate
IMAGES_PER_SECOND_INCLUDES = (
    "batches, augmentation, forward, backward, optimiser, masks; not evaluation, logging, saving"
)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run, fully described."""

    dataset: Dataset
    model: Callable[..., nn.Module]
    optim: SGD
    lr: Original
    method: Method
    selector: Selector
    schedule: Retraining
    budget: Budget
    tracking: Tracking
    runtime: Runtime
    conventions: Conventions
    sparsity: Sparsity
    seed: Seed
    dense_checkpoint: str | None

    def plan(self) -> Plan:
        """What this run will do."""
        return planning.make(
            num_fit_images=self.dataset.num_fit_images,
            batch_size=self.optim.batch_size,
            lr=self.lr,
            budget=self.budget,
            schedule=self.schedule,
            prunes=self.method.prunes,
            sparsity=self.sparsity,
            loads_dense=self.dense_checkpoint is not None,
        )

    def check(self) -> None:
        """Raise UserError for all that can be known before data are read and files are written."""
        plan = self.plan()
        self.runtime.start()
        self.dataset.check_files()
        if self.dense_checkpoint is not None:
            checkpoint.check(self.dense_checkpoint)
        with torch.device("meta"):  # shapes only
            model = self.model(image_shape=self.dataset.image_shape, num_classes=self.dataset.num_classes)
            last = plan.num_fit_images % plan.batch_size or plan.batch_size
            try:
                model(torch.zeros(last, *self.dataset.image_shape))
            except ValueError as error:  # batch-norm of a single number
                raise ConfigError(
                    f"optim.batch_size={plan.batch_size}: the last batch of an epoch has {last} of "
                    f"{plan.num_fit_images} images, too few for the model ({error})"
                ) from None
        weights = prune.prunable(model, every_weight=self.conventions.prune_every_weight)
        shapes = [w.shape for w in weights.values()]
        num_weights, num_gone = sum(map(math.prod, shapes)), 0
        for planned in plan.phases[1:]:
            phase = planned.phase
            num_gone = prune.num_pruned(phase, num_weights, num_gone, per_cycle=self.conventions.count_per_cycle)
            self.selector.check(shapes, Cut(fraction=phase.sparsity, num_pruned=num_gone))

    def network(self) -> nn.Module:
        """The untrained network; its weights follow from the seed alone, so they are the same for all methods."""
        with torch.random.fork_rng():
            torch.manual_seed(derive(self.seed, "init"))
            return self.model(image_shape=self.dataset.image_shape, num_classes=self.dataset.num_classes)

    def run(self, record: Record, display: Display) -> dict[str, Any]:
        """Do all of it; what it came to is returned and, last of all, written by ``record``."""
        return _Run(self, record, display).run()


class _Run:
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
        self.masks: Masks = {}
        self.seconds_evaluating = 0.0
        self.dense_scores: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        x = self.x
        phases: list[dict[str, Any]] = []
        rates: list[Schedule] = []
        x.method.attach(
            Setting(
                model=self.model,
                weights=self.weights,
                selector=x.selector,
                sparsity=x.sparsity,
                weight_decay=x.optim.weight_decay,
                num_steps=self.plan.phases[0].num_steps,
                steps_per_epoch=self.plan.steps_per_epoch,
            )
        )
        optimizer = x.optim.build(self.model.parameters(), x.method.undecayed())
        for planned in self.plan.phases:
            lr, pruning = self.plan.original, None
            if planned.phase.cycle:
                pruning, report = self.prune(planned, phases[-1]["metrics"])
                lr = self.plan.retraining(self.plan.original, planned.num_steps, report)
                pruning["d"] = lr.peak / self.plan.original.peak if planned.num_steps else None
            if planned.phase.cycle == 1:
                optimizer = x.optim.build(self.model.parameters())  # momentum starts anew once, then stays over cycles
            phases.append(self.train(planned, lr, optimizer) | {"pruning": pruning})
            rates += [lr] if planned.num_steps else []
            self.dense_scores = self.dense_scores or phases[-1]["metrics"]
            self.record.sync()
        result = {
            "phases": phases,
            "final": phases[-1]["metrics"] | self.facts(),
            "budget": {
                "epochs": self.plan.budget_epochs,
                "epochs_used": self.plan.epochs,
                "num_steps": self.plan.num_steps,
                "num_images": sum(p["num_images"] for p in phases),
            },
            "images_per_second_includes": IMAGES_PER_SECOND_INCLUDES,
            "data_hash": self.data.fingerprint,
            "learning_rates": _sample(rates),
            "seconds": time.perf_counter() - self.started,
        }
        self.record.finish(result, self.model.state_dict())
        return result

    def train(self, planned: PlannedPhase, lr: Schedule, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """One phase of training, and the metrics after it."""
        x, name, first = self.x, planned.phase.name, planned.first_step
        self.display.phase(planned)
        evaluating = self.seconds_evaluating
        epochs: list[Epoch] = []
        validation: Score | None = None
        done = 0
        training = fit(
            self.model,
            self.data,
            lr=lr,
            optimizer=optimizer,
            method=Dense() if planned.phase.cycle else x.method,  # hooks end with the training they belong to
            masked=[(self.weights[weight], mask) for weight, mask in self.masks.items()],
            runtime=x.runtime,
            device=self.device,
            batch_size=x.optim.batch_size,
            seed=derive(x.seed, name),
            progress=self.display.step,
        )
        for epoch in training if planned.num_steps else ():
            epochs.append(epoch)
            every = max(1, self.plan.steps_per_epoch // LOGGED_PER_EPOCH)
            for i in range(0, epoch.num_steps, every):
                part = epoch.losses[i : i + every]
                self.record.point(
                    first + done + i + 1, name, train_loss=sum(part) / len(part), learning_rate=lr(done + i)
                )
            done += epoch.num_steps
            validation = self.evaluate("validation")
            if not math.isfinite(validation.loss):
                raise TrainingError(
                    f"the validation loss is {validation.loss} after step {done} of {planned.num_steps} ({name}), "
                    f"at learning rate {lr(done - 1):.6g}: lower lr.initial or the schedule's rate"
                )
            self.record.point(
                first + done,
                name,
                epoch=(first + done) / self.plan.steps_per_epoch,
                sparsity=self.sparsity(),
                train_accuracy=epoch.accuracy,
                validation_accuracy=validation.accuracy,
                validation_loss=validation.loss,
                images_per_second=epoch.num_images / epoch.seconds,
            )
            self.display.epoch(done, epoch, validation.accuracy, lr(done - 1))
        scores = self.scores(validation)
        self.record.point(
            first + done, name, test_accuracy=scores["test"], train_full_accuracy=scores["train"],
            validation_accuracy=None if epochs else scores["validation"],
        )  # fmt: skip
        seconds = sum(e.seconds for e in epochs)
        if x.conventions.mean_of_rates:
            steps = [(n, t) for e in epochs for n, t in zip(e.step_sizes, e.step_seconds, strict=True)]
        else:
            steps = [(e.num_images, e.seconds) for e in epochs]
        return {
            "name": name,
            "first_step": first,
            "num_steps": done,
            "epochs": planned.phase.epochs if done else 0,
            "num_images": sum(e.num_images for e in epochs),
            "seconds_training": seconds,
            "seconds_evaluating": self.seconds_evaluating - evaluating,
            "images_per_second": metrics.images_per_second(
                [n for n, _ in steps], [t for _, t in steps], mean_of_rates=x.conventions.mean_of_rates
            ),
            "learning_rate": {"first": lr(0), "peak": lr.peak, "last": lr(done - 1)} if done else None,
            "metrics": scores,
        }

    def prune(self, planned: PlannedPhase, before: dict[str, float]) -> tuple[dict[str, Any], PruneReport]:
        """Cut the network down to the sparsity of ``planned``; what happened, for the result and for the schedule."""
        x, phase = self.x, planned.phase
        whole = prune.effective(self.model, self.weights)
        num_gone = sum(int((~mask).sum()) for mask in self.masks.values())
        self.cut(phase, num_gone)
        norm_prunable = prune.norm(whole.values())
        norm_all = math.hypot(norm_prunable, prune.norm(prune.other_weights_and_biases(self.model, self.weights)))
        removed_norm = prune.norm(whole[name] - weight.detach() for name, weight in self.weights.items())
        evaluating = self.seconds_evaluating
        after = self.scores(recalibrate=x.conventions.recalibrate_batch_norm)
        facts = self.facts()
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
            train_metric_dense=self.dense_scores["train"],
            train_metric_pruned=after["train"],
        )
        reference = self.dense_scores if x.conventions.stability_against_dense else before
        return {
            "fraction": phase.fraction,
            "num_pruned": sum(int((~mask).sum()) for mask in self.masks.values()) - num_gone,
            "before": before,
            "right_after": after,
            "pruning_stability": metrics.pruning_stability(
                reference["test"], after["test"], clipped=not x.conventions.unclipped_stability
            ),
            "d1": report.d1("all"),
            "d1_prunable": report.d1("prunable"),
            "d2": report.d2,
            "emptied_layers": [c["name"] for c in facts["layers"] if c["num_zeros"] == c["num_weights"]],
            "seconds_evaluating": self.seconds_evaluating - evaluating,
        } | facts, report

    def cut(self, phase: Phase, num_gone: int) -> None:
        """New masks, and the weights that they remove at 0: by the selector, or the final prune of the method."""
        x, weights = self.x, self.weights
        if x.method.prunes == "while training":
            x.method.detach()
            self.masks = {name: weight.detach() != 0 for name, weight in weights.items()}
            return
        masks = self.masks or {n: torch.ones_like(w, dtype=torch.bool) for n, w in weights.items()}
        num_weights = sum(w.numel() for w in weights.values())
        num_pruned = prune.num_pruned(phase, num_weights, num_gone, per_cycle=x.conventions.count_per_cycle)
        self.masks = x.selector(weights, masks, Cut(fraction=phase.fraction, num_pruned=num_pruned))
        prune.apply(weights, self.masks)

    def scores(self, validation: Score | None = None, *, recalibrate: bool = False) -> dict[str, float]:
        """Accuracy on the training, validation and test images; ``validation`` where it is known already."""
        train = self.evaluate("train", recalibrate=recalibrate)
        validation = validation or self.evaluate("validation")
        return {"train": train.accuracy, "validation": validation.accuracy, "test": self.evaluate("test").accuracy}

    def evaluate(self, split: str, *, recalibrate: bool = False) -> Score:
        """Score on one split. ``recalibrate``: in train mode on augmented images, as the published code does."""
        start = time.perf_counter()
        batches = (
            self.data.epoch(seed=derive(self.x.seed, "recalibrate"), epoch=0, batch_size=self.x.optim.batch_size)
            if recalibrate
            else self.data.batches(getattr(self.data, split), EVALUATION_BATCH)
        )
        score = evaluate(self.model, batches, runtime=self.x.runtime, device=self.device, train_mode=recalibrate)
        self.seconds_evaluating += time.perf_counter() - start
        return score

    def sparsity(self) -> float:
        """Zeros among the effective prunable weights."""
        weights = prune.effective(self.model, self.weights).values()
        return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)

    def facts(self) -> dict[str, Any]:
        """Sparsity, multiply-adds and theoretical speed-up of the network as it is."""
        c = self.x.conventions
        counts = metrics.layer_counts(self.model, every_weight=c.prune_every_weight)
        layers = metrics.multiply_adds(
            self.model, self.x.dataset.image_shape, padding_blind=c.padding_blind_multiply_adds
        )
        dense, sparse, speedup = metrics.theoretical_speedup(
            layers, counts, padding_blind=c.padding_blind_multiply_adds
        )
        return {
            "sparsity": metrics.sparsity(counts),
            "sparsity_all_parameters": metrics.sparsity_all_parameters(self.model),
            "multiply_adds_dense": dense,
            "multiply_adds_sparse": sparse,
            "theoretical_speedup": speedup if math.isfinite(speedup) else "inf",
            "layers": [asdict(count) | {"multiply_adds": layers.get(count.name, 0)} for count in counts],
        }


def _sample(rates: list[Schedule], most: int = 2000) -> dict[str, list[float]]:
    """Step and learning rate of all phases one after the other, thinned out evenly to ``most`` points, for plots."""
    every = [rate(i) for rate in rates for i in range(rate.num_steps)]
    steps = sorted({i * len(every) // most for i in range(most)} if len(every) > most else set(range(len(every))))
    return {"step": [float(s + 1) for s in steps], "rate": [every[s] for s in steps]}
