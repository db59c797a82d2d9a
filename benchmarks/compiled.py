"""compiled: training with ``runtime.compile`` over the same without, over the plain loop, and how long compiling takes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial

import torch

from benchmarks.ours import Settings, chosen
from benchmarks.plain import PLAIN, Aside
from benchmarks.rounds import Clock, Contender, Row, Skipped, interleave, make, note, rate, ratio
from benchmarks.training import BARS, DEFAULT, FP32, trainer

LEAST = 120.0  # seconds: compiling cannot be broken off


def measure(settings: Settings, clock: Clock) -> list[Row]:
    """The first of the models."""
    if clock.left() < LEAST:
        raise Skipped(f"compiling may take {LEAST:.0f} s, and {clock.left():.0f} s were left")
    model, gpu = settings.models[0], torch.cuda.is_available()
    eager = {DEFAULT: []} if gpu else {DEFAULT: [], FP32: ["runtime.precision=fp32"]}
    hows = {", compiled": "on"} | ({", compiled, in graphs": "graphs"} if gpu else {})
    variants = {
        name + how: (name, [*overrides, f"runtime.compile={value}"])
        for name, overrides in eager.items()
        for how, value in hows.items()
    }
    with closing(Aside(settings, model)) as plain:
        makers: dict[str, Callable[[], Contender]] = {PLAIN: lambda: plain.train}
        makers |= {name: partial(trainer, settings, model, overrides) for name, overrides in eager.items()}
        makers |= {name: partial(trainer, settings, model, overrides) for name, (_, overrides) in variants.items()}
        ready = make(makers, clock)
        rounds = interleave(ready, clock, settings.rounds, pids=[plain.process.pid or 0])
    bars = BARS if model == "resnet56" and not gpu else {}
    made = {name: base for name, (base, _) in variants.items() if name in ready.contenders}
    return [
        *(ratio(f"{model}: {name} / not compiled", rounds, name, base) for name, base in made.items()),
        *(ratio(f"{model}: {name} / {PLAIN}", rounds, name, PLAIN, bars.get(base)) for name, base in made.items()),
        *(rate(f"{model}: {name}", "images/s", rounds, name) for name in made),
        *ready.notes,
        note(f"{DEFAULT} is {chosen(settings)}"),
    ]
