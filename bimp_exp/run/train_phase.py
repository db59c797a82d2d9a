"""The training of one phase: fit, check the invariants, evaluate, log, save."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bimp_exp.errors import TrainingError
from bimp_exp.lr import Schedule
from bimp_exp.method.base import Method, MethodContext
from bimp_exp.pruning import metrics
from bimp_exp.results.schema import LearningRate, PhaseResult, PruningResult
from bimp_exp.run.evaluator import Evaluator
from bimp_exp.run.invariants import Invariants
from bimp_exp.run.plan import PlannedPhase
from bimp_exp.run.progress import Display
from bimp_exp.run.state import Env
from bimp_exp.seeds import derive
from bimp_exp.training.loop import fit
from bimp_exp.training.state import Clipping, EpochMetrics, LoopState, Network, Score

LOGGED_PER_EPOCH = 10  # points of loss and learning rate

Point = Callable[..., None]


@dataclass(kw_only=True)
class PhaseProgress:
    """Partial results of a running phase; saved in its checkpoint.

    pruning: that opened it. seconds: of its epochs, without those warming up.
    clipping: of gradients, where they are clipped.
    rates: items and seconds of its epochs, or of its steps where items per second are a mean of rates.
    """

    pruning: PruningResult | None
    loop: LoopState = field(default_factory=LoopState)
    num_items: int = 0
    seconds: float = 0.0
    seconds_warming_up: float = 0.0
    clipping: Clipping = field(default_factory=Clipping)
    rates: list[tuple[int, float]] = field(default_factory=list)
    validation: Score | None = None

    def dump(self) -> dict[str, Any]:
        """As dicts, lists and tensors, with the state of the generators as it is now."""
        return vars(self) | {
            "pruning": None if self.pruning is None else self.pruning.to_json(),
            "loop": self.loop.dump(),
            "clipping": vars(self.clipping),
            "validation": None if self.validation is None else vars(self.validation),
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> PhaseProgress:
        """The inverse of ``dump``."""
        pruning, validation = dumped["pruning"], dumped["validation"]
        typed = {
            "pruning": None if pruning is None else PruningResult.from_json(pruning),
            "loop": LoopState.load(dumped["loop"]),
            "clipping": Clipping(**dumped.get("clipping", {})),
            "validation": None if validation is None else Score(**validation),
        }
        return cls(**{**dumped, **typed})


def train(
    env: Env,
    net: Network,
    method: Method,
    context: MethodContext,
    planned: PlannedPhase,
    rates: Schedule,
    progress: PhaseProgress,
    *,
    evaluator: Evaluator,
    invariants: Invariants,
    point: Point,
    display: Display,
    save: Callable[[], None],
) -> PhaseResult:
    """Train ``net`` from where ``progress`` is, and evaluate; the result of the phase.

    method, context: whose hooks act. point: takes a step, the phase's name and values. save: called wherever the run can go
    on from.
    """
    x, name, first = env.experiment, planned.phase.name, planned.first_step
    metric = env.task.metric.name
    display.phase(planned)
    seconds = evaluator.seconds
    training = fit(
        net,
        env.data,
        rates,
        method=method,
        context=context,
        task=env.task,
        runtime=x.runtime,
        device=env.device,
        batch_size=x.optim.batch_size,
        clip_norm=x.optim.clip_norm,
        seed=derive(x.seed, name),
        state=progress.loop,
        progress=display.step,
        after_step=save,
    )
    for epoch in training if planned.num_steps else ():
        done = progress.loop.num_done
        _log_steps(env, epoch, rates, planned, done - epoch.num_steps, point)
        progress.validation = validation = evaluator.evaluate("validation")
        if not math.isfinite(validation.loss):
            raise TrainingError(
                f"the validation loss is {validation.loss} after step {done} of {planned.num_steps} ({name}), "
                f"at learning rate {rates(done - 1):.6g}: lower lr.initial or the schedule's rate"
            )
        zeros = evaluator.zeros()  # after the losses: a weight that is not a number is not 0 either
        invariants.check_masks(zeros, net.masks or method.hard_masks(context))
        progress.num_items += epoch.num_items
        progress.seconds += epoch.timing.seconds
        progress.seconds_warming_up += epoch.timing.seconds_warming_up
        progress.clipping += epoch.clipping or Clipping()
        each = zip(epoch.timing.step_sizes, epoch.timing.step_seconds, strict=True)
        progress.rates += each if x.conventions.mean_of_rates else [epoch.timed]
        point(
            first + done,
            name,
            **{
                "epoch": (first + done) / env.plan.steps_per_epoch,
                "sparsity": sum(int(zero.sum()) for zero in zeros.values()) / context.num_weights,
                f"train_{env.task.training_metric.name}": epoch.metric,
                f"validation_{metric}": validation.metric,
                "validation_loss": validation.loss,
                "images_per_second": epoch.timed[0] / epoch.timed[1],
                **_clipping(epoch.clipping, epoch.num_steps),
            },
        )
        display.epoch(done, epoch, validation.metric, rates(done - 1))
        save()
    trained = planned.num_steps > 0
    unchanged = None if trained or not progress.pruning else progress.pruning.right_after
    scores = unchanged or evaluator.scores(progress.validation)
    point(
        first + planned.num_steps,
        name,
        **{
            f"test_{metric}": scores.test,
            f"train_full_{metric}": scores.train,
            f"validation_{metric}": None if trained else scores.validation,
        },
    )
    return PhaseResult(
        name=name,
        first_step=first,
        num_steps=planned.num_steps,
        epochs=planned.phase.epochs if trained else 0,
        num_images=progress.num_items,
        seconds_training=progress.seconds,
        seconds_warming_up=progress.seconds_warming_up,
        seconds_evaluating=evaluator.seconds - seconds,
        images_per_second=metrics.images_per_second(
            [n for n, _ in progress.rates],
            [t for _, t in progress.rates],
            mean_of_rates=x.conventions.mean_of_rates,
        ),
        learning_rate=_learning_rate(rates) if trained else None,
        metrics=scores,
        pruning=progress.pruning,
        **_clipping(progress.clipping if trained and x.optim.clip_norm is not None else None, planned.num_steps),
    )


def _clipping(clipping: Clipping | None, num_steps: int) -> dict[str, Any]:
    """As PhaseResult names it."""
    if clipping is None:
        return {}
    return {"clipped_steps": clipping.num_steps / num_steps, "largest_gradient_norm": clipping.largest_norm}


def _learning_rate(rates: Schedule) -> LearningRate:
    return LearningRate(first=rates(0), peak=rates.peak, last=rates(rates.num_steps - 1))


def _log_steps(
    env: Env, epoch: EpochMetrics, rates: Schedule, planned: PlannedPhase, num_before: int, point: Point
) -> None:
    """Mean loss and learning rate of each part of the epoch, which began after ``num_before`` steps of the phase."""
    every = max(1, env.plan.steps_per_epoch // LOGGED_PER_EPOCH)
    for i in range(0, epoch.num_steps, every):
        part = epoch.losses[i : i + every]
        step = planned.first_step + num_before + i + 1
        point(step, planned.phase.name, train_loss=sum(part) / len(part), learning_rate=rates(num_before + i))
