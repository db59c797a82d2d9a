"""selection: the exact choice of the k smallest of n scores, ties by index, against what PyTorch has for it.

The scores are |w| of random weights, of which half are pruned already and score -1; k is 0.95 n. Ours gives the mask; of the
others only the bare call is timed, which is less work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.ours import Settings
from benchmarks.plain import as_new
from benchmarks.rounds import Clock, Contender, Row, Sample, attempt, interleave, make, ratio, row, usable
from bimp_exp.runtime import synchronize
from bimp_exp.selector._smallest import smallest

FUNCTIONS: dict[str, Callable[[Tensor, int], Any]] = {
    "ours": smallest,
    "kthvalue": lambda scores, k: scores.kthvalue(k),
    "topk": lambda scores, k: scores.topk(k, largest=False, sorted=False),
    "sort": lambda scores, k: scores.sort(),
}
MASKED = 0.5
CHOSEN = 0.95


def measure(settings: Settings, clock: Clock) -> list[Row]:
    """On the CPU, and on the GPU where there is one."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    todo = [(device, *size) for device in devices for size in settings.weights.items()]
    rows: list[Row] = []
    for i, (device, name, num) in enumerate(todo):
        mine = clock.part(len(todo) - i)
        rows += attempt(partial(_size, settings, mine, torch.device(device), name, num))
    return rows


def _size(settings: Settings, clock: Clock, device: torch.device, name: str, num: int) -> list[Row]:
    as_new()
    scores = torch.randn(num, generator=torch.Generator().manual_seed(0)).abs()
    gone = torch.rand(num, generator=torch.Generator().manual_seed(1)) < MASKED
    scores = scores.masked_fill_(gone, -1.0).to(device)
    k = round(CHOSEN * num)
    ready = make({what: partial(_timed, call, scores, k) for what, call in FUNCTIONS.items()}, clock)
    rounds = interleave(ready, clock, settings.rounds)
    where = f"{device.type}, {name} ({num:,} weights)"
    used = usable(rounds)
    return [
        *(ratio(f"{where}: ours / {what}", rounds, "ours", what) for what in ready.contenders if what != "ours"),
        row(f"{where}: ours", "ms", [1e3 / r.rates["ours"] for r in used], rounds=used),
        *ready.notes,
    ]


def _timed(call: Callable[[Tensor, int], Any], scores: Tensor, k: int) -> Contender:
    def sample() -> Sample:
        synchronize(scores.device)
        start = time.perf_counter()
        call(scores, k)
        synchronize(scores.device)
        return 1, time.perf_counter() - start

    return sample
