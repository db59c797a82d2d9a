"""What result.json holds: the phases, the network that the run ends with, what all this has cost and what was checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bimp_exp.lr import Schedule
from bimp_exp.results.ledger import ledger
from bimp_exp.results.schema import BudgetUse, Candidate, Final, LearningRateCurve, PhaseResult, Result

if TYPE_CHECKING:
    from bimp_exp.run.execute import Execution

IMAGES_PER_SECOND_INCLUDES = (
    "batches, augmentation, forward, backward, optimiser, masks; not evaluation, logging, saving"
)


def of(run: Execution, *, final: Final, seconds: float) -> Result:
    """The result of ``run``, whose phases are over. final: metrics and facts of its network; seconds: of this process."""
    history = run.history
    phases = [PhaseResult.from_json(p | {"key": key}) for p, key in zip(history.phases, run.keys, strict=True)]
    spent = ledger(
        phases,
        multiply_adds=run.multiply_adds,
        seconds=seconds,
        images_evaluated=history.images_evaluated,
        extra_passes=history.extra_passes,
    )
    rates = [lr for lr, planned in zip(run.rates(), run.plan.phases, strict=True) if planned.num_steps]
    return Result(
        phases=tuple(phases),
        candidates=tuple(map(Candidate.from_json, history.candidates)),
        final=final,
        budget=BudgetUse(
            epochs=run.plan.budget_epochs,
            epochs_used=run.plan.epochs,
            num_steps=run.plan.num_steps,
            num_images=spent.num_images,
        ),
        ledger=spent,
        attested=dict(history.checks),
        images_per_second_includes=IMAGES_PER_SECOND_INCLUDES,
        computed_on=run.facts,
        data_hash=run.data.fingerprint,
        learning_rates=_sample(rates),
        seconds=seconds,
    )


def _sample(rates: list[Schedule], most: int = 2000) -> LearningRateCurve:
    """Step and learning rate of all phases one after the other, thinned out evenly to ``most`` points, for plots."""
    every = [rate(i) for rate in rates for i in range(rate.num_steps)]
    steps = sorted({i * len(every) // most for i in range(most)} if len(every) > most else set(range(len(every))))
    return LearningRateCurve(step=tuple(float(s + 1) for s in steps), rate=tuple(every[s] for s in steps))
