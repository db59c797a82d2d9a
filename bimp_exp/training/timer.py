"""The stopwatch of the training loop."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bimp_exp.runtime import synchronize
from bimp_exp.training.state import Timing


class StepTimer:
    """Writes into the ``Timing`` of the present epoch.

    The first ``num_warm_ups`` steps with each size of batch compile or record something: they are timed alone, between two
    points at which the device is waited for.
    """

    def __init__(self, device: torch.device, num_warm_ups: int) -> None:
        self._device, self._num_warm_ups = device, num_warm_ups
        self._num_seen = Counter[int]()
        self._warming_up = False

    def begin_epoch(self, timing: Timing) -> None:
        """Start, or go on where ``timing`` was saved."""
        synchronize(self._device)
        self._timing = timing
        self._start = time.perf_counter() - timing.seconds

    def begin_step(self) -> None:
        """Before the batch is made."""
        self._step = time.perf_counter()

    def begin_pass(self, size: int) -> None:
        """The batch of ``size`` items is there."""
        self._warming_up = self._num_seen[size] < self._num_warm_ups
        if self._warming_up:
            synchronize(self._device)
            self._step = time.perf_counter()

    def end_step(self, size: int) -> None:
        """After the step with a batch of ``size`` items."""
        self._num_seen[size] += 1
        timing = self._timing
        if self._warming_up:
            synchronize(self._device)
            seconds = time.perf_counter() - self._step
            timing.seconds_warming_up += seconds
            self._start += seconds
        else:
            timing.step_sizes.append(size)
            timing.step_seconds.append(time.perf_counter() - self._step)
        timing.seconds = time.perf_counter() - self._start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time spent inside."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def end_epoch(self) -> None:
        """Wait for the device and stop."""
        synchronize(self._device)
        self._timing.seconds = time.perf_counter() - self._start
