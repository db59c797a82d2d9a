"""The numbers that the paper prints, as data: 2,530 means and standard deviations of two seeds, and the dense networks of Table 3.

Sources: Tables 1, 2, 4 to 21 and 23 to 29 (``data/results.csv``), Table 3 (``data/dense.csv``). Scores are in points: percent of
accuracy, mIoU and sparsity, BLEU.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent / "data"
SCORES = ("accuracy", "miou", "bleu")
"""The metrics of a task, as they are called in the paper's data."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a number stands in a table.

    method: ``imp`` in the tables of schedules, else ``bimp`` or a rival.
    schedule: of retraining; "" for rivals.
    variant: in brackets behind the method, as in "GMP (linear)"; "" without.
    sparsity: the goal, as a share; None for images per second.
    cycles: J; None where the method chooses it.
    fraction: T_rt / T, rounded down to four digits; None likewise.
    metric: one of SCORES, ``speedup``, ``achieved_sparsity`` or ``images_per_second``.
    """

    method: str
    schedule: str
    variant: str
    sparsity: float | None
    cycles: int | None
    fraction: float | None
    metric: str


@dataclass(frozen=True, kw_only=True)
class Number:
    """A printed mean with the sample standard deviation of two seeds, both in points."""

    table: str
    dataset: str
    model: str
    pruning: str
    place: Place
    mean: float
    std: float | None


@dataclass(frozen=True, kw_only=True)
class Dense:
    """The dense network of Table 3: its metric, T in epochs, mean and standard deviation in points."""

    metric: str
    epochs: int
    mean: float
    std: float


@cache
def numbers() -> tuple[Number, ...]:
    """All printed numbers in the paper's order; a value that a table repeats stands here once."""
    found: dict[Number, None] = {}
    for row in _rows("results"):
        place = Place(
            method=row["method"],
            schedule=row["schedule"],
            variant=row["variant"],
            sparsity=_number(row["sparsity"]),
            cycles=int(row["cycles"]) if row["cycles"] else None,
            fraction=_number(row["retrain_fraction"]),
            metric=row["metric"],
        )
        about = {key: row[key] for key in ("table", "dataset", "model", "pruning")}
        found[Number(**about, place=place, mean=float(row["mean"]), std=_number(row["std"]))] = None
    return tuple(found)


def of_table(table: str, dataset: str, model: str) -> list[Number]:
    """The numbers of one table for one network on one data set."""
    return [n for n in numbers() if (n.table, n.dataset, n.model) == (table, dataset, model)]


@cache
def dense(dataset: str, model: str) -> Dense:
    """The dense network of Table 3."""
    (row,) = [row for row in _rows("dense") if (row["dataset"], row["model"]) == (dataset, model)]
    return Dense(metric=row["metric"], epochs=int(row["epochs"]), mean=float(row["mean"]), std=float(row["std"]))


def flags(number: Number, others: Iterable[Number]) -> str:
    """Why no run can be compared with ``number``, in a few words; "" where one can.

    others: the numbers of its table, which hold the sparsity that it was reached at.
    """
    place = number.place
    if place.metric == "images_per_second":
        return "images per second are those of the authors' machine"
    if place.metric == "speedup" and place.method == "gmp" and number.table in UNIFORM:
        return "the printed speed-ups of GMP are those of another criterion than the text's (uniform)"
    if place.metric in SCORES and number.std is not None and number.std > DIVERGED:
        return f"printed with a standard deviation of {number.std:g}: one of its runs diverged"
    reached = _reached(number, others)
    if place.sparsity is not None and reached is not None and abs(reached - 100 * place.sparsity) > NEAR + 1e-9:
        return f"printed for {reached:g} % instead of {100 * place.sparsity:g} %"
    return ""


UNIFORM = ("2", "23", "24")  # in Tables 28 and 29 they are those of the global criterion, which the text states
DIVERGED = 10.0  # points of standard deviation
NEAR = 0.25  # points of sparsity (caption of Table 23)


def _reached(number: Number, others: Iterable[Number]) -> float | None:
    place = number.place
    for other in others:
        there = other.place
        if there.metric == "achieved_sparsity" and (there.method, there.variant, there.sparsity) == (
            place.method,
            place.variant,
            place.sparsity,
        ):
            return other.mean
    return None


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _number(text: str) -> float | None:
    return float(text) if text else None
