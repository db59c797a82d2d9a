"""evaluation: images per second of evaluating over those of training."""

from __future__ import annotations

from benchmarks.ours import Ours, Settings
from benchmarks.rounds import Clock, Row, interleave, make, rate, ratio

BAR = 2.0


def measure(settings: Settings, clock: Clock) -> list[Row]:
    """Of the first model, as configured."""
    model = settings.models[0]
    trained = Ours(settings, model)
    ready = make({"training": lambda: trained.train, "evaluating": lambda: trained.evaluate}, clock)
    rounds = interleave(ready, clock, settings.rounds)
    return [
        ratio(f"{model}: evaluating / training", rounds, "evaluating", "training", BAR),
        rate(f"{model}: evaluating", "images/s", rounds, "evaluating"),
    ]
