"""How long the exact selection of the k smallest of n scores takes on one CPU thread, against what PyTorch has for it.

    OMP_NUM_THREADS=1 python benchmarks/selection.py

Prints a Markdown table. The scores are |w| of random weights, of which ``--masked`` are pruned already and score -1; k is
0.95 n. Ours gives the mask, ties by index included; of the others only the bare call is timed, which is less work. All four
take turns, so that a machine that slows down slows them alike; a ratio is that of one turn, and its spread the lowest
and the highest of all turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bimp_exp.selector._smallest import smallest

SIZES = {"ResNet-56": 848_944, "ResNet-50": 25_502_912, "WRN-28-10": 36_518_832}  # prunable weights
FUNCTIONS: dict[str, Callable[[Tensor, int], Any]] = {
    "smallest": smallest,
    "kthvalue": lambda scores, k: scores.kthvalue(k),
    "topk": lambda scores, k: scores.topk(k, largest=False, sorted=False),
    "sort": lambda scores, k: scores.sort(),
}


def turn(scores: Tensor, k: int) -> dict[str, float]:
    """Seconds of each function, called once, one after the other."""
    seconds = {}
    for name, function in FUNCTIONS.items():
        start = time.perf_counter()
        function(scores, k)
        seconds[name] = time.perf_counter() - start
    return seconds


def row(model: str, num: int, masked: float, repeats: int) -> str:
    """One line of the table."""
    scores = torch.randn(num, generator=torch.Generator().manual_seed(0)).abs()
    gone = torch.rand(num, generator=torch.Generator().manual_seed(1)) < masked
    scores.masked_fill_(gone, -1.0)
    k = round(0.95 * num)
    turns = [turn(scores, k) for _ in range(repeats + 1)][1:]  # the first one only warms up
    assert int(smallest(scores, k).sum()) == k
    cells = [model, f"{num:,}", f"{1e3 * median(t['smallest'] for t in turns):.1f}"]
    for name in list(FUNCTIONS)[1:]:
        ratios = [t[name] / t["smallest"] for t in turns]
        cells.append(f"{median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--masked", type=float, default=0.5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [f"{name} / ours" for name in list(FUNCTIONS)[1:]]
    print(f"| weights of | n | ours [ms] | {' | '.join(names)} |")
    print("|---|--:|--:|" + "--:|" * len(names))
    for model, num in SIZES.items():
        print(row(model, num, options.masked, options.repeats), flush=True)


if __name__ == "__main__":
    main()
