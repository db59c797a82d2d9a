"""The pruning that opens a phase: prune, check what must hold, measure, report to the schedule (paper, Sections 2.1 and 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp.method.base import MethodContext
from bimp_exp.pruning import metrics
from bimp_exp.pruning import weights as pruning
from bimp_exp.pruning.report import PruneReport, snapshot
from bimp_exp.results.schema import PruningResult, Scores
from bimp_exp.run.evaluator import Evaluator
from bimp_exp.run.invariants import Invariants
from bimp_exp.run.plan import PlannedPhase
from bimp_exp.run.state import Env
from bimp_exp.selector.base import Masks
from bimp_exp.training.state import Network


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What happened, for the schedule and for result.json."""

    report: PruneReport
    result: PruningResult


def prune(
    env: Env,
    net: Network,
    context: MethodContext,
    planned: PlannedPhase,
    *,
    before: Scores,
    dense: Scores,
    evaluator: Evaluator,
    invariants: Invariants,
) -> Pruned:
    """Prune ``net`` in place to the sparsity of ``planned``.

    before, dense: the metric right before, and after the first phase.
    """
    phase, c = planned.phase, env.experiment.conventions
    unprunable = pruning.unprunable_state(net.model, net.weights)
    weights_before = snapshot(net.model, every_weight=c.prune_every_weight)
    num_pruned_before = pruning.num_pruned(net.masks)
    net.masks = _masks(env, net, context, planned)
    invariants.check_masks(evaluator.zeros(), net.masks)
    invariants.check_unprunable(unprunable, pruning.unprunable_state(net.model, net.weights))
    _check_count(env, net, context, planned, num_pruned_before, invariants)
    seconds = evaluator.seconds
    after = evaluator.scores(recalibrate=c.recalibrate_batch_norm)
    facts = evaluator.facts()
    report = PruneReport.measure(
        weights_before,
        net.model,
        fraction=phase.fraction
        if phase.pruned_by == "selector"
        else None,  # of a method's final prune: as many as it does
        retrain_epochs=phase.epochs,
        epochs=env.plan.reference_epochs,
        train_metric_dense=dense.train,
        train_metric_pruned=after.train,
    )
    reference = dense if c.stability_against_dense else before
    rates = env.plan.retraining(env.plan.original, planned.num_steps, report)
    result = PruningResult(
        fraction=report.fraction,
        num_pruned=pruning.num_pruned(net.masks) - num_pruned_before,
        before=before,
        right_after=after,
        pruning_stability=metrics.pruning_stability(reference.test, after.test, clipped=not c.unclipped_stability),
        d1=report.d1("all"),
        d1_prunable=report.d1("prunable"),
        d2=report.d2,
        d=rates.peak / env.plan.original.peak if planned.num_steps else None,
        emptied_layers=tuple(layer.name for layer in facts.layers if layer.num_zeros == layer.num_weights),
        seconds_evaluating=evaluator.seconds - seconds,
        **vars(facts),
    )
    return Pruned(report=report, result=result)


def _masks(env: Env, net: Network, context: MethodContext, planned: PlannedPhase) -> Masks:
    """New masks, with the weights that they prune at 0: by the selector, or by the final prune of the method."""
    x = env.experiment
    if planned.phase.pruned_by == "method":
        x.method.detach(context)
        return pruning.nonzero_masks(net.weights)
    per_cycle = x.conventions.count_per_cycle
    return pruning.prune_with(context.selector, net.weights, net.masks, planned.phase, per_cycle=per_cycle)


def _check_count(
    env: Env, net: Network, context: MethodContext, planned: PlannedPhase, num_before: int, invariants: Invariants
) -> None:
    """The goal of a method that has one was reached, up to what the selector rounds in each layer and cycle."""
    x, phase = env.experiment, planned.phase
    if x.method.has_target and x.selector.rounding is not None:
        per_cycle = x.conventions.count_per_cycle
        wanted = pruning.target_count(phase, context.num_weights, num_before, per_cycle=per_cycle)
        slack = x.selector.rounding * len(net.weights) * phase.cycle + x.method.slack(context)
        at_least = phase.pruned_by == "method"  # its pattern also has the weights that are 0 by themselves
        invariants.check_count(pruning.num_pruned(net.masks), wanted, slack, at_least=at_least)
