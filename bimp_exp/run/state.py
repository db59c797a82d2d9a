"""The fixed surroundings of a run (``Env``), and all that changes in it (``RunState``: the content of a checkpoint)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bimp_exp.dataset.data import Data
from bimp_exp.errors import DataError
from bimp_exp.method.base import MethodContext
from bimp_exp.pruning import metrics
from bimp_exp.pruning.report import PruneReport
from bimp_exp.pruning.weights import prunable
from bimp_exp.results.schema import Candidate, PhaseResult, Scores
from bimp_exp.run import checkpoint, keys
from bimp_exp.run.experiment import Experiment
from bimp_exp.run.invariants import Invariants
from bimp_exp.run.plan import Plan, PlannedPhase
from bimp_exp.run.process import Process
from bimp_exp.task.base import Task
from bimp_exp.training.state import Network


@dataclass(frozen=True, kw_only=True)
class Env:
    """Fixed from the start of a run to its end.

    computed_on: what decides the last bits of a number beside the configuration: versions, device, chosen arithmetic.
    start: SHA-256 of the dense checkpoint, if there is one.
    keys: of the phases, in the store. recipes: the same without the facts, by name of the phase.
    kind: what phases that take about as long have in common.
    """

    experiment: Experiment
    plan: Plan
    device: torch.device
    data: Data
    task: Task
    computed_on: dict[str, Any]
    start: str | None
    keys: list[str]
    recipes: Mapping[str, str]
    kind: str


def make_env(experiment: Experiment, config: Mapping[str, Any], process: Process) -> Env:
    """Prepare ``process``, read the data and name the phases of ``experiment``, whose configuration is ``config``."""
    x, plan = experiment, experiment.plan()
    device = process.start(x.runtime)
    data = process.load(
        x.dataset,
        device,
        augment_validation=x.conventions.augment_validation,
        memory_format=x.runtime.memory_format,
    )
    facts = x.runtime.facts(device, num_threads=process.num_threads(x.runtime))
    start = None if x.dense_checkpoint is None else checkpoint.digest(x.dense_checkpoint)
    known = facts | {"data": data.fingerprint, "start": start}
    if weights := _weights(config["model"]):
        known["weights"] = weights
    recipes = keys.phase_keys(config, plan, {})
    return Env(
        experiment=x,
        plan=plan,
        device=device,
        data=data,
        task=x.learning_task,
        computed_on=facts,
        start=start,
        keys=keys.phase_keys(config, plan, known),
        recipes={p.phase.name: recipe for p, recipe in zip(plan.phases, recipes, strict=True)},
        kind=keys.kind(config, facts),
    )


def _weights(model: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of each file of trained weights that a model's configuration names."""
    files = {key: value for key, value in model.items() if key.endswith("weights") and isinstance(value, str)}
    return {key: checkpoint.digest(path) for key, path in files.items() if Path(path).is_file()}


