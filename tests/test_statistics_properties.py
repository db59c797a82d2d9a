"""Laws that intervals, tests and marks keep whatever the values."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimp_exp.report.statistics import (
    benjamini_hochberg,
    bootstrap,
    holm,
    paired_difference,
    t_interval,
    ties,
    tost_paired,
    welch_difference,
)

score = st.integers(0, 10000).map(lambda hundredths: hundredths / 100)
spread = st.lists(score, min_size=2, max_size=8).filter(lambda values: len(set(values)) > 1)
seeded = st.dictionaries(st.integers(0, 9), score, min_size=4, max_size=10)
ps = st.lists(st.floats(0, 1), min_size=1, max_size=15)
shift = st.integers(-50, 50)
few = settings(max_examples=60, deadline=None)


@few
@given(p=ps)
def test_adjusted_p_keep_the_order_and_are_no_smaller(p: list[float]) -> None:
    for adjust in (holm, benjamini_hochberg):
        q = adjust(p)
        assert all(a - 1e-12 <= b <= 1 for a, b in zip(p, q, strict=True))
        assert all(q[i] <= q[j] + 1e-12 for i, j in pairwise(np.argsort(p)))
    assert all(a >= b - 1e-12 for a, b in zip(holm(p), benjamini_hochberg(p), strict=True)), "Holm is the stricter one"


@few
@given(p=ps, data=st.data())
def test_adjusted_p_do_not_depend_on_the_order(p: list[float], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(p))))
    for adjust in (holm, benjamini_hochberg):
        assert adjust([p[i] for i in order]) == pytest.approx([adjust(p)[i] for i in order])


@few
@given(values=spread, by=shift)
def test_intervals_hold_the_mean_widen_with_the_level_and_move_with_the_values(values: list[float], by: int) -> None:
    intervals = [t_interval(values, level) for level in (0.5, 0.9, 0.95, 0.99)]
    for narrow, wide in pairwise(intervals):
        assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    moved = t_interval([value + by for value in values])
    assert (moved.low, moved.high) == pytest.approx((intervals[2].low + by, intervals[2].high + by))
    assert moved.half_width == pytest.approx(intervals[2].half_width)


@given(values=st.lists(score, min_size=2, max_size=4))
def test_the_bootstrap_stays_within_the_values(values: list[float]) -> None:
    low, high, resamples = bootstrap(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert resamples == len(values) ** len(values)


def test_the_bootstrap_of_many_values_is_nearly_the_t_interval_and_repeatable() -> None:
    values = list(np.random.default_rng(1).normal(90, 0.2, 200))
    low, high, _ = bootstrap(values)
    interval = t_interval(values)
    assert (low, high) == pytest.approx((interval.low, interval.high), abs=0.005)
    assert bootstrap(values) == bootstrap(values)


@few
@given(a=seeded, b=seeded, by=shift)
def test_a_pair_the_other_way_round_changes_sign(a: dict[int, float], b: dict[int, float], by: int) -> None:
    common = a.keys() & b.keys()
    if not common:
        with pytest.raises(ValueError, match="no seed is common"):
            paired_difference(a, b)
        return
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert there.seeds == tuple(sorted(common))
    assert there.mean == pytest.approx(-back.mean)
    assert there.correlation == pytest.approx(back.correlation)
    if there.n > 1:
        assert (there.low, there.p) == pytest.approx((-back.high, back.p))  # type: ignore[operator]
        moved = paired_difference({seed: v + by for seed, v in a.items()}, {seed: v + by for seed, v in b.items()})
        assert (moved.mean, moved.p) == pytest.approx((there.mean, there.p), abs=1e-6)


@few
@given(x=spread, y=spread, by=shift)
def test_welch_changes_sign_and_forgets_a_common_shift(x: list[float], y: list[float], by: int) -> None:
    there, back = welch_difference(x, y), welch_difference(y, x)
    moved = welch_difference([v + by for v in x], [v + by for v in y])
    assert (there.difference, there.low, there.p) == pytest.approx((-back.difference, -back.high, back.p), abs=1e-9)
    assert (there.difference, there.p) == pytest.approx((moved.difference, moved.p), abs=1e-6)
    assert min(len(x), len(y)) - 1 - 1e-9 <= there.df <= len(x) + len(y) - 2 + 1e-9


@few
@given(a=seeded, b=seeded, margin=st.floats(0.1, 80))
def test_equivalent_is_the_90_percent_interval_inside_the_margin(
    a: dict[int, float], b: dict[int, float], margin: float
) -> None:
    if len(a.keys() & b.keys()) < 2:
        return
    found = tost_paired(a, b, margin)
    inside = -margin < found.low90 and found.high90 < margin
    assert found.equivalent == inside
    assert found.p == max(found.p_lower, found.p_upper)


@few
@given(column=st.dictionaries(st.sampled_from("abcdef"), seeded, min_size=1), by=shift)
def test_marks_do_not_depend_on_the_unit_nor_on_a_shift(column: dict[str, dict[int, float]], by: int) -> None:
    marks = ties(column).mark
    best = max(np.mean(list(values.values())) for values in column.values())
    for row, values in column.items():
        assert (marks[row] == "best") == (np.mean(list(values.values())) >= best - 1e-9)
    moved = {row: {seed: 2 * value + by for seed, value in values.items()} for row, values in column.items()}
    assert ties(moved).mark == marks


def test_equal_rows_seldom_lose_their_mark() -> None:
    """Six equal rows, five seeds with a dense network each: 5 % of columns would lose a mark if the best were chosen beforehand.

    It is not: 9 %. Without an adjustment a mark is lost in a third of them.
    """
    random = np.random.default_rng(0)
    lost = 0
    for _ in range(400):
        column = random.normal(90, 0.2, (6, 5)) + random.normal(0, 0.3, 5)
        marks = ties({str(row): dict(enumerate(values)) for row, values in enumerate(column)}).mark.values()
        lost += "" in marks
    assert 0.03 < lost / 400 < 0.12
