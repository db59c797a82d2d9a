"""The state that training changes: the network, and the place in a phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bimp_exp.selector.base import Masks


@dataclass(kw_only=True)
class Network:
    """The network of a run, the only thing of it that is changed in place.

    weights: its prunable weights by name. masks: bool tensors of their shapes, True = kept; {} before the first pruning.
    """

    model: nn.Module
    weights: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    masks: Masks = field(default_factory=dict)


@dataclass(kw_only=True)
class Timing:
    """Seconds of an epoch so far, without warming up, and images and seconds of each of its steps that did not warm up."""

    seconds: float = 0.0
    seconds_warming_up: float = 0.0
    step_sizes: list[int] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)


@dataclass(kw_only=True)
class LoopState:
    """Resumable state of the training loop.

    num_done: steps of the phase that are over.
    losses: fp32, one entry per step of the present epoch.
    statistics: of the task, summed over the present epoch.
    clipping: of the gradients, for the present epoch (``bimp_exp.optim.clip``).
    num_items: of the present epoch.
    rng_state: of the generators that dropout draws from; filled in when the state is saved.
    """

    num_done: int = 0
    losses: Tensor = field(default_factory=lambda: torch.zeros(0))
    statistics: Tensor = field(default_factory=lambda: torch.zeros(0))
    clipping: Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float64))
    num_items: int = 0
    timing: Timing = field(default_factory=Timing)
    rng_state: list[Tensor] = field(default_factory=list)

    def dump(self) -> dict[str, object]:
        """As dicts, lists and tensors, with the state of the generators as it is now."""
        return vars(self) | {"timing": dict(vars(self.timing)), "rng_state": get_rng_state()}

    @classmethod
    def load(cls, dumped: dict[str, object]) -> LoopState:
        """The inverse of ``dump``."""
        return cls(**(dumped | {"timing": Timing(**dumped["timing"])}))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Clipping:
    """In how many steps gradients were clipped, and the largest norm that they had before."""

    num_steps: int = 0
    largest_norm: float = 0.0

    def __add__(self, other: Clipping) -> Clipping:
        """Of both together."""
        return Clipping(
            num_steps=self.num_steps + other.num_steps, largest_norm=max(self.largest_norm, other.largest_norm)
        )


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """Loss, metric and timing of one epoch, or of its remainder where the phase ends inside it.

    number: 1 for the first of the phase. losses: one a step. metric: of the training items as they were learned from.
    clipping: None where gradients are not clipped.
    timing: ``seconds`` covers batches, augmentation, forward, backward, optimiser and masks; ``step_seconds`` are read without
    waiting for the device, as the published code does.
    """

    number: int
    num_steps: int
    num_items: int
    losses: list[float]
    metric: float
    timing: Timing
    clipping: Clipping | None = None

    @property
    def timed(self) -> tuple[int, float]:
        """Items and the seconds that they took, without warming up; with it where there was nothing else."""
        if self.timing.step_sizes:
            return sum(self.timing.step_sizes), self.timing.seconds
        return self.num_items, self.timing.seconds_warming_up


@dataclass(frozen=True, kw_only=True)
class Score:
    """Mean loss and metric of a network over the items of a split; details: further numbers of the metric, by name."""

    loss: float
    metric: float
    details: dict[str, float | None] = field(default_factory=dict)


def get_rng_state() -> list[Tensor]:
    """The state of the global generators: the CPU's, and that of the CUDA device where there is one."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])]


def set_rng_state(states: Sequence[Tensor]) -> None:
    """Bring back what ``get_rng_state`` gave."""
    cpu, *cuda = states
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state(cuda[0])
