"""Learning rates as pure functions of the step: the original schedules of dense training, and what retraining builds from them.

With L steps in all, W of them warm-up, and peak rate eta, step i = 0..L-1 runs at (spec: Table 3 and Section 2.1 of the paper)

    i < W      eta * i / W                                   (so the first step of a warm-up runs at rate 0)
    constant   eta
    stepped    eta * gamma^(number of milestones <= i)       (milestones count from the start of training)
    linear     eta * (1 - (i - W) / (L - W))
    cosine     eta * (1 + cos(pi * (i - W) / (L - W))) / 2
    cyclic     eta * (1 - (i mod C) / C)                     (cycles of C steps, counted from the start of training)

Differs from torch.optim.lr_scheduler on purpose: nothing is stateful, so a rate never depends on the steps before it or on
the version of PyTorch. Imports no PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bimp_exp.errors import ConfigError
from bimp_exp.types import Count, NonNegative, Positive, Share


@dataclass(frozen=True)
class Schedule:
    """``rate(i)`` for the steps i = 0..num_steps-1, the first ``num_warmup_steps`` of which are warm-up.

    ``peak`` is the largest rate, the paper's eta_1, also where training starts with a warm-up. ``floor`` is the smallest
    rate after the warm-up, the paper's eta_T. ``turns`` are the steps at which the rate may jump after the warm-up.
    """

    num_steps: int
    rate: Callable[[int], float]
    peak: float
    floor: float
    num_warmup_steps: int = 0
    turns: tuple[int, ...] = ()

    def __call__(self, step: int) -> float:
        """The learning rate used in ``step`` (0-based); IndexError outside the schedule."""
        if not 0 <= step < self.num_steps:
            raise IndexError(f"step {step} of a schedule of {self.num_steps} steps")
        return self.rate(step)


def piecewise(
    num_steps: int, rate: Callable[[int], float], num_warmup_steps: int = 0, turns: Sequence[int] = ()
) -> Schedule:
    """The schedule of a ``rate`` that rises or falls steadily between its warm-up, its ``turns`` and its end."""
    corners = [num_warmup_steps, *turns, num_steps]
    ends = [i for corner in corners for i in (corner - 1, corner) if 0 <= i < num_steps]
    after = [rate(i) for i in ends if i >= num_warmup_steps]
    peak = max((rate(i) for i in ends), default=0.0)
    return Schedule(num_steps, rate, peak, min(after, default=0.0), num_warmup_steps, tuple(turns))


def constant(rate: float, num_steps: int) -> Schedule:
    """``rate`` in every step."""
    return piecewise(num_steps, lambda i: rate)


def linear(peak: float, num_steps: int) -> Schedule:
    """From ``peak`` towards 0, which the step after the last one would reach."""
    return piecewise(num_steps, lambda i: peak * (1 - i / num_steps))


def cosine(peak: float, num_steps: int, floor: float = 0.0) -> Schedule:
    """From ``peak`` towards ``floor`` along half a cosine."""
    return piecewise(num_steps, lambda i: floor + (peak - floor) * (1 + math.cos(math.pi * i / num_steps)) / 2)


def tail(original: Schedule, num_steps: int) -> Schedule:
    """The last ``num_steps`` rates of ``original`` (learning rate rewinding); needs num_steps <= original.num_steps."""
    first = original.num_steps - num_steps
    turns = [turn - first for turn in original.turns]
    return piecewise(num_steps, lambda i: original(first + i), max(original.num_warmup_steps - first, 0), turns)


def compress(
    original: Schedule,
    num_steps: int,
    *,
    keep_last_warmup_rate: bool = False,
    index_in_floating_point: bool = False,
) -> Schedule:
    """``original``, its warm-up replaced by its peak, sampled at floor(i * L / num_steps) (Le & Hua 2021).

    The switches are the published code's: the last warm-up rate slips through, and the index is int(i * (L / num_steps)).
    """
    length = original.num_steps
    num_replaced = original.num_warmup_steps - int(keep_last_warmup_rate)

    def rate(i: int) -> float:
        index = int(i * (length / num_steps)) if index_in_floating_point else i * length // num_steps
        return original.peak if index < num_replaced else original(index)

    # the first index at or after a turn, and in floating point perhaps the next one
    turns = [-(-turn * num_steps // length) + late for turn in original.turns for late in (0, 1)] if length else []
    return replace(piecewise(num_steps, rate, 0, turns), peak=original.peak)


def with_warmup(peak: float, share: float, num_steps: int, rest: Callable[[int], Schedule]) -> Schedule:
    """floor(share * num_steps) steps from 0 to ``peak`` along half a cosine, then ``rest(number of steps left)``.

    Fewer than 1 / share steps have no warm-up.
    """
    num_warmup_steps = math.floor(share * num_steps)
    after = rest(num_steps - num_warmup_steps)

    def rate(i: int) -> float:
        if i < num_warmup_steps:
            return peak * (1 - math.cos(math.pi * i / num_warmup_steps)) / 2
        return after(i - num_warmup_steps)

    return Schedule(num_steps, rate, peak, after.floor, num_warmup_steps)


@dataclass(frozen=True, kw_only=True)
class Original:
    """The learning rate of dense training: what each of ``conf/lr/`` has in common."""

    initial: Positive
    warmup_epochs: NonNegative

    def schedule(self, num_steps: int, steps_per_epoch: int) -> Schedule:
        """The rates of ``num_steps`` steps of dense training."""
        num_warmup_steps = round(self.warmup_epochs * steps_per_epoch)
        if num_warmup_steps and num_warmup_steps >= num_steps:
            raise ConfigError(
                f"lr.warmup_epochs={self.warmup_epochs:g} must be less than the epochs of dense training, "
                f"{num_steps / steps_per_epoch:g}"
            )
        after = self.after_warmup(num_steps, num_warmup_steps, steps_per_epoch)

        def rate(i: int) -> float:
            return self.initial * i / num_warmup_steps if i < num_warmup_steps else after(i)

        return piecewise(num_steps, rate, num_warmup_steps, self.turns(num_steps, steps_per_epoch))

    def after_warmup(self, num_steps: int, num_warmup_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        """The rate of every step from ``num_warmup_steps`` on."""
        raise NotImplementedError

    def turns(self, num_steps: int, steps_per_epoch: int) -> list[int]:
        """The steps at which the rate jumps."""
        return []


@dataclass(frozen=True, kw_only=True)
class Constant(Original):
    """One rate throughout."""

    def after_warmup(self, num_steps: int, num_warmup_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        """See Original."""
        return constant(self.initial, num_steps)


@dataclass(frozen=True, kw_only=True)
class Stepped(Original):
    """``milestones`` are shares of dense training at whose ends the rate is multiplied by ``gamma``."""

    milestones: list[Share]
    gamma: Positive

    def after_warmup(self, num_steps: int, num_warmup_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        """See Original."""
        turns = self.turns(num_steps, steps_per_epoch)
        return lambda i: self.initial * math.pow(self.gamma, sum(turn <= i for turn in turns))

    def turns(self, num_steps: int, steps_per_epoch: int) -> list[int]:
        """See Original."""
        return [round(share * num_steps) for share in self.milestones]


@dataclass(frozen=True, kw_only=True)
class Linear(Original):
    """A straight line to 0."""

    def after_warmup(self, num_steps: int, num_warmup_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        """See Original."""
        line = linear(self.initial, num_steps - num_warmup_steps)
        return lambda i: line(i - num_warmup_steps)


@dataclass(frozen=True, kw_only=True)
class Cosine(Original):
    """Half a cosine to 0."""

    def after_warmup(self, num_steps: int, num_warmup_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        """See Original."""
        curve = cosine(self.initial, num_steps - num_warmup_steps)
        return lambda i: curve(i - num_warmup_steps)


@dataclass(frozen=True, kw_only=True)
class Cyclic(Original):
    """A straight line to 0 again and again, every ``cycle_epochs``; for GMP (paper, Appendix C.3)."""

    cycle_epochs: Count

    def after_warmup(self, num_steps: int, num_warmup_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
        """See Original."""
        line = linear(self.initial, self.cycle_epochs * steps_per_epoch)
        return lambda i: line(i % line.num_steps)

    def turns(self, num_steps: int, steps_per_epoch: int) -> list[int]:
        """See Original."""
        cycle = self.cycle_epochs * steps_per_epoch
        return list(range(cycle, num_steps, cycle))
