"""training: our training loop, data and logging included, against the plain eager loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial

import torch

from benchmarks.ours import Ours, Settings, chosen
from benchmarks.plain import PLAIN, Aside
from benchmarks.rounds import Clock, Contender, Row, attempt, interleave, make, note, rate, ratio, row

DEFAULT = "ours as configured"
FP32 = "ours in fp32"
VARIANTS = {
    DEFAULT: [],
    FP32: ["runtime.precision=fp32"],
    "ours in bf16": ["runtime.precision=bf16"],
    "ours, runtime=plain": ["runtime=plain"],
}
BARS = {DEFAULT: 2.0, FP32: 1.3}  # times the plain loop, ResNet-56 on a CPU
GPU_BAR = 60_000.0  # images/s of ResNet-56


def measure(settings: Settings, clock: Clock) -> list[Row]:
    """For each model, every variant of the runtime over the plain loop, and the images per second of all."""
    rows: list[Row] = []
    for i, model in enumerate(settings.models):
        rows += attempt(partial(_model, settings, clock.part(len(settings.models) - i), model))
    return rows


def _model(settings: Settings, clock: Clock, model: str) -> list[Row]:
    gpu, issue = torch.cuda.is_available(), model == "resnet56"
    variants = _distinct(settings, VARIANTS)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    with closing(Aside(settings, model)) as plain:
        makers: dict[str, Callable[[], Contender]] = {PLAIN: lambda: plain.train}
        makers |= {name: partial(trainer, settings, model, overrides) for name, overrides in variants.items()}
        ready = make(makers, clock)
        rounds = interleave(ready, clock, settings.rounds, pids=[plain.process.pid or 0])
    rows = [
        ratio(f"{model}: {name} / {PLAIN}", rounds, name, PLAIN, BARS.get(name) if issue and not gpu else None)
        for name in ready.contenders
        if name != PLAIN
    ]
    rows += [
        rate(f"{model}: {name}", "images/s", rounds, name, GPU_BAR if issue and gpu and name == DEFAULT else None)
        for name in ready.contenders
    ]
    if gpu:
        peak = torch.cuda.max_memory_allocated() / 2**20
        rows.append(row(f"{model}: peak memory on the device, all of ours together", "MiB", [peak]))
    return [*rows, *ready.notes, note(f"{DEFAULT} is {chosen(settings)}")]


def _distinct(settings: Settings, variants: dict[str, list[str]]) -> dict[str, list[str]]:
    """Without those that come to the same as one before them and have no bar."""
    first = {chosen(settings, *overrides): name for name, overrides in reversed(variants.items())}
    return {name: overrides for name, overrides in variants.items() if name in first.values() or name in BARS}


def trainer(settings: Settings, model: str, overrides: list[str]) -> Contender:
    """Our loop on ``model`` with ``overrides``."""
    return Ours(settings, model, *overrides).train
