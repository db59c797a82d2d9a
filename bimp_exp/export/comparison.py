"""Size and speed of an exported network beside the dense one: figures of export.json, verdict, table on the terminal."""

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


def size(network: nn.Module, image_shape: Sequence[int]) -> dict[str, Any]:
    """Size of ``network`` for one image of ``image_shape`` [C, H, W].

    num_buffers: floating-point numbers that are no parameters (batch-norm statistics, constants).
    multiply_adds: None where they could not be counted.
    """
    parameters = list(network.parameters())
    return {
        "num_parameters": sum(p.numel() for p in parameters),
        "num_not_zero": sum(int(p.count_nonzero()) for p in parameters),
        "num_buffers": sum(b.numel() for b in network.buffers() if b.is_floating_point()),
        "multiply_adds": metrics.total(metrics.multiply_adds(network, image_shape)),
    }


def theoretical_speedup(masked: nn.Module, image_shape: Sequence[int]) -> float | str | None:
    """All multiply-adds over those of weights that are not zero, as in result.json; "inf" where no weight is left.

    None where they could not be counted.
    """
    value = metrics.theoretical_speedup(
        metrics.multiply_adds(masked, image_shape), metrics.layer_counts(masked)
    ).speedup
    return "inf" if value == math.inf else value


def timing(seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Quartiles, for one batch size, of each network's milliseconds and of its speed-up over the one called dense.

    seconds: of one forward pass, one number a round, by network.
    """
    return {
        "num_rounds": len(seconds["dense"]),
        "milliseconds": {
            name: quartiles([1000 * value for value in values])._asdict() for name, values in seconds.items()
        },
        "speedup": {
            name: speedup(seconds["dense"], values)._asdict() for name, values in seconds.items() if name != "dense"
        },
    }


def verdict(written: str, sizes: Mapping[str, Mapping[str, Any]], timings: Mapping[str, Mapping[str, Any]]) -> str:
    """Whether the network ``written`` is faster than the dense one, in words.

    sizes: what ``size`` returned, by network. timings: what ``timing`` returned, by batch size.
    """
    if sizes[written]["num_parameters"] == sizes["dense"]["num_parameters"]:
        return "no gain: every channel depends on the image, and zeros cost as much as other numbers in dense kernels"
    parts = []
    for batch_size, measured in timings.items():
        ratio = Quartiles(**measured["speedup"][written])
        if ratio.low > 1 and ratio.median >= GAIN:
            speed = f"{ratio.median:.2f} times as fast as dense"
        else:
            speed = f"{'slower than dense' if ratio.high < 1 else 'no gain'} ({ratio.median:.2f} times as fast)"
        parts.append(f"{speed} at batch size {batch_size}")
    return "; ".join(parts)


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print the content of export.json: one row a network, then what holds for all of them, and the verdict."""
    table = Table("network", "parameters", "not zero", "multiply-\nadds")
    for batch_size in result["latency"]:
        table.add_column(f"ms,\nbatch {batch_size}")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, sizes in result["networks"].items():
        adds = "" if sizes["multiply_adds"] is None else f"{sizes['multiply_adds'] / 1e6:.2f} M"
        cells = [f"{sizes['num_parameters']:,}", f"{sizes['num_not_zero']:,}", adds]
        for measured in result["latency"].values():
            faster = measured["speedup"].get(name)
            times = f" (x{faster['median']:.2f})" if faster else ""
            cells.append(f"{measured['milliseconds'][name]['median']:.2f}{times}")
        table.add_row(name, *cells)
    console.print(table)
    theory, written = result["theoretical_speedup"], result["written"]
    counts = [result["networks"][name]["multiply_adds"] for name in ("dense", written)]
    ratio = "not counted" if None in counts else f"{counts[0] / counts[1]:.2f}"
    skipped = "not counted" if theory is None else theory if isinstance(theory, str) else f"{theory:.2f}"
    files = ", ".join(f"{name} ({file['max_difference']:.1e})" for name, file in result["files"].items())
    num_images = max(file["num_images"] for file in result["files"].values())
    for line in (
        f"theoretical speed-up if zeros were skipped: {skipped}; multiply-adds of dense over those of {written}: {ratio}",
        f"medians on {result['processor']}, threads: {result['threads']}, PyTorch {result['torch']}; x: times as fast as dense",
        f"written: {written} as {files}; in brackets the largest difference from masked on {num_images} test images, "
        "relative to the largest output",
        f"verdict: {result['verdict']}",
    ):
        console.print(line, highlight=False, soft_wrap=True)
