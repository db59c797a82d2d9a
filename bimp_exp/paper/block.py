"""What a sweep of the paper says of itself: which table its runs belong to, and what a run must be like to be compared with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bimp_exp.config.check import plain
from bimp_exp.paper.runs import Measured

ALWAYS = ("dataset", "model", "conventions", "dataset.subset", "dataset.validation_fraction", "dense_checkpoint")
"""Keys that a comparable run has in common with its sweep's file, whatever that sets."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """The ``paper:`` block of a file in sweeps/, with the configuration that the file stands for.

    sweep: the file's name. table, figure: which ones its runs are for, "" for none.
    dataset, model: as the paper calls them.
    select: the keys of which a cell takes the value of best validation mean.
    variant: the keys whose values make a row's variant.
    budgeted: whether methods choose their cycles themselves, so that no column is of one J and T_rt.
    expected: what the recipe and the file fix, by dotted key or group; a run that differs is not comparable.
    """

    sweep: str
    table: str
    figure: str
    dataset: str
    model: str
    select: tuple[str, ...]
    variant: tuple[str, ...]
    budgeted: bool
    expected: Mapping[str, Any]


def differences(run: Measured, block: Block) -> list[str]:
    """Why ``run`` cannot be compared with the table: each key that is not as expected, "dataset=digits instead of cifar10"."""
    return [
        f"{key}={plain(run.values[key])} instead of {plain(wanted)}"
        for key, wanted in block.expected.items()
        if key in run.values and not _equal(run.values[key], wanted)
    ]


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Sequence) and isinstance(b, Sequence) and not isinstance(a, str):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) or isinstance(b, float):
        return isinstance(a, int | float) and isinstance(b, int | float) and abs(a - b) <= 1e-6 * max(1.0, abs(b))
    return bool(a == b)


def setting(run: Measured, block: Block) -> dict[str, Any]:
    """The values of the keys that are selected, of those that the run has."""
    return {key: run.values[key] for key in block.select if key in run.values}


def variant(run: Measured, block: Block) -> str:
    """ "stepped, hard": the values of the keys that make it, of a run that has all of them; "" of another, and of BIMP."""
    if run.method == "bimp" or not all(key in run.values for key in block.variant):
        return ""
    return ", ".join(plain(run.values[key]) for key in block.variant)
