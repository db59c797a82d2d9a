"""The training loop; no task, method, schedule or selector is named here.

Pruned weights are held at 0 by projection: after every optimiser step the weights are multiplied by their masks. The
surviving weights get exactly the updates of a masked forward pass, and the network stays an ordinary one at every moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bimp_exp.dataset.data import Data
from bimp_exp.errors import TrainingError
from bimp_exp.lr import Schedule
from bimp_exp.method.base import Method, MethodContext
from bimp_exp.optim import clip
from bimp_exp.runtime import Runtime
from bimp_exp.seeds import derive
from bimp_exp.task.base import Task
from bimp_exp.training.state import Clipping, EpochMetrics, LoopState, Network, Timing, set_rng_state
from bimp_exp.training.timer import StepTimer


def fit(
    net: Network,
    data: Data,
    rates: Schedule,
    *,
    method: Method,
    context: MethodContext,
    task: Task,
    runtime: Runtime,
    device: torch.device,
    batch_size: int,
    clip_norm: float | None,
    seed: int,
    state: LoopState,
    progress: Callable[[int, int, Tensor, float], None],
    after_step: Callable[[], None],
) -> Iterator[EpochMetrics]:
    """Train to step ``rates.num_steps``, giving metrics after each epoch; the last may be cut short.

    method, context: whose hooks act.
    clip_norm: of all gradients together (``bimp_exp.optim.clip``), those of pruned weights being 0; None: they stay as they are.
    seed: of this phase; data order, augmentation and dropout follow from it.
    state: where to begin, and all the while where training is.
    progress: called with (steps done, items in the step, loss, rate) after every step.
    after_step: called between two steps of an epoch; it may save ``state``, at the cost of no training time.

    TrainingError when the loss is not finite, with the first such step and its rate.
    """
    weights: list[Tensor] = [net.weights[name] for name in net.masks]
    # Laid out like the weights, or each takes a kernel of its own.
    masks = [torch.empty_like(net.weights[name]).copy_(mask) for name, mask in net.masks.items()]
    forward = runtime.forward(net.model, device)
    timer = StepTimer(device, runtime.num_warm_ups(device))
    steps_per_epoch = data.num_batches(batch_size)
    while state.num_done < rates.num_steps:
        number, first = divmod(state.num_done, steps_per_epoch)
        before = number * steps_per_epoch
        batches = data.epoch(seed=seed, epoch=number, batch_size=batch_size)
        num_steps = min(len(batches), rates.num_steps - before)
        if first:
            state.losses, state.statistics = state.losses.to(device), state.statistics.to(device)
            state.clipping = state.clipping.to(device)
            set_rng_state(state.rng_state)
        else:
            state.losses = torch.zeros(num_steps, device=device)
            state.statistics = task.training_metric.new_statistics(device)
            state.clipping = torch.zeros(2, dtype=torch.float64, device=device)
            state.num_items, state.timing = 0, Timing()
            torch.manual_seed(derive(seed, "noise", number))  # for dropout, which draws from the global generator
        net.model.train()
        timer.begin_epoch(state.timing)
        for i in range(first, num_steps):
            step = state.num_done
            rate = rates(step)
            timer.begin_step()
            for group in net.optimizer.param_groups:
                group["lr"] = rate
            batch = batches[i]
            timer.begin_pass(batch.size)
            net.optimizer.zero_grad(set_to_none=True)
            with runtime.autocast(device):
                outputs = forward(batch.inputs)
            loss, _ = task.loss(outputs, batch)
            torch.autograd.backward(loss + method.penalty(context))
            method.on_gradients(context, step, net.optimizer)
            if clip_norm is not None:
                _mask_gradients(weights, masks)
                clip(net.optimizer, clip_norm, state.clipping)
            net.optimizer.step()
            if masks:
                with torch.no_grad():
                    torch._foreach_mul_(weights, masks)
            method.on_step(context, step, net.optimizer)
            state.losses[i] = loss.detach()
            task.training_metric.add(state.statistics, outputs, batch)
            state.num_items += batch.size
            timer.end_step(batch.size)
            state.num_done += 1
            progress(state.num_done, batch.size, state.losses[i], rate)
            if state.num_done < before + num_steps:
                with timer.paused():
                    after_step()
        timer.end_epoch()
        yield EpochMetrics(
            number=number + 1,
            num_steps=num_steps,
            num_items=state.num_items,
            losses=_finite(state.losses.tolist(), before, number, rates),
            metric=task.training_metric.value(state.statistics),
            timing=state.timing,
            clipping=None if clip_norm is None else _clipping(state.clipping),
        )


def _mask_gradients(weights: list[Tensor], masks: list[Tensor]) -> None:
    """In place, so that weights which are held at 0 have no part in a norm."""
    given = [(weight.grad, mask) for weight, mask in zip(weights, masks, strict=True) if weight.grad is not None]
    if given:
        torch._foreach_mul_([gradient for gradient, _ in given], [mask for _, mask in given])


def _clipping(statistics: Tensor) -> Clipping:
    num_steps, largest = statistics.tolist()
    return Clipping(num_steps=int(num_steps), largest_norm=largest)


def _finite(losses: list[float], before: int, number: int, rates: Schedule) -> list[float]:
    """``losses`` of the steps after ``before``; TrainingError for the first that is not a finite number."""
    for i, loss in enumerate(losses):
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} in step {before + i + 1} of {rates.num_steps} (epoch {number + 1}), at learning rate "
                f"{rates(before + i):.6g}: lower lr.initial or the schedule's rate"
            )
    return losses
