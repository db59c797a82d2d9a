"""The pruning that opens a phase: cut, check what must hold, measure, report to the schedule (paper, Sections 2.1 and 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bimp_exp.budget import Phase
from bimp_exp.pruning import metrics
from bimp_exp.pruning import weights as cutting
from bimp_exp.pruning.report import PruneReport
from bimp_exp.run.plan import PlannedPhase

if TYPE_CHECKING:
    from bimp_exp.run.execute import Execution


def prune(run: Execution, planned: PlannedPhase) -> dict[str, Any]:
    """Cut the network down to the sparsity of ``planned``; what happened, for the result and, as a report, for the schedule."""
    x, phase, c = run.x, planned.phase, run.x.conventions
    before, dense = run.history.phases[-1]["metrics"], run.history.phases[0]["metrics"]
    whole, others = cutting.effective(run.model, run.weights), cutting.unprunable_state(run.model, run.weights)
    gone_before = cutting.num_pruned(run.masks)
    if x.method.prunes == "while training":
        x.method.detach(run.context)
        run.masks = cutting.nonzero_masks(run.weights)
    else:
        run.masks = cutting.prune_with(x.selector, run.weights, run.masks, phase, per_cycle=c.count_per_cycle)
    run.attest.held(run.measure.zeros(), run.masks)
    run.attest.others_untouched(others, cutting.unprunable_state(run.model, run.weights))
    _attest_count(run, phase, gone_before)
    evaluating = run.measure.seconds
    after = run.measure.scores(recalibrate=c.recalibrate_batch_norm)
    if getattr(run.plan.retraining, "extra_pass", False):
        run.history.extra_passes["training accuracy right after pruning"] += len(run.data.train)
    facts = run.measure.facts()
    run.point(
        planned.first_step, phase.name, sparsity=facts["sparsity"],
        **{f"pruned_{split}_accuracy": after[split] for split in after},
    )  # fmt: skip
    report = PruneReport.measure(
        whole,
        run.model,
        fraction=phase.fraction,
        retrain_epochs=phase.epochs,
        epochs=run.plan.phases[0].phase.epochs,
        train_metric_dense=dense["train"],
        train_metric_pruned=after["train"],
    )
    run.history.reports.append(report)
    reference = dense if c.stability_against_dense else before
    return {
        "fraction": phase.fraction,
        "num_pruned": cutting.num_pruned(run.masks) - gone_before,
        "before": before,
        "right_after": after,
        "pruning_stability": metrics.pruning_stability(
            reference["test"], after["test"], clipped=not c.unclipped_stability
        ),
        "d1": report.d1("all"),
        "d1_prunable": report.d1("prunable"),
        "d2": report.d2,
        "d": run.rates()[-1].peak / run.plan.original.peak if planned.num_steps else None,
        "emptied_layers": [layer["name"] for layer in facts["layers"] if layer["num_zeros"] == layer["num_weights"]],
        "seconds_evaluating": run.measure.seconds - evaluating,
    } | facts


def _attest_count(run: Execution, phase: Phase, gone_before: int) -> None:
    """The goal of a method that has one was reached, up to what the selector rounds in each layer and cycle."""
    x = run.x
    if x.method.has_target and x.selector.rounding is not None:
        per_cycle = x.conventions.count_per_cycle
        wanted = cutting.target_count(phase, run.num_weights, gone_before, per_cycle=per_cycle)
        slack = x.selector.rounding * len(run.weights) * phase.cycle + x.method.slack(run.context)
        at_least = x.method.prunes == "while training"  # its pattern also has the weights that are 0 by themselves
        run.attest.count(cutting.num_pruned(run.masks), wanted, slack, at_least=at_least)
