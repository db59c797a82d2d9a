"""One training loop and one evaluation loop; no method, schedule or selector is named here.

Pruned weights are held at 0 by projection: after every optimiser step the weights are multiplied by their masks. The
surviving weights get exactly the updates of a masked forward pass, and the network stays an ordinary one at every moment.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bimp_exp.dataset.data import Batch, Data
from bimp_exp.errors import TrainingError
from bimp_exp.lr import Schedule
from bimp_exp.method.base import Method
from bimp_exp.runtime import Runtime, synchronize
from bimp_exp.seeds import derive


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch of training, or the rest of one, came to.

    ``losses`` has one data loss a step, ``seconds`` covers batches, augmentation, forward, backward, optimiser and masks.
    ``step_seconds`` are read without waiting for the device, as the published code does, for the ``step_sizes`` images.
    """

    number: int
    num_steps: int
    num_images: int
    losses: list[float]
    accuracy: float
    seconds: float
    step_sizes: list[int]
    step_seconds: list[float]


def fit(
    model: nn.Module,
    data: Data,
    *,
    lr: Schedule,
    optimizer: torch.optim.Optimizer,
    method: Method,
    masked: Sequence[tuple[nn.Parameter, Tensor]],
    runtime: Runtime,
    device: torch.device,
    batch_size: int,
    seed: int,
    progress: Callable[[int, int, Tensor, float], None],
) -> Iterator[Epoch]:
    """Train for ``lr.num_steps`` steps, giving an Epoch after each; the last may be cut short.

    masked: prunable weights and their masks (bool). seed: of this phase; data order, augmentation and dropout follow from it.
    progress: called with (steps done, images in the step, loss, rate) after every step. TrainingError when the loss is
    not finite, with the first such step and its rate.
    """
    weights: list[Tensor] = [weight for weight, _ in masked]
    keep = tuple(mask.to(weight) for weight, mask in masked)
    steps_per_epoch = -(-len(data.train) // batch_size)
    done = 0
    while done < lr.num_steps:
        number = done // steps_per_epoch
        order = data.epoch(seed=seed, epoch=number, batch_size=batch_size)
        num_steps = min(len(order), lr.num_steps - done)
        losses = torch.zeros(num_steps, device=device)
        num_correct = torch.zeros((), dtype=torch.int64, device=device)
        step_sizes: list[int] = []
        step_seconds: list[float] = []
        torch.manual_seed(derive(seed, "noise", number))  # for dropout, which draws from the global generator
        model.train()
        synchronize(device)
        start = time.perf_counter()
        for i in range(num_steps):
            rate, step_start = lr(done + i), time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = rate
            images, labels = order[i]
            with runtime.autocast(device):
                outputs = model(images)
            loss = F.cross_entropy(outputs.float(), labels)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss + method.penalty())
            method.on_gradients(done + i, optimizer)
            optimizer.step()
            if keep:
                with torch.no_grad():
                    torch._foreach_mul_(weights, keep)
            method.on_step(done + i, optimizer)
            losses[i] = loss.detach()
            num_correct += (outputs.detach().argmax(1) == labels).sum()
            step_sizes.append(len(labels))
            step_seconds.append(time.perf_counter() - step_start)
            progress(done + i + 1, len(labels), losses[i], rate)
        synchronize(device)
        seconds = time.perf_counter() - start
        values = losses.tolist()
        for i, value in enumerate(values):
            if not math.isfinite(value):
                raise TrainingError(
                    f"the loss is {value} in step {done + i + 1} of {lr.num_steps} (epoch {number + 1}), at learning rate "
                    f"{lr(done + i):.6g}: lower lr.initial or the schedule's rate"
                )
        done += num_steps
        yield Epoch(
            number=number + 1,
            num_steps=num_steps,
            num_images=sum(step_sizes),
            losses=values,
            accuracy=num_correct.item() / sum(step_sizes),
            seconds=seconds,
            step_sizes=step_sizes,
            step_seconds=step_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Score:
    """Mean loss and accuracy over the images of a split."""

    loss: float
    accuracy: float


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    runtime: Runtime,
    device: torch.device,
    train_mode: bool = False,
) -> Score:
    """Loss and accuracy of ``model`` on ``batches``; the model is left as it was, flags and buffers included.

    train_mode: measure in train mode, as the published code does with training images; as a side effect this
    re-estimates the batch-norm statistics.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.train(train_mode)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    num_correct = torch.zeros((), dtype=torch.int64, device=device)
    num_images = 0
    with torch.no_grad():
        for images, labels in batches:
            with runtime.autocast(device):
                outputs = model(images)
            loss += F.cross_entropy(outputs.float(), labels, reduction="sum")
            num_correct += (outputs.argmax(1) == labels).sum()
            num_images += len(labels)
    for module, mode in modes:
        module.training = mode
    return Score(loss=loss.item() / num_images, accuracy=num_correct.item() / num_images)
