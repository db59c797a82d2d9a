"""Measured time of a forward pass: networks take turns, so that whatever else the machine does meets them all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MAX_ROUNDS = 50
MIN_ROUNDS = 5
SECONDS = 20.0  # after which no round starts once there are MIN_ROUNDS


class Quartiles(NamedTuple):
    """The middle half of some numbers."""

    low: float
    median: float
    high: float


def interleaved(networks: Mapping[str, Callable[[Tensor], Tensor]], images: Tensor) -> dict[str, list[float]]:
    """Seconds of one forward pass of each network, one number a round; a first round is thrown away."""
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    begin = time.perf_counter()
    with torch.inference_mode():
        for done in range(MAX_ROUNDS + 1):
            if done > MIN_ROUNDS and time.perf_counter() - begin > SECONDS:
                break
            for name, network in networks.items():
                start = time.perf_counter()
                network(images)
                seconds[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in seconds.items()}


def quartiles(values: Sequence[float]) -> Quartiles:
    """Of at least two numbers, with linear interpolation."""
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


def speedup(reference: Sequence[float], seconds: Sequence[float]) -> Quartiles:
    """How many times as fast as the reference, paired by round."""
    return quartiles([slow / fast for slow, fast in zip(reference, seconds, strict=True)])
