"""One run, fully described: the fields of ``Experiment`` are the keys of ``conf/config.yaml``. ``bimp_exp.run.execute`` does it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from bimp_exp.budget import Budget
from bimp_exp.conventions import Conventions
from bimp_exp.dataset.base import Dataset
from bimp_exp.errors import ConfigError
from bimp_exp.lr import Original
from bimp_exp.method.base import Method, MethodContext
from bimp_exp.optim import SGD
from bimp_exp.pruning import metrics
from bimp_exp.pruning import weights as pruning
from bimp_exp.results.writer import Tracking
from bimp_exp.run import checkpoint, own_network
from bimp_exp.run import plan as planning
from bimp_exp.run.plan import Plan
from bimp_exp.runtime import Runtime
from bimp_exp.schedule.base import Retraining
from bimp_exp.seeds import derive
from bimp_exp.selector.base import PruningTarget, Selector
from bimp_exp.store.phases import Store
from bimp_exp.task.base import Task
from bimp_exp.types import Seed, Sparsity


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run, fully described."""

    task: Callable[..., Task]
    dataset: Dataset
    model: Callable[..., nn.Module]
    optim: SGD
    lr: Original
    method: Method
    selector: Selector
    schedule: Retraining
    budget: Budget
    tracking: Tracking
    store: Store
    runtime: Runtime
    conventions: Conventions
    sparsity: Sparsity
    seed: Seed
    dense_checkpoint: str | None

    def plan(self) -> Plan:
        """The phases of this run."""
        return planning.make(
            num_fit_items=self.dataset.num_fit_items,
            drops_last=self.dataset.drops_last,
            items=self.dataset.items,
            batch_size=self.optim.batch_size,
            lr=self.lr,
            budget=self.budget,
            schedule=self.schedule,
            prunes=self.method.prunes,
            sparsity=self.sparsity,
            loads_dense=self.dense_checkpoint is not None,
            has_target=self.method.has_target,
        )

    @cached_property
    def learning_task(self) -> Task:
        """The task with what it needs to know of the data."""
        return self.task(**self.dataset.facts)

    def check(self) -> None:
        """Raise UserError for all that can be known before data are read and files are written; nothing else happens."""
        plan = self.plan()
        self.runtime.check()
        self.store.check()
        self.dataset.check_files()
        model = self._shapes()
        self._check_task(model)
        self._check_last_batch(plan, own_network.check(model, self.learning_task, self.network))
        weights = pruning.prunable(model, every_weight=self.conventions.prune_every_weight)
        self._check_conventions(model)
        context = self.context(model, weights)
        self._check_sparsities(plan, context.selector, [tuple(weight.shape) for weight in weights.values()])
        self.method.check(context)
        if self.dense_checkpoint is not None:
            checkpoint.check(self.dense_checkpoint, model)

    def not_prunable(self) -> dict[str, int]:
        """Names and sizes of the network's weight matrices that are never pruned, whatever the sparsity."""
        return metrics.not_prunable(self._shapes(), every_weight=self.conventions.prune_every_weight)

    def _shapes(self) -> nn.Module:
        """The network with tensors that have no values."""
        task = self.learning_task  # the data may make tensors with values for it
        return own_network.without_values(lambda: task.build(self.model))

    def _check_task(self, model: nn.Module) -> None:
        made_for, wanted = getattr(model, "task", "classification"), self.learning_task.name
        if made_for != wanted:
            raise ConfigError(
                f"model: {type(model).__name__} is for {made_for}, but this dataset is for {wanted}; a network of your own "
                f'for {wanted} has the class attribute task = "{wanted}"'
            )

    def _check_last_batch(self, plan: Plan, model: nn.Module) -> None:
        """With more than one item batch-norm has enough; a forward pass takes a second, for imports."""
        last = plan.last_batch
        if last > 1:
            return
        try:
            own_network.forward(model, self.learning_task, last)
        except ValueError as error:  # batch-norm of a single number
            raise ConfigError(
                f"optim.batch_size={plan.batch_size}: the last batch of an epoch has {last} of "
                f"{plan.num_fit_items} {self.dataset.items}, too few for the model ({error})"
            ) from None

    def _check_conventions(self, model: nn.Module) -> None:
        """The published rules know neither dilation nor an embedding that is the output layer, too."""
        dilated, tied = pruning.dilated(model), pruning.tied_embedding(model)
        if self.conventions.padding_blind_multiply_adds and dilated:
            raise ConfigError(
                "conventions.padding_blind_multiply_adds must be false for this model: the published count of multiply-adds "
                f"refuses dilation, which {dilated} has"
            )
        if self.conventions.prune_every_weight and tied:
            raise ConfigError(
                f"conventions.prune_every_weight must be false for this model: {tied} is used in several places, where the "
                "published code would prune it by several masks"
            )

    def _check_sparsities(self, plan: Plan, selector: Selector, shapes: list[tuple[int, ...]]) -> None:
        num_weights, total = sum(map(math.prod, shapes)), 0
        for planned in plan.phases[plan.start + 1 :]:
            phase = planned.phase
            total = pruning.target_count(phase, num_weights, total, per_cycle=self.conventions.count_per_cycle)
            selector.check(shapes, PruningTarget(fraction_of_remaining=phase.sparsity, total_pruned=total))

    def context(self, model: nn.Module, weights: dict[str, nn.Parameter]) -> MethodContext:
        """The context of the method: ``model`` with these prunable ``weights``, in this run."""
        plan = self.plan()
        acting, *later = plan.phases[plan.start :]
        return MethodContext(
            model=model,
            weights=weights,
            selector=pruning.suited(self.selector, model),
            sparsity=self.sparsity,
            weight_decay=self.optim.weight_decay,
            num_steps=acting.num_steps,
            steps_per_epoch=plan.steps_per_epoch,
            retraining=tuple(planned.num_steps for planned in later),
        )

    def network(self) -> nn.Module:
        """The untrained network; its weights follow from the seed alone, so they are the same for all methods."""
        with torch.random.fork_rng():
            torch.manual_seed(derive(self.seed, "init"))
            return self.learning_task.build(self.model)
