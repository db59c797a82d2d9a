"""data: making training batches alone, on the device they are trained on, against a loader of one image at a time."""

from __future__ import annotations

from benchmarks.ours import Ours, Settings
from benchmarks.plain import PLAIN, Plain
from benchmarks.rounds import Clock, Row, interleave, make, rate, ratio


def measure(settings: Settings, clock: Clock) -> list[Row]:
    """Crop, flip and normalisation included; ours over a whole epoch of the data set."""
    model = settings.models[-1]  # its network is not used
    ready = make({PLAIN: lambda: Plain(settings, model).batches, "ours": lambda: Ours(settings, model).batches}, clock)
    rounds = interleave(ready, clock, settings.rounds)
    return [
        ratio("batches: ours / plain loader", rounds, "ours", PLAIN),
        *(rate(f"batches: {name}", "images/s", rounds, name) for name in ready.contenders),
    ]
