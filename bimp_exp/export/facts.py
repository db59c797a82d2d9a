"""What an export came to: the content of export.json, the verdict in words, and the table on the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import nn

from bimp_exp.export.latency import Quartiles, quartiles, speedup
from bimp_exp.pruning import metrics

GAIN = 1.05  # the least median speed-up that is called a gain


def size(network: nn.Module, image_shape: Sequence[int]) -> dict[str, int]:
    """Parameters, how many of them are not zero, other floating-point numbers (statistics, constants), multiply-adds."""
    parameters = list(network.parameters())
    return {
        "num_parameters": sum(p.numel() for p in parameters),
        "num_not_zero": sum(int(p.count_nonzero()) for p in parameters),
        "num_buffers": sum(b.numel() for b in network.buffers() if b.is_floating_point()),
        "multiply_adds": sum(metrics.multiply_adds(network, image_shape).values()),
    }


def theoretical_speedup(masked: nn.Module, image_shape: Sequence[int]) -> float | str:
    """As in result.json, counted exactly: all multiply-adds over those of weights that are not zero."""
    value = metrics.theoretical_speedup(
        metrics.multiply_adds(masked, image_shape), metrics.layer_counts(masked)
    ).speedup
    return value if math.isfinite(value) else "inf"


def timing(seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Milliseconds of each network and its speed-up over the one called dense, as quartiles, for one batch size."""
    return {
        "num_rounds": len(seconds["dense"]),
        "milliseconds": {
            name: quartiles([1000 * value for value in values])._asdict() for name, values in seconds.items()
        },
        "speedup": {
            name: speedup(seconds["dense"], values)._asdict() for name, values in seconds.items() if name != "dense"
        },
    }


def verdict(written: str, sizes: Mapping[str, Mapping[str, int]], timings: Mapping[str, Mapping[str, Any]]) -> str:
    """Whether the network ``written`` is faster than the dense one; ``timings``: of ``timing``, by batch size."""
    if sizes[written]["multiply_adds"] == sizes["dense"]["multiply_adds"]:
        return "no gain: every channel depends on the image, and zeros cost as much as other numbers in dense kernels"
    parts = []
    for batch_size, measured in timings.items():
        ratio = Quartiles(**measured["speedup"][written])
        if ratio.low > 1 and ratio.median >= GAIN:
            said = f"{ratio.median:.2f} times as fast as dense"
        else:
            said = f"{'slower than dense' if ratio.high < 1 else 'no gain'} ({ratio.median:.2f} times as fast)"
        parts.append(f"{said} at batch size {batch_size}")
    return "; ".join(parts)


def show(facts: Mapping[str, Any], console: Console) -> None:
    """One row a network; then what holds for all, and the verdict."""
    table = Table("network", "parameters", "not zero", "multiply-\nadds")
    for batch_size in facts["latency"]:
        table.add_column(f"ms,\nbatch {batch_size}")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, sizes in facts["networks"].items():
        cells = [f"{sizes['num_parameters']:,}", f"{sizes['num_not_zero']:,}", f"{sizes['multiply_adds'] / 1e6:.2f} M"]
        for measured in facts["latency"].values():
            faster = measured["speedup"].get(name)
            times = f" (x{faster['median']:.2f})" if faster else ""
            cells.append(f"{measured['milliseconds'][name]['median']:.2f}{times}")
        table.add_row(name, *cells)
    console.print(table)
    theory, written = facts["theoretical_speedup"], facts["written"]
    ratio = facts["networks"]["dense"]["multiply_adds"] / facts["networks"][written]["multiply_adds"]
    files = ", ".join(f"{name} ({file['max_difference']:.1e})" for name, file in facts["files"].items())
    num_images = max(file["num_images"] for file in facts["files"].values())
    for line in (
        f"theoretical speed-up if zeros were skipped {theory if isinstance(theory, str) else f'{theory:.2f}'}; "
        f"dense has {ratio:.2f} times the multiply-adds of {written}",
        f"medians on {facts['processor']}, threads: {facts['threads']}, PyTorch {facts['torch']}; x: times as fast as dense",
        f"written: {written} as {files}; in brackets the largest difference from masked on {num_images} test images, "
        "relative to the largest output",
        f"verdict: {facts['verdict']}",
    ):
        console.print(line, highlight=False, soft_wrap=True)
