"""The paired test by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.accuracy_pairs import FIGURES, compare, table


def rows(gaps: list[float]) -> list[dict[str, Any]]:
    ways = [{"plain": dict.fromkeys(FIGURES, 0.5), "default": dict.fromkeys(FIGURES, 0.5 + gap)} for gap in gaps]
    return [{"seed": seed} | way for seed, way in enumerate(ways)]


def test_of_three_gaps() -> None:
    """1, 2 and 3 points: mean 2, deviation 1, t = 2 sqrt(3) with two degrees of freedom, p = 1 - t / sqrt(2 + t^2)."""
    found = compare(rows([0.01, 0.02, 0.03]), "test accuracy")
    assert found["mean"] == pytest.approx(0.02)
    assert found["stdev"] == pytest.approx(0.01)
    t = 2 * math.sqrt(3)
    assert found["p"] == pytest.approx(1 - t / math.sqrt(2 + t * t))
    half = 4.30265 * 0.01 / math.sqrt(3)  # 97.5 % of Student's t with two degrees of freedom
    assert (found["low"], found["high"]) == pytest.approx((0.02 - half, 0.02 + half), rel=1e-5)
    assert "| test accuracy | +2.00 | 1.00 | -0.48 to +4.48 | 0.07 |" in table(rows([0.01, 0.02, 0.03]))


def test_equal_pairs_are_no_difference() -> None:
    assert compare(rows([0.0, 0.0]), "sparsity")["p"] == 1
    assert compare(rows([-0.25, -0.25]), "sparsity")["p"] == 0
