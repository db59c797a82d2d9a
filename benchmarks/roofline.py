"""roofline: on a GPU, the share of what its arithmetic or its memory allows that training reaches.

    bound = min(peak / (6 m), bandwidth / b)  images/s

with m multiply-adds of an image (forward 2 m FLOP, backward twice that), the peak of a bf16 matrix product and the bandwidth of a
copy as measured here, and b the least bytes of an image: every layer reads its input and writes its output once in bf16, and
twice as much backward. Normalisation, activations and the optimiser are left out, so the bound is a generous one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.ours import IMAGE, Ours, Settings
from benchmarks.rounds import Clock, Row, Skipped, interleave, make, rate, row, usable
from bimp_exp.pruning import metrics
from bimp_exp.pruning.weights import LAYERS
from bimp_exp.runtime import synchronize

MODEL = "wrn28_10"
BAR = 0.6
SIDE = 8192  # of the matrices
COPIED = 2**32  # bytes


def measure(settings: Settings, clock: Clock) -> list[Row]:
    """WRN-28-10, as configured."""
    if not torch.cuda.is_available():
        raise Skipped("there is no GPU")
    return _shares(settings, clock, torch.device("cuda"), MODEL)


def _shares(settings: Settings, clock: Clock, device: torch.device, model: str) -> list[Row]:
    flops, bandwidth = _matrix_product(device), _copy(device)
    trained = Ours(settings, model)
    plain = trained.x.network()
    by_compute = flops / (6 * sum(num or 0 for num in metrics.multiply_adds(plain, IMAGE).values()))
    by_memory = bandwidth / least_bytes(plain)
    ready = make({model: lambda: trained.train}, clock)
    rounds = interleave(ready, clock, settings.rounds)
    used = usable(rounds)
    shares = [r.rates[model] / min(by_compute, by_memory) for r in used]
    return [
        row(
            f"{model}: share of its {'compute' if by_compute < by_memory else 'memory'} bound",
            "",
            shares,
            BAR,
            rounds=used,
        ),
        rate(f"{model}: training", "images/s", rounds, model),
        row(f"{model}: compute bound", "images/s", [by_compute]),
        row(f"{model}: memory bound", "images/s", [by_memory]),
        row("matrix product, bf16", "TFLOP/s", [flops / 1e12]),
        row("copy, bytes read and written", "GB/s", [bandwidth / 1e9]),
    ]


def least_bytes(model: nn.Module) -> float:
    """Bytes of an image that the prunable layers read and write in a step, in bf16."""
    numbers = 0

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal numbers
        numbers += inputs[0].numel() + output.numel()

    handles = [module.register_forward_hook(hook) for module in model.modules() if isinstance(module, LAYERS)]
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, *IMAGE))
    for handle in handles:
        handle.remove()
    return 3 * 2 * numbers


def _matrix_product(device: torch.device) -> float:
    """FLOP per second."""
    one, other = (torch.randn(SIDE, SIDE, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * SIDE**3 / _seconds(lambda: one @ other, device)


def _copy(device: torch.device) -> float:
    """Bytes per second, read and written."""
    source = torch.zeros(COPIED, device=device, dtype=torch.uint8)
    target = torch.zeros_like(source)
    return 2 * COPIED / _seconds(lambda: target.copy_(source), device)


def _seconds(call: Callable[[], object], device: torch.device, times: int = 10) -> float:
    """Mean of ``times`` calls, after three that warm up."""
    for _ in range(3):
        call()
    synchronize(device)
    start = time.perf_counter()
    for _ in range(times):
        call()
    synchronize(device)
    return (time.perf_counter() - start) / times
