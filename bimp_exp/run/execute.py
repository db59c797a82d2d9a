"""Doing a run: train dense, then prune and retrain in cycles, measuring around every pruning (paper, Sections 2.1 and 3.3).

A method that prunes while it trains has its training as the first phase, or as the one after dense training, and as the next,
after its final prune, its fine-tuning; the better of the two networks, by validation metric, is the run's (Section 3.3: "the
better of both").

Each phase is a function of what its key names (``bimp_exp.run.keys``), so a run takes from the store what is there already,
its own or another's, and continues inside a phase that was cut off. It ends with the same bits either way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from bimp_exp.errors import BusyError
from bimp_exp.method.base import Method, MethodContext
from bimp_exp.method.dense import Dense
from bimp_exp.pruning import weights as pruning
from bimp_exp.results.schema import Result
from bimp_exp.run.evaluator import Evaluator
from bimp_exp.run.keys import RULE
from bimp_exp.run.log import Log
from bimp_exp.run.plan import PlannedPhase
from bimp_exp.run.predictions import predictions
from bimp_exp.run.prune_phase import prune
from bimp_exp.run.result import build_result
from bimp_exp.run.state import Env, RunState, attach, initial_state, plain_optimizer, restored_state
from bimp_exp.run.train_phase import PhaseProgress, train
from bimp_exp.store.phases import Phases

POLL = 1.0  # seconds between two looks at a phase that another process computes


def execute(env: Env, phases: Phases, log: Log, *, wait: bool = True, most_phases: int | None = None) -> Result | None:
    """Compute the phases that ``phases`` does not have; the result, with the network saved.

    wait: for another process that computes the phase that comes next; else BusyError.
    most_phases: stop after that many, with no result. None: all.
    """
    started = time.perf_counter()
    if sizes := env.experiment.not_prunable():
        names = ", ".join(f"{name} ({size:,} weights)" for name, size in sizes.items())
        log.display.note(f"not pruned, whatever the sparsity: {names}")
    for note in env.data.notes:
        log.display.note(note)
    number, state = _latest(env, phases)
    log.restart(state.log)
    for planned in env.plan.phases[number:most_phases]:
        key = env.keys[planned.number]
        with _lease(env, phases, planned, log, wait=wait):
            stored = phases.load(key)  # by another process, since we looked
            if stored is None:
                state = _compute(env, phases, planned, state, log)
                phases.save(key, _header(env, planned, log) | _cost(state), state.dump())
            else:
                state = restored_state(env, planned, stored)
                log.restart(state.log)
        log.writer.sync()
    if len(state.log.phases) < len(env.keys):
        return None
    log.restart(state.log)  # if another process held the folder for a while, its lines are among ours
    result = build_result(env, state, log, started)
    for name, content in {**predictions(env, phases, state.net.model), **env.data.files}.items():
        log.writer.attach(name, content)
    return result


def _latest(env: Env, phases: Phases) -> tuple[int, RunState]:
    """The number of the phase that comes next, and the state after the last one that is stored."""
    for planned in reversed(env.plan.phases):
        stored = phases.load(env.keys[planned.number])
        if stored is not None:
            return planned.number + 1, restored_state(env, planned, stored)
    return 0, initial_state(env)


@contextmanager
def _lease(env: Env, phases: Phases, planned: PlannedPhase, log: Log, *, wait: bool) -> Iterator[None]:
    """The right to compute a phase."""
    key, name = env.keys[planned.number], planned.phase.name
    while (lease := phases.lease(key)) is None:
        if not wait:
            raise BusyError(f"another process computes {name} of this run", lease=phases.root / key / "lease")
        log.display.waiting(planned)
        time.sleep(POLL)
    with lease:
        yield


def _compute(env: Env, phases: Phases, planned: PlannedPhase, state: RunState, log: Log) -> RunState:
    """The state after ``planned``, begun anew or where it was cut off; ``state`` is that before it."""
    partly = phases.load_partial(env.keys[planned.number])
    if partly is None:
        evaluator = Evaluator(env=env, net=state.net, num_items=state.log.images_evaluated)
        progress = _begin(env, planned, state, evaluator, log)
    else:
        state = restored_state(env, planned, partly)
        log.restart(state.log)
        evaluator = Evaluator(env=env, net=state.net, num_items=state.log.images_evaluated)
        progress = PhaseProgress.load(partly["underway"])
    method, context = _hooks(env, planned, state)
    result = train(
        env,
        state.net,
        method,
        context,
        planned,
        env.plan.rates(planned.number, state.log.reports),
        progress,
        evaluator=evaluator,
        invariants=state.invariants,
        point=partial(log.point, state.log),
        display=log.display,
        save=_autosaver(env, phases, planned, state, progress, log),
    )
    state.log.phases.append(result)
    if planned is env.plan.phases[-1] and not (state.log.candidates and not planned.num_steps):
        state.add_candidate(result.metrics, copy=False, every_weight=env.experiment.conventions.prune_every_weight)
    return state


def _begin(env: Env, planned: PlannedPhase, state: RunState, evaluator: Evaluator, log: Log) -> PhaseProgress:
    """Prune, unless nothing is trained yet. The optimiser is made anew once, for the first cycle, and stays over all cycles."""
    x, phase, net = env.experiment, planned.phase, state.net
    if not phase.pruned_by:
        if 0 < planned.number == env.plan.start:
            attach(env, state)
        return PhaseProgress(pruning=None)
    results = state.log
    pruned = prune(
        env,
        net,
        state.context,
        planned,
        before=results.phases[-1].metrics,
        dense=results.phases[0].metrics,
        evaluator=evaluator,
        invariants=state.invariants,
    )
    results.reports.append(pruned.report)
    after, metric = pruned.result.right_after, env.task.metric.name
    scores = {"train": after.train, "validation": after.validation, "test": after.test}
    values = {f"pruned_{split}_{metric}": score for split, score in scores.items()}
    log.point(results, planned.first_step, phase.name, sparsity=pruned.result.sparsity, **values)
    if env.plan.retraining.extra_pass:
        results.extra_passes[f"training {metric} right after pruning"] += len(env.data.train_sample)
    if phase.pruned_by == "method":
        state.add_candidate(
            pruned.result.right_after, copy=planned.num_steps > 0, every_weight=x.conventions.prune_every_weight
        )
    if phase.cycle == 1:
        net.optimizer = plain_optimizer(env, net)
    x.method.on_cycle(state.context, planned.num_steps, net.optimizer)
    pruning.apply(net.weights, net.masks)
    return PhaseProgress(pruning=pruned.result)


def _hooks(env: Env, planned: PlannedPhase, state: RunState) -> tuple[Method, MethodContext]:
    """The method whose hooks act in ``planned``: the run's in the last before the first pruning, and later if it asks for that."""
    method, context = env.experiment.method, state.context
    if planned.number == env.plan.start:
        return method, context
    if method.acts_while_retraining and planned.phase.cycle:
        return method, replace(context, num_steps=planned.num_steps)
    return Dense(), context


def _autosaver(
    env: Env, phases: Phases, planned: PlannedPhase, state: RunState, progress: PhaseProgress, log: Log
) -> Callable[[], None]:
    """A function that saves a checkpoint if it is time for one."""
    last = time.monotonic()
    key = env.keys[planned.number]

    def save() -> None:
        nonlocal last
        if time.monotonic() - last >= phases.every:
            phases.save_partial(key, _header(env, planned, log), state.dump() | {"underway": progress.dump()})
            last = time.monotonic()

    return save


def _header(env: Env, planned: PlannedPhase, log: Log) -> dict[str, Any]:
    """Metadata of a phase, for the header of its files."""
    name = planned.phase.name
    title = f"{log.display.name}: {name}"
    return {"name": title, "recipe": env.recipes[name], "kind": env.kind, "rule": RULE}


def _cost(state: RunState) -> dict[str, Any]:
    """Epochs and seconds of the phase that has just ended."""
    phase = state.log.phases[-1]
    return {"epochs": phase.epochs, "seconds": phase.seconds}
