"""Doing a run: train dense, then prune and retrain in cycles, measuring around every pruning (paper, Sections 2.1 and 3.3).

A method that prunes while it trains has its training as the first phase and, after its final prune, its fine-tuning as the
second; the better of the two networks, by validation accuracy, is the run's (Section 3.3: "the better of both").

Each phase is a function of what its key names (``bimp_exp.run.keys``), so a run takes from the store what is there already,
its own or another's, and continues inside a phase that was cut off. It ends with the same bits either way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from bimp_exp.dataset import loaded
from bimp_exp.dataset.data import Data
from bimp_exp.errors import BusyError
from bimp_exp.lr import Schedule
from bimp_exp.pruning import metrics
from bimp_exp.pruning import weights as prune
from bimp_exp.results.schema import Final, PhaseResult, Result
from bimp_exp.results.writer import RunWriter
from bimp_exp.run import checkpoint
from bimp_exp.run import keys as numerics
from bimp_exp.run import prune_phase as pruning
from bimp_exp.run import result as results
from bimp_exp.run.experiment import Experiment
from bimp_exp.run.history import History
from bimp_exp.run.invariants import Attest
from bimp_exp.run.measure import Measure
from bimp_exp.run.plan import PlannedPhase
from bimp_exp.run.progress import Display
from bimp_exp.run.train_phase import Underway, train
from bimp_exp.selector.base import Masks

POLL = 1.0  # seconds between two looks at a phase that another process computes


def run(
    experiment: Experiment,
    config: Mapping[str, Any],
    record: RunWriter,
    display: Display,
    *,
    wait: bool = True,
    most_phases: int | None = None,
) -> Result | None:
    """Do all that is missing, and return the result; to write it, last of all, is left to the caller.

    most_phases: None, or after how many phases to stop, with no result. BusyError where another process computes the phase
    that comes next, unless we ``wait`` for it.
    """
    return Execution(experiment, config, record, display).run(wait=wait, most_phases=most_phases)


class Execution:
    """The state of a run: the network, its masks, its optimiser and what was measured."""

    def __init__(self, x: Experiment, config: Mapping[str, Any], record: RunWriter, display: Display) -> None:
        self.started = time.perf_counter()
        self.x, self.record, self.display = x, record, display
        self.plan = x.plan()
        self.device = x.runtime.start()
        self.facts = x.runtime.facts(self.device)
        self.update = self.facts["runtime"]["update"]
        self.store = x.store.open(record.folder)
        model = x.network()
        start = None if x.dense_checkpoint is None else checkpoint.load(x.dense_checkpoint, model)
        self.model = model.to(self.device).to(memory_format=x.runtime.memory_format)
        self.data: Data = loaded.load(
            x.dataset,
            self.device,
            augment_validation=x.conventions.augment_validation,
            memory_format=x.runtime.memory_format,
        )
        facts = self.facts | {"data": self.data.fingerprint, "start": start}
        self.kind = numerics.kind(config, facts)
        self.keys = numerics.phase_keys(config, self.plan, type(x.method), facts)
        recipes = numerics.phase_keys(config, self.plan, type(x.method), {})
        self.recipes = {p.phase.name: recipe for p, recipe in zip(self.plan.phases, recipes, strict=True)}
        self.weights = prune.prunable(self.model, every_weight=x.conventions.prune_every_weight)
        self.num_weights = sum(weight.numel() for weight in self.weights.values())
        self.multiply_adds = sum(metrics.multiply_adds(self.model, x.dataset.image_shape).values())
        self.masks: Masks = {}
        self.chosen: dict[str, torch.Tensor] = {}
        self.history = History()
        self.attest = Attest(checks=self.history.checks)
        self.measure = Measure(
            experiment=x, model=self.model, weights=self.weights, data=self.data, device=self.device,
            num_images=self.history.images_evaluated,
        )  # fmt: skip

    def run(self, *, wait: bool, most_phases: int | None) -> Result | None:
        x = self.x
        x.method.attach(x.setting(self.model, self.weights))
        self.optimizer = x.optim.build(self.model.parameters(), x.method.undecayed(), update=self.update)
        number, last = self.restore(), min(most_phases or len(self.keys), len(self.keys))
        while number < last:
            number = self.advance(number, wait=wait)
        return self.finish() if number == len(self.keys) else None

    def restore(self) -> int:
        """Take over the last phase that is stored; the number of the phase that comes next."""
        for number in reversed(range(len(self.keys))):
            state = self.store.load(self.keys[number])
            if state is not None:
                self.take_over(self.plan.phases[number], state)
                return number + 1
        self.record.restart([])
        return 0

    def advance(self, number: int, *, wait: bool) -> int:
        """Compute phase ``number``, or wait for who does and take it over; the number of the phase that comes next."""
        key, planned = self.keys[number], self.plan.phases[number]
        lease = self.store.lease(key)
        while lease is None:
            if not wait:
                raise BusyError(
                    f"another process computes {planned.phase.name} of this run", lease=self.store.root / key / "lease"
                )
            self.display.waiting(planned)
            time.sleep(POLL)
            lease = self.store.lease(key)
        with lease:
            state = self.store.load(key)  # by another process, since we looked
            if state is not None:
                self.take_over(planned, state)
            else:
                self.phase(planned, self.store.load_partial(key), key)
                self.store.save(key, self.about(planned) | self.spent(), self.state())
        self.record.sync()
        return number + 1

    def phase(self, planned: PlannedPhase, partial: dict[str, Any] | None, key: str) -> None:
        """Prune, unless it is the first phase, then train; or continue where ``partial`` was saved.

        The optimiser is made anew once, for the first cycle, and stays over all cycles.
        """
        x, phase = self.x, planned.phase
        if partial is not None:
            self.take_over(planned, partial)
            underway = Underway.load(partial["underway"])
        else:
            underway = Underway(pruning=pruning.prune(self, planned) if phase.cycle else None)
            if phase.cycle and x.method.prunes == "while training":
                self.keep(underway.measured, more=planned.num_steps > 0)
            if phase.cycle == 1:
                self.optimizer = x.optim.build(self.model.parameters(), update=self.update)
            if phase.cycle:
                x.method.on_cycle(planned.num_steps, self.optimizer)
                prune.apply(self.weights, self.masks)
        self.history.phases.append(train(self, planned, self.rates()[-1], underway, self.saver(key, planned, underway)))
        if planned is self.plan.phases[-1] and not (self.history.candidates and not planned.num_steps):
            self.keep(self.history.phases[-1]["metrics"], more=False)

    def rates(self) -> list[Schedule]:
        """The learning rates of the first phase and of each that a pruning has begun."""
        cycles = zip(self.plan.phases[1:], self.history.reports, strict=False)
        return [self.plan.original, *(self.plan.retraining(self.plan.original, p.num_steps, r) for p, r in cycles)]

    def saver(self, key: str, planned: PlannedPhase, underway: Underway) -> Callable[[], None]:
        """A function that saves a checkpoint if it is time for one."""
        last = time.monotonic()

        def save() -> None:
            nonlocal last
            if time.monotonic() - last >= self.store.every:
                self.store.save_partial(key, self.about(planned), self.state() | {"underway": underway.dump()})
                last = time.monotonic()

        return save

    def about(self, planned: PlannedPhase) -> dict[str, Any]:
        """What is to be known of a phase without reading its state."""
        name = planned.phase.name
        return {"name": f"{self.display.name}: {name}", "recipe": self.recipes[name], "kind": self.kind}

    def spent(self) -> dict[str, float]:
        """What the phase that has just ended has cost."""
        phase = self.history.phases[-1]
        return {"epochs": phase["epochs"], "seconds": PhaseResult.from_json(phase).seconds}

    def state(self) -> dict[str, Any]:
        """All that changes during a run."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "masks": self.masks,
            "masks_attested": self.attest.masks,
            "method": self.x.method.state,
            "chosen": self.chosen,
            "history": self.history.dump(),
        }

    def take_over(self, planned: PlannedPhase, state: dict[str, Any]) -> None:
        """Become what ``state`` was, during or after ``planned``."""

        def here(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {name: tensor.to(self.device) for name, tensor in tensors.items()}

        if planned.phase.cycle and self.x.method.prunes == "while training" and not self.masks:
            self.x.method.detach()  # its values are replaced at once
        if planned.phase.cycle:
            self.optimizer = self.x.optim.build(self.model.parameters(), update=self.update)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.masks, self.attest.masks = here(state["masks"]), here(state["masks_attested"])
        self.x.method.state, self.chosen = here(state["method"]), here(state["chosen"])
        self.history.load(state["history"])
        self.record.restart(self.history.points)

    def point(self, step: int, phase: str, **values: float | None) -> None:
        """One line of metrics.jsonl: ``values`` after ``step`` optimiser steps in all; None is left out."""
        known = {name: value for name, value in values.items() if value is not None}
        self.history.points.append({"step": step, "phase": phase, **known})
        self.record.append(self.history.points[-1])

    def keep(self, scores: dict[str, float], *, more: bool) -> None:
        """The network as it is may be the run's: it is if none before has its validation accuracy. ``more``: it may change."""
        best = max((c["validation"] for c in self.history.candidates), default=-1.0)
        name, epochs = self.history.phases[-1]["name"], float(sum(phase["epochs"] for phase in self.history.phases))
        sparsity = metrics.sparsity(
            metrics.layer_counts(self.model, every_weight=self.x.conventions.prune_every_weight)
        )
        self.history.candidates.append({"phase": name, "epochs": epochs, "sparsity": sparsity} | scores)
        if scores["validation"] > best:
            self.chosen = {key: value.clone() for key, value in self.model.state_dict().items()} if more else {}

    def finish(self) -> Result:
        """Write the network and return the result; the network is the candidate of highest validation accuracy, the first of equals."""
        history = self.history
        if self.chosen:
            self.model.load_state_dict(self.chosen)
        best = max(history.candidates, key=lambda c: float(c["validation"]))
        copy = self.x.network()
        copy.load_state_dict(self.record.save(self.model.state_dict()))
        copy.to(self.device).to(memory_format=self.x.runtime.memory_format)
        self.attest.same_outputs(self.measure.outputs(copy), self.measure.outputs(self.model))
        final = Final.from_json(best | self.measure.facts())
        return results.of(self, final=final, seconds=time.perf_counter() - self.started)
