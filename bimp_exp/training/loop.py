"""One training loop and one evaluation loop; no method, schedule or selector is named here.

Pruned weights are held at 0 by projection: after every optimiser step the weights are multiplied by their masks. The
surviving weights get exactly the updates of a masked forward pass, and the network stays an ordinary one at every moment.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bimp_exp.dataset.data import Batch, Data
from bimp_exp.errors import TrainingError
from bimp_exp.lr import Schedule
from bimp_exp.method.base import Method, MethodContext
from bimp_exp.runtime import Runtime, synchronize
from bimp_exp.seeds import derive


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch of training, or the rest of one, came to.

    ``losses`` has one data loss a step, ``seconds`` covers batches, augmentation, forward, backward, optimiser and masks, but
    for the steps in which something was compiled, which took ``seconds_warming_up``. ``step_seconds`` are those of the others,
    read without waiting for the device, as the published code does, for the ``step_sizes`` images.
    """

    number: int
    num_steps: int
    num_images: int
    losses: list[float]
    accuracy: float
    seconds: float
    seconds_warming_up: float
    step_sizes: list[int]
    step_seconds: list[float]

    @property
    def timed(self) -> tuple[int, float]:
        """Images and the seconds that they took, without warming up; with it where there was nothing else."""
        if self.step_sizes:
            return sum(self.step_sizes), self.seconds
        return self.num_images, self.seconds_warming_up


@dataclass(kw_only=True)
class Position:
    """Where ``fit`` is: ``done`` steps of its phase are over, and what the present epoch has come to so far.

    ``noise`` is the state of the generators that dropout draws from, filled in when a position is saved.
    """

    done: int = 0
    losses: Tensor = field(default_factory=lambda: torch.zeros(0))  # float32, one entry per step of the epoch
    num_correct: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    num_images: int = 0
    step_sizes: list[int] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    seconds_warming_up: float = 0.0
    noise: list[Tensor] = field(default_factory=list)


def fit(
    model: nn.Module,
    data: Data,
    *,
    lr: Schedule,
    optimizer: torch.optim.Optimizer,
    method: Method,
    context: MethodContext,
    masked: Sequence[tuple[nn.Parameter, Tensor]],
    runtime: Runtime,
    device: torch.device,
    batch_size: int,
    seed: int,
    progress: Callable[[int, int, Tensor, float], None],
    at: Position,
    after_step: Callable[[], None],
) -> Iterator[Epoch]:
    """Train to step ``lr.num_steps``, giving an Epoch after each; the last may be cut short.

    masked: prunable weights and their masks (bool). seed: of this phase; data order, augmentation and dropout follow from it.
    progress: called with (steps done, images in the step, loss, rate) after every step. at: where to begin, and all the while
    where training is; ``after_step`` may save it, at the cost of no training time. TrainingError when the loss is not finite,
    with the first such step and its rate.
    """
    weights: list[Tensor] = [weight for weight, _ in masked]
    keep = tuple(
        torch.empty_like(weight).copy_(mask) for weight, mask in masked
    )  # laid out alike, or each takes a kernel
    forward = runtime.forward(model, device)
    num_seen = Counter[int]()  # steps so far, by the number of images
    steps_per_epoch = -(-len(data.train) // batch_size)
    while at.done < lr.num_steps:
        number, inside = divmod(at.done, steps_per_epoch)
        before = number * steps_per_epoch
        order = data.epoch(seed=seed, epoch=number, batch_size=batch_size)
        num_steps = min(len(order), lr.num_steps - before)
        if inside:
            at.losses, at.num_correct = at.losses.to(device), at.num_correct.to(device)
            set_noise(at.noise)
        else:
            at.losses = torch.zeros(num_steps, device=device)
            at.num_correct = torch.zeros((), dtype=torch.int64, device=device)
            at.num_images, at.step_sizes, at.step_seconds, at.seconds, at.seconds_warming_up = 0, [], [], 0.0, 0.0
            torch.manual_seed(derive(seed, "noise", number))  # for dropout, which draws from the global generator
        model.train()
        synchronize(device)
        start = time.perf_counter() - at.seconds
        for i in range(inside, num_steps):
            rate, step_start = lr(at.done), time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = rate
            images, labels = order[i]
            cold = num_seen[len(labels)] < runtime.num_warm_ups(device)
            if cold:
                synchronize(device)
                step_start = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            with runtime.autocast(device):
                outputs = forward(images)
            loss = F.cross_entropy(outputs.float(), labels)
            torch.autograd.backward(loss + method.penalty(context))
            method.on_gradients(context, at.done, optimizer)
            optimizer.step()
            if keep:
                with torch.no_grad():
                    torch._foreach_mul_(weights, keep)
            method.on_step(context, at.done, optimizer)
            at.losses[i] = loss.detach()
            at.num_correct += (outputs.detach().argmax(1) == labels).sum()
            at.num_images += len(labels)
            num_seen[len(labels)] += 1
            if cold:
                synchronize(device)
                at.seconds_warming_up += time.perf_counter() - step_start
                start += time.perf_counter() - step_start
            else:
                at.step_sizes.append(len(labels))
                at.step_seconds.append(time.perf_counter() - step_start)
            at.seconds = time.perf_counter() - start
            at.done += 1
            progress(at.done, len(labels), at.losses[i], rate)
            if at.done < before + num_steps:
                paused = time.perf_counter()
                after_step()
                start += time.perf_counter() - paused
        synchronize(device)
        seconds = time.perf_counter() - start
        values = at.losses.tolist()
        for i, value in enumerate(values):
            if not math.isfinite(value):
                raise TrainingError(
                    f"the loss is {value} in step {before + i + 1} of {lr.num_steps} (epoch {number + 1}), at learning rate "
                    f"{lr(before + i):.6g}: lower lr.initial or the schedule's rate"
                )
        yield Epoch(
            number=number + 1,
            num_steps=num_steps,
            num_images=at.num_images,
            losses=values,
            accuracy=at.num_correct.item() / at.num_images,
            seconds=seconds,
            seconds_warming_up=at.seconds_warming_up,
            step_sizes=at.step_sizes,
            step_seconds=at.step_seconds,
        )


def get_noise() -> list[Tensor]:
    """The state of the global generators: the CPU's, and that of the CUDA device where there is one."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])]


def set_noise(noise: Sequence[Tensor]) -> None:
    """Bring back what ``get_noise`` gave."""
    cpu, *cuda = noise
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state(cuda[0])


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
    forward = runtime.forward(model, device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    num_correct = torch.zeros((), dtype=torch.int64, device=device)
    num_images = 0
    with torch.no_grad():
        for images, labels in batches:
            with runtime.autocast(device):
                outputs = forward(images)
            loss += F.cross_entropy(outputs.float(), labels, reduction="sum")
            num_correct += (outputs.argmax(1) == labels).sum()
            num_images += len(labels)
    for module, mode in modes:
        module.training = mode
    return Score(loss=loss.item() / num_images, accuracy=num_correct.item() / num_images)
