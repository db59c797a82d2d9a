"""The plan of a run as a table on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bimp_exp.plan import Plan, starts, total


def show(plan: Plan, name: str, console: Console) -> None:
    """Phases with epochs, steps, sparsity and the rate they start from; then the sum against the budget."""
    table = Table("phase", "epochs", "steps", "first step", "removes", "sparsity", "learning rate from")
    for column in table.columns[1:]:
        column.justify = "right"
    for planned in plan.phases:
        phase = planned.phase
        cut = [f"{100 * phase.fraction:.2f} %", f"{100 * phase.sparsity:.2f} %"] if phase.cycle else ["", "0 %"]
        kind = type(plan.retraining).__name__ if phase.cycle else ""
        loaded = phase.cycle == 0 and plan.loads_dense
        row = [
            "from a file" if loaded else f"{phase.epochs:.10g}",
            str(planned.num_steps),
            str(planned.first_step),
        ]
        table.add_row(phase.name, *row, *cut, "" if loaded else f"{kind} {starts(planned)}".strip())
    console.print(name, highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"{total(plan)}; {plan.steps_per_epoch} steps of {plan.batch_size} images an epoch", highlight=False)
