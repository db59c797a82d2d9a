"""Learning rates as pure functions of the step, and the original schedules: those of dense training.

With L steps in all, W of them warm-up, and peak rate eta, step i = 0..L-1 runs at (paper, Section 2.1 and Table 3;
docs/method.md, Original schedules)

    i < W      eta * i / W                                   (so the first step of a warm-up runs at rate 0)
    constant   eta
    stepped    eta * gamma^(number of milestones <= i)       (milestones count from the start of training)
    linear     eta * (1 - (i - W) / (L - W))
    cosine     eta * (1 + cos(pi * (i - W) / (L - W))) / 2
    cyclic     eta * (1 - (i mod C) / C)                     (cycles of C steps, counted from the start of training)

Differs from torch.optim.lr_scheduler on purpose: nothing is stateful, so a rate never depends on the steps before it or on
the version of PyTorch. Imports no PyTorch, except in ``Schedule.lr_scheduler``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bimp_exp.errors import ConfigError
from bimp_exp.types import Count, NonNegative, Positive, Share

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Schedule:
    """``rate(i)`` for the steps i = 0..num_steps-1.

    peak: the largest rate, the paper's eta_1, also where training starts with a warm-up.
    floor: the smallest rate after the warm-up, the paper's eta_T.
    num_warmup_steps: the first so many steps are warm-up.
    boundaries: the steps after the warm-up at which the rate may jump.

    >>> schedule = linear(0.1, 5)
    >>> round(schedule(1), 3), schedule.peak, round(schedule.floor, 3)
    (0.08, 0.1, 0.02)
    """

    num_steps: int
    rate: Callable[[int], float]
    peak: float
    floor: float
    num_warmup_steps: int = 0
    boundaries: tuple[int, ...] = ()

    def __call__(self, step: int) -> float:
        """The learning rate used in ``step`` (0-based); IndexError outside the schedule."""
        if not 0 <= step < self.num_steps:
            raise IndexError(f"step {step} of a schedule of {self.num_steps} steps")
        return self.rate(step)

    def rates(self) -> list[float]:
        """The learning rate of every step.

        >>> constant(0.1, 3).rates()
        [0.1, 0.1, 0.1]
        """
        return [self(step) for step in range(self.num_steps)]

    def lr_scheduler(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
        """These rates for a loop of one's own that calls ``step()`` after every ``optimizer.step()``.

        All parameter groups get the same rate, whatever theirs was. The call of ``step()`` after the last step asks for a rate that
        no step uses: it repeats the last one. One more is an IndexError.
        """
        from torch.optim.lr_scheduler import LambdaLR

        for group in (
            optimizer.param_groups
        ):  # a LambdaLR multiplies initial_lr, which an earlier scheduler may have left behind
            group["lr"] = group["initial_lr"] = 1.0
        return LambdaLR(optimizer, lambda step: self(step - 1 if step == self.num_steps else step))


def piecewise(
    num_steps: int, rate: Callable[[int], float], num_warmup_steps: int = 0, boundaries: Sequence[int] = ()
) -> Schedule:
    """The schedule of a ``rate`` that rises or falls steadily between its warm-up, its ``boundaries`` and its end.

    >>> piecewise(4, lambda i: 0.1 if i < 2 else 0.01, boundaries=[2]).rates()
    [0.1, 0.1, 0.01, 0.01]
    """
    corners = [num_warmup_steps, *boundaries, num_steps]
    ends = [i for corner in corners for i in (corner - 1, corner) if 0 <= i < num_steps]
    after = [rate(i) for i in ends if i >= num_warmup_steps]
    peak = max((rate(i) for i in ends), default=0.0)
    return Schedule(num_steps, rate, peak, min(after, default=0.0), num_warmup_steps, tuple(boundaries))


def constant(rate: float, num_steps: int) -> Schedule:
    """``rate`` in every step.

    >>> constant(0.05, 2).rates()
    [0.05, 0.05]
    """
    return piecewise(num_steps, lambda i: rate)


def linear(peak: float, num_steps: int) -> Schedule:
    """From ``peak`` towards 0, which the step after the last one would reach.

    >>> linear(1.0, 4).rates()
    [1.0, 0.75, 0.5, 0.25]
    """
    return piecewise(num_steps, lambda i: peak * (1 - i / num_steps))


def cosine(peak: float, num_steps: int, floor: float = 0.0) -> Schedule:
    """From ``peak`` towards ``floor`` along half a cosine.

    >>> [round(rate, 3) for rate in cosine(1.0, 4, floor=0.2).rates()]
    [1.0, 0.883, 0.6, 0.317]
    """
    return piecewise(num_steps, lambda i: floor + (peak - floor) * (1 + math.cos(math.pi * i / num_steps)) / 2)


@dataclass(frozen=True, kw_only=True)
class Original:
    """The learning rate of dense training: base of the options of ``conf/lr/``.

    initial: the rate eta that the warm-up reaches.
    warmup_epochs: length of the linear warm-up from 0.
    """

    initial: Positive
    warmup_epochs: NonNegative

    def schedule(self, num_steps: int, steps_per_epoch: int) -> Schedule:
        """The rates of ``num_steps`` steps of dense training; ConfigError where the warm-up leaves none."""
        num_warmup_steps = round(self.warmup_epochs * steps_per_epoch)
        if num_warmup_steps and num_warmup_steps >= num_steps:
            raise ConfigError(
                f"lr.warmup_epochs={self.warmup_epochs:g} must be less than the epochs of dense training, "
                f"{num_steps / steps_per_epoch:g}"
            )
        after = self.after_warmup(num_steps, num_warmup_steps, steps_per_epoch)

        def rate(i: int) -> float:
            return self.initial * i / num_warmup_steps if i < num_warmup_steps else after(i)

        return piecewise(num_steps, rate, num_warmup_steps, self.boundaries(num_steps, steps_per_epoch))

    def after_warmup(self, num_steps: int, num_warmup_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        """The rate of every step from ``num_warmup_steps`` on; steps count from the start of training."""
        raise NotImplementedError

    def boundaries(self, num_steps: int, steps_per_epoch: int) -> list[int]:
        """The steps at which the rate jumps."""
        return []


@dataclass(frozen=True, kw_only=True)
class Constant(Original):
    """One rate throughout.

    >>> Constant(initial=0.1, warmup_epochs=1).schedule(4, steps_per_epoch=2).rates()
    [0.0, 0.05, 0.1, 0.1]
    """

    def after_warmup(self, num_steps: int, num_warmup_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        return constant(self.initial, num_steps)


@dataclass(frozen=True, kw_only=True)
class Stepped(Original):
    """The rate is multiplied by ``gamma`` at each of ``milestones``, shares of dense training.

    >>> made = Stepped(initial=0.1, warmup_epochs=0, milestones=[0.5, 0.75], gamma=0.1).schedule(4, steps_per_epoch=1)
    >>> [round(rate, 6) for rate in made.rates()], made.boundaries
    ([0.1, 0.1, 0.01, 0.001], (2, 3))
    """

    milestones: list[Share]
    gamma: Positive

    def after_warmup(self, num_steps: int, num_warmup_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        boundaries = self.boundaries(num_steps, steps_per_epoch)
        return lambda i: self.initial * math.pow(self.gamma, sum(boundary <= i for boundary in boundaries))

    def boundaries(self, num_steps: int, steps_per_epoch: int) -> list[int]:
        return [round(share * num_steps) for share in self.milestones]


@dataclass(frozen=True, kw_only=True)
class Linear(Original):
    """A straight line to 0.

    >>> Linear(initial=1.0, warmup_epochs=1).schedule(6, steps_per_epoch=2).rates()
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]
    """

    def after_warmup(self, num_steps: int, num_warmup_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        line = linear(self.initial, num_steps - num_warmup_steps)
        return lambda i: line(i - num_warmup_steps)


@dataclass(frozen=True, kw_only=True)
class Cosine(Original):
    """Half a cosine to 0.

    >>> [round(rate, 3) for rate in Cosine(initial=1.0, warmup_epochs=0).schedule(4, steps_per_epoch=2).rates()]
    [1.0, 0.854, 0.5, 0.146]
    """

    def after_warmup(self, num_steps: int, num_warmup_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        curve = cosine(self.initial, num_steps - num_warmup_steps)
        return lambda i: curve(i - num_warmup_steps)


@dataclass(frozen=True, kw_only=True)
class Cyclic(Original):
    """A straight line to 0 again and again, every ``cycle_epochs``; for GMP (paper, Appendix C.3).

    >>> Cyclic(initial=1.0, warmup_epochs=0, cycle_epochs=2).schedule(6, steps_per_epoch=2).rates()
    [1.0, 0.75, 0.5, 0.25, 1.0, 0.75]
    """

    cycle_epochs: Count

    def after_warmup(self, num_steps: int, num_warmup_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        line = linear(self.initial, self.cycle_epochs * steps_per_epoch)
        return lambda i: line(i % line.num_steps)

    def boundaries(self, num_steps: int, steps_per_epoch: int) -> list[int]:
        cycle = self.cycle_epochs * steps_per_epoch
        return list(range(cycle, num_steps, cycle))
