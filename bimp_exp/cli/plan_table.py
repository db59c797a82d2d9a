"""The plan of a run as a table on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bimp_exp.run.plan import Plan
from bimp_exp.run.plan_text import OPEN, loaded, starts, total


def show(plan: Plan, name: str, console: Console) -> None:
    """Phases with epochs, steps, the sparsity aimed at and the rate they start from; then the sum against the budget."""
    table = Table("phase", "epochs", "steps", "first step", "removes", "sparsity", "learning rate from")
    for column in table.columns[1:]:
        column.justify = "right"
    for planned in plan.phases:
        phase = planned.phase
        removes = f"{100 * phase.fraction:.2f} %" if phase.cycle and not phase.label else ""
        goal = "" if not phase.cycle else f"{100 * phase.sparsity:.2f} %" if plan.has_target else "open"
        kind = type(plan.retraining).__name__ if phase.cycle and planned.num_steps else ""
        row = [
            "from a file" if loaded(plan, planned) else f"{phase.epochs:.10g}",
            str(planned.num_steps),
            str(planned.first_step),
        ]
        rate = f"{kind} {starts(planned)}".strip() if planned.num_steps else ""
        table.add_row(phase.name, *row, removes, goal, rate)
    console.print(name, highlight=False, soft_wrap=True)
    console.print(table)
    if not plan.has_target and len(plan.phases) > 1:
        console.print(OPEN, highlight=False)
    console.print(
        f"{total(plan)}; {plan.steps_per_epoch} steps of {plan.batch_size} {plan.items} an epoch", highlight=False
    )
