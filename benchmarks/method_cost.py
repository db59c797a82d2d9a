"""method_cost: images per second of every method of conf/method over those of dense training.

Every method has its own network and takes turns with all others; a round of it is ``STEPS`` steps, or a multiple, which holds one
of DPF's new masks. A method that prunes between phases is measured while it retrains. What happens once in several epochs is not
in it: GMP's prunings, the C-steps of lc_lagrangian.
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.ours import ROOT, Ours, Settings
from benchmarks.rounds import Clock, Contender, Row, attempt, interleave, make, rate, ratio

METHODS = ["dense", *sorted({path.stem for path in (ROOT / "conf" / "method").glob("*.yaml")} - {"dense"})]
BARS = dict.fromkeys(("gmp", "gsm", "lc", "dpf"), 0.95) | dict.fromkeys(("dnw", "str", "cs", "dst"), 0.87)
STEPS = 16  # conf/method/dpf.yaml: refresh


def measure(settings: Settings, clock: Clock) -> list[Row]:
    """On a GPU for every model; a CPU has the time for one, the last and smallest."""
    models = settings.models if torch.cuda.is_available() else settings.models[-1:]
    rows: list[Row] = []
    for i, model in enumerate(models):
        rows += attempt(partial(_model, settings, clock.part(len(models) - i), model))
    return rows


def _model(settings: Settings, clock: Clock, model: str) -> list[Row]:
    steps = -(-settings.train_images // settings.batch_size)
    first = ["dense", *BARS, *METHODS]  # in this order, each once
    makers = {method: partial(_trainer, settings, model, method) for method in first}
    ready = make(makers, clock, passes=-(-STEPS // steps))
    rounds = interleave(ready, clock, settings.rounds)
    rows = [
        ratio(f"{model}: {name} / dense", rounds, name, "dense", BARS.get(name))
        for name in METHODS
        if name in ready.contenders and name != "dense"
    ]
    return [*rows, rate(f"{model}: dense", "images/s", rounds, "dense"), *ready.notes]


def _trainer(settings: Settings, model: str, method: str) -> Contender:
    return Ours(settings, model, method=method).train
