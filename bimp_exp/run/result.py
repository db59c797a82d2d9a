"""The end of a run: the best of its networks is saved, checked and described."""

from __future__ import annotations

import time
from dataclasses import replace

from bimp_exp.lr import Schedule
from bimp_exp.pruning import metrics
from bimp_exp.results.ledger import ledger
from bimp_exp.results.schema import BudgetUse, Final, LearningRateCurve, Result
from bimp_exp.run.evaluator import Evaluator
from bimp_exp.run.log import Log
from bimp_exp.run.state import Env, RunState

IMAGES_PER_SECOND_INCLUDES = (
    "batches, augmentation, forward, backward, optimiser, masks; not evaluation, logging, saving"
)


def build_result(env: Env, state: RunState, log: Log, started: float) -> Result:
    """The result of a run whose phases are over; its network is the candidate of highest validation metric, the first of equals.

    started: ``time.perf_counter()`` of this process when it began.
    """
    results, net, x = state.log, state.net, env.experiment
    if state.best_weights:
        net.model.load_state_dict(state.best_weights)
    evaluator = Evaluator(env=env, net=net, num_items=results.images_evaluated)
    facts = evaluator.facts()
    if uncounted := [layer.name for layer in facts.layers if layer.multiply_adds is None]:
        log.display.note(
            f"no multiply-adds and no speed-up, since these weights are not counted: {', '.join(uncounted)}"
        )
    best = max(results.candidates, key=lambda candidate: float(candidate.validation))
    copy = x.network()
    copy.load_state_dict(log.writer.save(net.model.state_dict()))
    copy.to(env.device).to(memory_format=x.runtime.memory_format)
    state.invariants.check_outputs(evaluator.outputs(copy), evaluator.outputs(net.model))
    seconds = time.perf_counter() - started
    layers, attention = evaluator.multiply_adds()
    dense = metrics.total(layers)
    spent = ledger(
        results.phases,
        multiply_adds=None if dense is None else dense + attention,
        seconds=seconds,
        images_evaluated=results.images_evaluated,
        extra_passes=results.extra_passes,
    )
    plan = env.plan
    return Result(
        phases=tuple(replace(phase, key=key) for phase, key in zip(results.phases, env.keys, strict=True)),
        candidates=tuple(results.candidates),
        final=Final.of(best, facts),
        budget=BudgetUse(
            epochs=plan.budget_epochs,
            epochs_used=plan.epochs,
            num_steps=plan.num_steps,
            num_images=spent.num_images,
        ),
        ledger=spent,
        attested=dict(results.checks),
        images_per_second_includes=IMAGES_PER_SECOND_INCLUDES,
        computed_on=env.computed_on,
        data_hash=env.data.fingerprint,
        learning_rates=_sample([plan.rates(p.number, results.reports) for p in plan.phases if p.num_steps]),
        seconds=seconds,
    )


def _sample(rates: list[Schedule], most: int = 2000) -> LearningRateCurve:
    """Step and learning rate of all phases one after the other, thinned out evenly to ``most`` points, for plots."""
    every = [rate(i) for rate in rates for i in range(rate.num_steps)]
    steps = sorted({i * len(every) // most for i in range(most)} if len(every) > most else set(range(len(every))))
    return LearningRateCurve(step=tuple(float(s + 1) for s in steps), rate=tuple(every[s] for s in steps))
