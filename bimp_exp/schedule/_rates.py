"""The ways to make retraining rates of the original ones: rewinding, compressing and a warm-up in front."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from bimp_exp.lr import Schedule, piecewise


def tail(original: Schedule, num_steps: int) -> Schedule:
    """The last ``num_steps`` rates of ``original`` (learning rate rewinding); needs num_steps <= original.num_steps.

    >>> from bimp_exp.lr import linear
    >>> tail(linear(1.0, 4), 2).rates()
    [0.5, 0.25]
    """
    first = original.num_steps - num_steps
    boundaries = [boundary - first for boundary in original.boundaries]
    return piecewise(num_steps, lambda i: original(first + i), max(original.num_warmup_steps - first, 0), boundaries)


def compress(
    original: Schedule,
    num_steps: int,
    *,
    keep_last_warmup_rate: bool = False,
    index_in_floating_point: bool = False,
) -> Schedule:
    """``original``, its warm-up replaced by its peak, sampled at floor(i * L / num_steps) (Le & Hua 2021).

    keep_last_warmup_rate: the last rate of the warm-up is not replaced (published code).
    index_in_floating_point: the index is int(i * (L / num_steps)), for some sizes one too low (published code).

    >>> from bimp_exp.lr import linear
    >>> compress(linear(1.0, 8), 3).rates()  # steps 0, 2 and 5 of 8
    [1.0, 0.75, 0.375]
    """
    length = original.num_steps
    num_replaced = original.num_warmup_steps - int(keep_last_warmup_rate)

    def rate(i: int) -> float:
        index = int(i * (length / num_steps)) if index_in_floating_point else i * length // num_steps
        return original.peak if index < num_replaced else original(index)

    # the first index at or after a boundary, and in floating point perhaps the next one
    boundaries = [-(-b * num_steps // length) + late for b in original.boundaries for late in (0, 1)] if length else []
    return replace(piecewise(num_steps, rate, 0, boundaries), peak=original.peak)


def with_warmup(peak: float, share: float, num_steps: int, rest: Callable[[int], Schedule]) -> Schedule:
    """floor(share * num_steps) steps from 0 to ``peak`` along half a cosine, then ``rest(number of steps left)``.

    Fewer than 1 / share steps have no warm-up.

    >>> from bimp_exp.lr import linear
    >>> [round(rate, 3) for rate in with_warmup(1.0, 0.5, 4, lambda n: linear(1.0, n)).rates()]
    [0.0, 0.5, 1.0, 0.5]
    """
    num_warmup_steps = math.floor(share * num_steps)
    after = rest(num_steps - num_warmup_steps)

    def rate(i: int) -> float:
        if i < num_warmup_steps:
            return peak * (1 - math.cos(math.pi * i / num_warmup_steps)) / 2
        return after(i - num_warmup_steps)

    return Schedule(num_steps, rate, peak, after.floor, num_warmup_steps)
