"""What a table says of rows that compete: which is best or tied, and what differences its seeds can tell apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

from bimp_exp.report.power import detectable, required_n
from bimp_exp.report.statistics import SAME, Mark, ties
from bimp_exp.results.reader import is_absent

Scores = Mapping[int, float]
"""Seed -> test score in [0, 1]."""
SIGNS: dict[Mark, str] = {"best": " *", "tie": " ≈", "unknown": " ?", "": ""}
WANTED = (0.2, 0.1)  # points, small differences that papers report
SPREAD = "± is half the width of the 95 % t interval of the mean over n seeds; standard deviations are in {file}."
MARKED = (
    "* is the best {among}; ≈ is not told apart from it (p >= 0.05: a t test, paired where both have the same seeds, else"
    " Welch's; Holm's adjustment over the other rows); ? has too few seeds for a test."
)
APART = ("dataset", "model", "budget")
"""Groups whose options do not compete: scores of other data, networks or budgets say nothing of a method."""
UNITED = "Rows of united grids share not all keys and are not marked; a pivot compares them (bimp-exp report FOLDER --rows ...)."
TWO = "With two seeds a paired t test has one degree of freedom: nearly all are ≈."


def marks(rivals: Sequence[Scores]) -> list[Mark]:
    """A mark for each; none where fewer than two have scores."""
    if not _compete(rivals):
        return [""] * len(rivals)
    found = ties({str(place): scores for place, scores in enumerate(rivals)}).mark
    return [found.get(str(place), "") for place in range(len(rivals))]


def notes(groups: Sequence[Sequence[Scores]], *, among: str, file: str) -> list[str]:
    """What ± and the marks of a table mean and what its seeds can tell apart, each where there is such a thing.

    groups: of rivals. among: whom the best is the best of. file: the one with the standard deviations.
    """
    scores = [each for group in groups for each in group if each]
    marked = [group for group in groups if _compete(group)]
    usual = usual_n(scores)
    lines = [SPREAD.format(file=file)] if any(len(each) > 1 for each in scores) else []
    lines += [MARKED.format(among=among)] if marked else []
    lines += [TWO] if marked and usual == 2 else []
    sd = pooled_sd(marked or [scores])
    if usual > 1 and sd is not None and sd > SAME:
        needed = [f"{points:g} points need {required_n(points / 100, sd)[0]:,} seeds" for points in WANTED]
        lines += [
            f"n = {usual} tells differences of {100 * detectable(sd, usual):.2g} points apart at 80 % power, paired by seed"
            f" (standard deviation of such a difference: {100 * sd:.2g} points); {', '.join(needed)}."
        ]
    return lines


def names(keys: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Those of the swept ``keys`` in which rivals differ: names and switches (schedule, selector, ...), no number, list or null.

    None of them where a row lacks a key. rows: the values of all keys.
    """
    columns = dict(zip(keys, zip(*rows, strict=True), strict=True)) if rows else {}
    if any(is_absent(value) for values in columns.values() for value in values):
        return []
    return [
        key
        for key, values in columns.items()
        if key.split(".")[0] not in APART and all(isinstance(value, str | bool) for value in values)
    ]


def groups(keys: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[list[int]]:
    """The places of rows that compete, together: those that differ in ``names`` alone."""
    free = names(keys, rows)
    found: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        held = [value for key, value in zip(keys, row, strict=True) if key not in free]
        found.setdefault(json.dumps(held), []).append(place)
    return list(found.values())


def _compete(rivals: Sequence[Scores]) -> bool:
    return sum(bool(scores) for scores in rivals) > 1


def usual_n(scores: Sequence[Scores]) -> int:
    """The number of seeds that most have, of equally frequent ones the largest; 0 without any."""
    counts = Counter(len(each) for each in scores if each)
    return max(counts, key=lambda n: (counts[n], n), default=0)


def pooled_sd(groups: Sequence[Sequence[Scores]]) -> float | None:
    """The standard deviation of the difference of two rows of a group with the same seeds, pooled over all such pairs.

    None without a pair that has two seeds. With c the scores of m rows less the row's mean, the squares of all pairs'
    differences sum up to m sum(c^2) - sum over seeds of (sum over rows of c)^2.
    """
    squares, df = 0.0, 0
    for group in groups:
        alike: dict[tuple[int, ...], list[list[float]]] = {}
        for scores in group:
            seeds = tuple(sorted(scores))
            alike.setdefault(seeds, []).append([scores[seed] for seed in seeds])
        for seeds, rows in alike.items():
            if len(seeds) > 1:
                centred = np.array(rows) - np.mean(rows, axis=1, keepdims=True)
                squares += float(len(rows) * (centred**2).sum() - (centred.sum(axis=0) ** 2).sum())
                df += len(rows) * (len(rows) - 1) // 2 * (len(seeds) - 1)
    return sqrt(max(squares, 0.0) / df) if df else None
