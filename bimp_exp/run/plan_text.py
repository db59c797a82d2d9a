"""A plan in words."""

from __future__ import annotations

from bimp_exp.run.plan import Plan, PlannedPhase

OPEN = "sparsity open: the method's own keys decide it"


def one_line(plan: Plan) -> str:
    """The plan on one line, for a multirun."""
    later = [planned for planned in plan.phases if planned.phase.cycle]
    parts = [
        f"{planned.phase.name} from a file"
        if loaded(plan, planned)
        else f"{planned.phase.epochs:g} {planned.phase.name}"
        for planned in plan.phases
        if not planned.phase.cycle
    ]
    trained = [f"{p.phase.epochs:g}" for p in later if p.num_steps]
    if trained:
        same = f"{len(trained)} x {trained[0]}" if len(trained) > 1 and len(set(trained)) == 1 else " + ".join(trained)
        name = type(plan.retraining).__name__
        parts.append(f"{same} {later[0].phase.label or 'retraining'} with {name} from {starts(later[0])}")
    if later:
        sparsities = " ".join(f"{100 * p.phase.sparsity:.4g}" for p in later)
        parts.append(f"sparsity {sparsities} %" if plan.has_target else OPEN)
    return f"{', '.join(parts)}; {total(plan)}"


def loaded(plan: Plan, planned: PlannedPhase) -> bool:
    """Whether a dense checkpoint is in the place of a phase."""
    return plan.loads_dense and planned.number == 0


def starts(planned: PlannedPhase) -> str:
    """The peak rate of a phase, or its range where pruning decides."""
    low, high = (f"{rate:.4g}" for rate in planned.start)
    return low if low == high else f"{low} to {high}"


def total(plan: Plan) -> str:
    """Epochs and steps in all, against the budget."""
    over = plan.budget_epochs - plan.epochs
    note = "" if over == 0 else f" ({over:g} unused)" if over > 0 else f" ({-over:g} on top)"
    return f"{plan.epochs:g} of {plan.budget_epochs:g} epochs{note}, {plan.num_steps} steps"


def without_data(plan: Plan) -> str:
    """What a plan goes by where the configuration leaves open where its data lie."""
    return f"dataset.root=null: planned with {plan.num_fit_items:,} {plan.items} to train on; a run looks at its data first"