@dataclass(kw_only=True)
class RunLog:
    """Results of the completed phases, and what was counted and logged on the way; no tensors.

    reports: of each pruning. candidates: the networks that the run may end with. points: the lines of metrics.jsonl.
    checks: how often each invariant was found to hold. images_evaluated: by split. extra_passes: images that a decision
    needed, by reason; they are among the evaluated ones.
    """

    phases: list[PhaseResult] = field(default_factory=list)
    reports: list[PruneReport] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    points: list[dict[str, Any]] = field(default_factory=list)
    checks: Counter[str] = field(default_factory=Counter)
    images_evaluated: Counter[str] = field(default_factory=Counter)
    extra_passes: Counter[str] = field(default_factory=Counter)

    def dump(self) -> dict[str, Any]:
        """As dicts and lists."""
        return {
            "phases": [phase.to_json() for phase in self.phases],
            "reports": [asdict(report) for report in self.reports],
            "candidates": [candidate.to_json() for candidate in self.candidates],
            "points": self.points,
            "checks": dict(self.checks),
            "images_evaluated": dict(self.images_evaluated),
            "extra_passes": dict(self.extra_passes),
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> RunLog:
        """The inverse of ``dump``."""
        return cls(
            phases=[PhaseResult.from_json(phase) for phase in dumped["phases"]],
            reports=[PruneReport(**report) for report in dumped["reports"]],
            candidates=[Candidate.from_json(candidate) for candidate in dumped["candidates"]],
            points=list(dumped["points"]),
            checks=Counter(dumped["checks"]),
            images_evaluated=Counter(dumped["images_evaluated"]),
            extra_passes=Counter(dumped["extra_passes"]),
        )


@dataclass(kw_only=True)
class RunState:
    """All that changes during a run.

    context: what the method works on, its own state among it. invariants: the masks at their last check.
    best_weights: state_dict of the best candidate so far, where the network goes on changing; else {}.
    """

    net: Network
    context: MethodContext
    invariants: Invariants
    log: RunLog
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """For the store; tensors as they are."""
        return {
            "model": self.net.model.state_dict(),
            "optimizer": self.net.optimizer.state_dict(),
            "masks": self.net.masks,
            "masks_attested": self.invariants.masks,
            "method": self.context.state,
            "chosen": self.best_weights,
            "history": self.log.dump(),
        }

    def add_candidate(self, scores: Scores, *, copy: bool, every_weight: bool) -> None:
        """The network as it is may be the run's: it is unless one before has at least its validation metric.

        copy: keep its weights, since training goes on. every_weight: as of ``prunable``.
        """
        best = max((candidate.validation for candidate in self.log.candidates), default=-1.0)
        last = self.log.phases[-1]
        self.log.candidates.append(
            Candidate(
                phase=last.name,
                epochs=float(sum(phase.epochs for phase in self.log.phases)),
                sparsity=metrics.sparsity(metrics.layer_counts(self.net.model, every_weight=every_weight)),
                **vars(scores),
            )
        )
        if scores.validation > best:
            state = self.net.model.state_dict().items()
            self.best_weights = {name: value.clone() for name, value in state} if copy else {}


def initial_state(env: Env) -> RunState:
    """The untrained network, or the dense checkpoint, with the method if it trains first; DataError where the file has changed."""
    x = env.experiment
    model = x.network()
    if x.dense_checkpoint is not None and checkpoint.load(x.dense_checkpoint, model) != env.start:
        raise DataError(f"dense_checkpoint={x.dense_checkpoint}: the file changed while it was read")
    model = model.to(env.device).to(memory_format=x.runtime.memory_format)
    weights = prunable(model, every_weight=x.conventions.prune_every_weight)
    log = RunLog()
    state = RunState(
        net=Network(model=model, weights=weights, optimizer=x.optim.build(model.parameters(), update=_update(env))),
        context=x.context(model, weights),
        invariants=Invariants(checks=log.checks),
        log=log,
    )
    if env.plan.start == 0:
        attach(env, state)
    return state


def attach(env: Env, state: RunState) -> None:
    """Hand the network to the run's method, with a new optimiser of all that there is to train then."""
    x, net = env.experiment, state.net
    x.method.attach(state.context)
    spared = x.method.parameters_without_weight_decay(state.context)
    net.optimizer = x.optim.build(net.model.parameters(), spared, update=_update(env))


def restored_state(env: Env, planned: PlannedPhase, stored: Mapping[str, Any]) -> RunState:
    """The state that was stored during or after ``planned``."""

    def here(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(env.device) for name, tensor in tensors.items()}

    state = initial_state(env)
    net = state.net
    if 0 < env.plan.start <= planned.number:
        attach(env, state)
    if planned.phase.pruned_by == "method":
        env.experiment.method.detach(state.context)  # its values are replaced at once
    if planned.phase.cycle:
        net.optimizer = plain_optimizer(env, net)
    net.model.load_state_dict(stored["model"])
    net.optimizer.load_state_dict(stored["optimizer"])
    net.masks = here(stored["masks"])
    state.context.state.clear()
    state.context.state.update(here(stored["method"]))
    state.best_weights = here(stored["chosen"])
    state.log = RunLog.load(stored["history"])
    state.invariants = Invariants(checks=state.log.checks, masks=here(stored["masks_attested"]))
    return state


def plain_optimizer(env: Env, net: Network) -> torch.optim.Optimizer:
    """A new optimiser of the plain network."""
    return env.experiment.optim.build(net.model.parameters(), update=_update(env))


def _update(env: Env) -> Any:
    return env.computed_on["runtime"]["update"]
