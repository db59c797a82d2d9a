"""The training of one phase, as a run does it: fit, check the invariants, evaluate, log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bimp_exp import metrics
from bimp_exp.errors import TrainingError
from bimp_exp.lr import Schedule
from bimp_exp.method.dense import Dense
from bimp_exp.plan import PlannedPhase
from bimp_exp.seeds import derive
from bimp_exp.training import Epoch, Score, fit

if TYPE_CHECKING:
    from bimp_exp.execution import Execution

LOGGED_PER_EPOCH = 10  # points of loss and learning rate


def train(run: Execution, planned: PlannedPhase, lr: Schedule, measured: dict[str, float] | None) -> dict[str, Any]:
    """Train and evaluate; the figures of the phase. ``measured`` are its metrics where it has no step."""
    x, name, first = run.x, planned.phase.name, planned.first_step
    run.display.phase(planned)
    evaluating = run.measure.seconds
    epochs: list[Epoch] = []
    validation: Score | None = None
    done = 0
    training = fit(
        run.model,
        run.data,
        lr=lr,
        optimizer=run.optimizer,
        method=Dense() if planned.phase.cycle else x.method,  # hooks end with the training they belong to
        masked=[(run.weights[weight], mask) for weight, mask in run.masks.items()],
        runtime=x.runtime,
        device=run.device,
        batch_size=x.optim.batch_size,
        seed=derive(x.seed, name),
        progress=run.display.step,
    )
    for epoch in training if planned.num_steps else ():
        epochs.append(epoch)
        _log_steps(run, epoch, name, first, done, lr)
        done += epoch.num_steps
        zeros = run.measure.zeros()
        run.attest.held(zeros, run.masks or x.method.hard_masks())
        validation = run.measure.evaluate("validation")
        if not math.isfinite(validation.loss):
            raise TrainingError(
                f"the validation loss is {validation.loss} after step {done} of {planned.num_steps} ({name}), "
                f"at learning rate {lr(done - 1):.6g}: lower lr.initial or the schedule's rate"
            )
        run.record.point(
            first + done,
            name,
            epoch=(first + done) / run.plan.steps_per_epoch,
            sparsity=sum(int(zero.sum()) for zero in zeros.values()) / run.num_weights,
            train_accuracy=epoch.accuracy,
            validation_accuracy=validation.accuracy,
            validation_loss=validation.loss,
            images_per_second=epoch.num_images / epoch.seconds,
        )
        run.display.epoch(done, epoch, validation.accuracy, lr(done - 1))
    scores = measured or run.measure.scores(validation)
    run.record.point(
        first + done, name, test_accuracy=scores["test"], train_full_accuracy=scores["train"],
        validation_accuracy=None if epochs else scores["validation"],
    )  # fmt: skip
    if x.conventions.mean_of_rates:
        steps = [(n, t) for e in epochs for n, t in zip(e.step_sizes, e.step_seconds, strict=True)]
    else:
        steps = [(e.num_images, e.seconds) for e in epochs]
    return {
        "name": name,
        "first_step": first,
        "num_steps": done,
        "epochs": planned.phase.epochs if done else 0,
        "num_images": sum(e.num_images for e in epochs),
        "seconds_training": sum(e.seconds for e in epochs),
        "seconds_evaluating": run.measure.seconds - evaluating,
        "images_per_second": metrics.images_per_second(
            [n for n, _ in steps], [t for _, t in steps], mean_of_rates=x.conventions.mean_of_rates
        ),
        "learning_rate": {"first": lr(0), "peak": lr.peak, "last": lr(done - 1)} if done else None,
        "metrics": scores,
    }


def _log_steps(run: Execution, epoch: Epoch, name: str, first: int, done: int, lr: Schedule) -> None:
    every = max(1, run.plan.steps_per_epoch // LOGGED_PER_EPOCH)
    for i in range(0, epoch.num_steps, every):
        part = epoch.losses[i : i + every]
        run.record.point(first + done + i + 1, name, train_loss=sum(part) / len(part), learning_rate=lr(done + i))
