"""compiled: on a GPU, training with ``runtime.compile`` over training as configured, and how long compiling takes."""

from __future__ import annotations

import torch

from benchmarks.ours import Ours, Settings, chosen
from benchmarks.rounds import Clock, Row, Skipped, interleave, make, note, rate, ratio

LEAST = 120.0  # seconds: compiling cannot be broken off


def measure(settings: Settings, clock: Clock) -> list[Row]:
    """The first of the models. (On a CPU it has gained nothing beside bf16, and cost half a minute.)"""
    if not torch.cuda.is_available():
        raise Skipped("there is no GPU")
    if clock.left() < LEAST:
        raise Skipped(f"compiling may take {LEAST:.0f} s, and {clock.left():.0f} s were left")
    model = settings.models[0]
    ready = make(
        {
            "as configured": lambda: Ours(settings, model).train,
            "compiled": lambda: Ours(settings, model, "runtime.compile=on").train,
            "compiled, in graphs": lambda: Ours(settings, model, "runtime.compile=graphs").train,
        },
        clock,
    )
    rounds = interleave(ready, clock, settings.rounds)
    _, *others = ready.contenders
    return [
        *(ratio(f"{model}: {name} / as configured", rounds, name, "as configured") for name in others),
        *(rate(f"{model}: {name}", "images/s", rounds, name) for name in ready.contenders),
        *ready.notes,
        note(f"as configured is {chosen(settings)}"),
    ]
