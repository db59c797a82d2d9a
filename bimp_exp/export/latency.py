"""Measured time of a forward pass: networks take turns, so that other work on the machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MAX_ROUNDS = 50
MIN_ROUNDS = 5
SECONDS = 20.0  # after which no round starts if there have been MIN_ROUNDS


class Quartiles(NamedTuple):
    """Lower quartile, median and upper quartile."""

    low: float
    median: float
    high: float


def interleaved(networks: Mapping[str, Callable[[Tensor], Tensor]], images: Tensor) -> dict[str, list[float]]:
    """Seconds of one forward pass of each network, one number a round; the first round is discarded.

    images: [N, C, H, W], the batch of every pass.
    """
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
    """The quartiles of at least two numbers, with linear interpolation."""
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


def speedup(reference: Sequence[float], seconds: Sequence[float]) -> Quartiles:
    """Quartiles of how many times as fast as ``reference`` a network is, round by round."""
    return quartiles([slow / fast for slow, fast in zip(reference, seconds, strict=True)])
