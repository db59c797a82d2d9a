"""The training of one phase, as a run does it: fit, check the invariants, evaluate, log, save."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bimp_exp.errors import TrainingError
from bimp_exp.lr import Schedule
from bimp_exp.method.dense import Dense
from bimp_exp.pruning import metrics
from bimp_exp.run.plan import PlannedPhase
from bimp_exp.seeds import derive
from bimp_exp.training.loop import Epoch, Position, Score, fit, get_noise

if TYPE_CHECKING:
    from bimp_exp.run.execute import Execution

LOGGED_PER_EPOCH = 10  # points of loss and learning rate


@dataclass(kw_only=True)
class Underway:
    """What a phase has come to so far: the ``pruning`` that opened it, and the sums over its epochs and where it is.

    ``seconds`` are without those warming up; ``rates``: images and seconds of its epochs, or of its steps where images per
    second are a mean of rates.
    """

    pruning: dict[str, Any] | None
    position: Position = field(default_factory=Position)
    num_images: int = 0
    seconds: float = 0.0
    seconds_warming_up: float = 0.0
    rates: list[tuple[int, float]] = field(default_factory=list)
    validation: Score | None = None

    @property
    def measured(self) -> dict[str, float]:
        """The metrics right after the pruning."""
        assert self.pruning is not None
        scores: dict[str, float] = self.pruning["right_after"]
        return scores

    def dump(self) -> dict[str, Any]:
        """As dicts, lists and tensors, with the state of the generators as it is now."""
        self.position.noise = get_noise()
        validation = None if self.validation is None else vars(self.validation)
        return vars(self) | {"position": dict(vars(self.position)), "validation": validation}

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Underway:
        """What ``dump`` gave."""
        validation = None if dumped["validation"] is None else Score(**dumped["validation"])
        return cls(**(dumped | {"position": Position(**dumped["position"]), "validation": validation}))


def train(
    run: Execution, planned: PlannedPhase, lr: Schedule, underway: Underway, save: Callable[[], None]
) -> dict[str, Any]:
    """Train from where ``underway`` is, and evaluate; the figures of the phase. ``save`` is called wherever it can be saved."""
    x, name, first = run.x, planned.phase.name, planned.first_step
    run.display.phase(planned)
    evaluating = run.measure.seconds
    acts = not planned.phase.cycle or x.method.acts_while_retraining  # else hooks end with the training they belong to
    training = fit(
        run.model,
        run.data,
        lr=lr,
        optimizer=run.optimizer,
        method=x.method if acts else Dense(),
        context=replace(run.context, num_steps=planned.num_steps),
        masked=[(run.weights[weight], mask) for weight, mask in run.masks.items()],
        runtime=x.runtime,
        device=run.device,
        batch_size=x.optim.batch_size,
        seed=derive(x.seed, name),
        progress=run.display.step,
        at=underway.position,
        after_step=save,
    )
    for epoch in training if planned.num_steps else ():
        done = underway.position.done
        _log_steps(run, epoch, name, first + done - epoch.num_steps, lr, done - epoch.num_steps)
        zeros = run.measure.zeros()
        run.attest.held(zeros, run.masks or x.method.hard_masks(run.context))
        underway.validation = validation = run.measure.evaluate("validation")
        if not math.isfinite(validation.loss):
            raise TrainingError(
                f"the validation loss is {validation.loss} after step {done} of {planned.num_steps} ({name}), "
                f"at learning rate {lr(done - 1):.6g}: lower lr.initial or the schedule's rate"
            )
        underway.num_images += epoch.num_images
        underway.seconds += epoch.seconds
        underway.seconds_warming_up += epoch.seconds_warming_up
        each = zip(epoch.step_sizes, epoch.step_seconds, strict=True)
        underway.rates += each if x.conventions.mean_of_rates else [epoch.timed]
        run.point(
            first + done,
            name,
            epoch=(first + done) / run.plan.steps_per_epoch,
            sparsity=sum(int(zero.sum()) for zero in zeros.values()) / run.num_weights,
            train_accuracy=epoch.accuracy,
            validation_accuracy=validation.accuracy,
            validation_loss=validation.loss,
            images_per_second=epoch.timed[0] / epoch.timed[1],
        )
        run.display.epoch(done, epoch, validation.accuracy, lr(done - 1))
        save()
    trained = planned.num_steps > 0
    scores = run.measure.scores(underway.validation) if trained or not underway.pruning else underway.measured
    run.point(
        first + planned.num_steps, name, test_accuracy=scores["test"], train_full_accuracy=scores["train"],
        validation_accuracy=None if trained else scores["validation"],
    )  # fmt: skip
    return {
        "name": name,
        "first_step": first,
        "num_steps": planned.num_steps,
        "epochs": planned.phase.epochs if trained else 0,
        "num_images": underway.num_images,
        "seconds_training": underway.seconds,
        "seconds_warming_up": underway.seconds_warming_up,
        "seconds_evaluating": run.measure.seconds - evaluating,
        "images_per_second": metrics.images_per_second(
            [n for n, _ in underway.rates], [t for _, t in underway.rates], mean_of_rates=x.conventions.mean_of_rates
        ),
        "learning_rate": {"first": lr(0), "peak": lr.peak, "last": lr(planned.num_steps - 1)} if trained else None,
        "metrics": scores,
        "pruning": underway.pruning,
    }


def _log_steps(run: Execution, epoch: Epoch, name: str, first: int, lr: Schedule, done: int) -> None:
    every = max(1, run.plan.steps_per_epoch // LOGGED_PER_EPOCH)
    for i in range(0, epoch.num_steps, every):
        part = epoch.losses[i : i + every]
        run.point(first + i + 1, name, train_loss=sum(part) / len(part), learning_rate=lr(done + i))
