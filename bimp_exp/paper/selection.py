"""Choosing the setting of a cell: by the validation mean over seeds; the test scores of the chosen one are read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A setting with its scores by seed, in points."""

    setting: Mapping[str, Any]
    validation: Mapping[int, float]
    test: Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The chosen candidate.

    place: of it in the list. complete: whether all seeds that were asked for are there.
    test_std: with ddof = 1, None for one seed.
    best_on_test: the setting and mean that choosing on the test set would have given; it decides nothing.
    """

    place: int
    setting: Mapping[str, Any]
    n: int
    validation: float
    test_mean: float
    test_std: float | None
    complete: bool
    best_on_test: tuple[Mapping[str, Any], float]


def select(candidates: Sequence[Candidate], seeds: Sequence[int]) -> Selection | None:
    """Of the candidates with the most of ``seeds`` the one of best validation mean, of equal ones the first; None without any run.

    candidates: in the order of the grid.
    """

    def values(scores: Mapping[int, float]) -> list[float]:
        return [scores[seed] for seed in seeds if seed in scores]

    counts = [len(values(candidate.validation)) for candidate in candidates]
    if not max(counts, default=0):
        return None
    means = [
        round(float(np.mean(values(c.validation))), 9) if n else -np.inf
        for c, n in zip(candidates, counts, strict=True)
    ]
    place = max(range(len(candidates)), key=lambda i: (counts[i], means[i]))  # the first of equals
    chosen = candidates[place]
    tests = values(chosen.test)
    test_means = [
        (candidate.setting, float(np.mean(values(candidate.test)))) for candidate in candidates if candidate.test
    ]
    return Selection(
        place=place,
        setting=chosen.setting,
        n=counts[place],
        validation=float(np.mean(values(chosen.validation))),
        test_mean=float(np.mean(tests)),
        test_std=float(np.std(tests, ddof=1)) if len(tests) > 1 else None,
        complete=counts[place] == len(seeds),
        best_on_test=max(test_means, key=lambda pair: round(pair[1], 9)),
    )
