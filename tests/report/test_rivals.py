"""Rows that compete: who they are, how they are marked, and what the note under a table says of its seeds."""

from __future__ import annotations

from itertools import combinations
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimp_exp.report.rivals import groups, marks, names, notes, pooled_sd, usual_n
from bimp_exp.report.summary import summarise, write_summary
from bimp_exp.results.reader import ABSENT, read_sweep
from tests.report.fake import make_sweep


def by_seed(*values: float, first: int = 0) -> dict[int, float]:
    return dict(enumerate(values, first))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (by_seed(0.80, 0.92, 1.01), "tie"),  # differences 0.1, -0.01, -0.01: t = 0.73 below 4.303
        (by_seed(0.89, 0.90, 0.99), ""),  # 0.01 in each seed
        (by_seed(0.89, 0.90, 0.99, first=1), "tie"),  # other seeds, so not paired: std 0.055, t = 0.22
        (by_seed(0.5), "unknown"),
    ],
)
def test_the_mark_of_a_row_beside_the_best(other: dict[int, float], expected: str) -> None:
    best = by_seed(0.90, 0.91, 1.00)
    assert marks([best, other]) == ["best", expected]
    assert marks([{}, other, best]) == ["", expected, "best"]


@pytest.mark.parametrize("rivals", [[], [{}], [{}, {}], [{}, {0: 0.5, 1: 0.6}]])
def test_nothing_is_best_without_a_rival(rivals: list[dict[int, float]]) -> None:
    assert marks(rivals) == [""] * len(rivals)


def test_rows_compete_that_differ_in_names_alone() -> None:
    keys = ["schedule", "dataset", "sparsity", "lr.milestones", "selector"]
    rows = [
        [schedule, dataset, sparsity, [0.3], selector]
        for schedule in ("ft", "allr")
        for dataset in ("digits", "cifar10")
        for sparsity in (0.9, None)  # null holds, too
        for selector in ("global", "erk")
    ]
    assert names(keys, rows) == ["schedule", "selector"]
    found = groups(keys, rows)
    assert sorted(place for group in found for place in group) == list(range(16))
    assert [[rows[place][1:3] for place in group] for group in found] == [
        [[dataset, sparsity]] * 4 for dataset in ("digits", "cifar10") for sparsity in (0.9, None)
    ]


@pytest.mark.parametrize("key", ["dataset", "dataset.root", "model", "model.name", "budget", "budget.exact_fraction"])
def test_other_data_networks_and_budgets_do_not_compete(key: str) -> None:
    assert groups([key], [["a"], ["b"]]) == [[0], [1]]


def test_where_a_row_lacks_a_key_none_compete() -> None:
    assert groups(["method", "method.initial"], [["imp", ABSENT], ["gmp", ABSENT], ["str", -3]]) == [[0], [1], [2]]


scores = st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=2, max_size=5)


@given(rows=scores, lone=st.floats(0, 1))
def test_the_pooled_deviation_is_that_of_all_pairs(rows: list[list[float]], lone: float) -> None:
    """Against the definition; a row of other seeds has no pair."""
    squares = [float(np.var(np.subtract(a, b), ddof=1)) for a, b in combinations(rows, 2)]
    found = pooled_sd([[*(by_seed(*row) for row in rows), {0: lone, 7: 0.5}]])
    assert found == pytest.approx(sqrt(np.mean(squares)), abs=1e-7)


def test_the_pool_weighs_groups_by_degrees_of_freedom() -> None:
    """Differences 0, 0.2 (variance 0.02, 1 degree of freedom) and 0, 0.1, -0.1 (variance 0.01, 2): (0.02 + 0.02) / 3."""
    two = [by_seed(0.5, 0.7), by_seed(0.5, 0.5)]
    three = [by_seed(0.5, 0.6, 0.4), by_seed(0.5, 0.5, 0.5)]
    assert pooled_sd([two, three]) == pytest.approx(sqrt(0.04 / 3))
    assert pooled_sd([[by_seed(0.5), by_seed(0.6)], []]) is None


def test_the_usual_number_of_seeds() -> None:
    assert usual_n([by_seed(1, 2), by_seed(1, 2), by_seed(1, 2, 3), {}]) == 2
    assert usual_n([by_seed(1, 2), by_seed(1, 2, 3)]) == 3, "of equally frequent ones the largest"
    assert usual_n([{}]) == 0


def test_what_so_many_seeds_tell_apart() -> None:
    """A difference with deviation 0.2 points: 10 seeds for 0.2 points and 34 for 0.1, as worked out in the golden cases."""
    spread = 0.002 * np.array([1, -1, 0.5, -0.5, 0]) / np.std([1, -1, 0.5, -0.5, 0], ddof=1)
    lines = notes([[by_seed(*(0.9 + spread)), by_seed(*[0.9] * 5)]], among="of its column", file="x.csv")
    assert lines[0].endswith("standard deviations are in x.csv.")
    assert lines[1].startswith("* is the best of its column; ≈ is not told apart")
    assert lines[2].startswith("n = 5 tells differences of 0.34 points apart at 80 % power")  # 0.2 * 1.68, of n = 5
    assert lines[2].endswith("0.2 points need 10 seeds, 0.1 points need 34 seeds.")


def test_rivals_alone_are_paired_where_there_are_any() -> None:
    """Differences of rivals: 1 point between the seeds' (deviation 0.71); those of rows of other groups are larger."""
    group, apart = [by_seed(0.50, 0.51), by_seed(0.5, 0.5)], [by_seed(0.5, 0.9), by_seed(0.4, 0.81)]
    (within,) = (line for line in notes([group, apart], among="", file="") if " tells " in line)
    assert "(standard deviation of such a difference: 0.71 points)" in within
    (everything,) = (line for line in notes([[row] for row in group], among="", file="") if " tells " in line)
    assert "(standard deviation of such a difference: 0.71 points)" in everything, "no rivals: all pairs of the table"


def test_two_seeds_are_said_to_tell_little_and_one_run_nothing() -> None:
    two, one = [by_seed(0.5, 0.6), by_seed(0.4, 0.45)], [by_seed(0.5), by_seed(0.6)]
    assert any("one degree of freedom" in line for line in notes([two], among="", file=""))
    (line,) = notes([one], among="of its column", file="")
    assert line.startswith("* is the best of its column")
    assert notes([[]], among="", file="") == []
    assert not any(" tells differences" in line for line in notes([[by_seed(0.5, 0.6)] * 2], among="", file=""))


def test_marks_of_a_sweep(tmp_path: Path) -> None:
    """allr is best at 0.9, clr at 0.95; each sparsity is a competition of its own."""
    tests = {
        ("allr", 0.9): (0.90, 0.91, 0.95),
        ("clr", 0.9): (0.80, 0.81, 0.85),
        ("ft", 0.9): (0.89, 0.91, 0.94),
        ("allr", 0.95): (0.6, 0.6, 0.6),
        ("clr", 0.95): (0.7, 0.7, 0.7),
        ("ft", 0.95): (0.7,),
    }
    runs = [
        ({"schedule": schedule, "sparsity": sparsity, "seed": seed}, {"test": test})
        for (schedule, sparsity), of in tests.items()
        for seed, test in enumerate(of)
    ]
    folder = make_sweep(tmp_path / "s", runs)  # type: ignore[arg-type]
    frame = summarise(folder)
    assert list(frame["mark"]) == ["best", "", "tie", "", "best", "best"], "equal means are equally good"
    write_summary(read_sweep(folder), folder)
    text = (folder / "summary.md").read_text()
    assert "* is the best of the rows that differ from it in schedule alone" in text
    assert "| ft | 0.9 | 3 | 91.33 ± 6.25 ≈ |" in text  # std 2.517
    once = {path.name: path.read_bytes() for path in folder.glob("summary.*")}
    write_summary(read_sweep(folder), folder)
    assert once == {path.name: path.read_bytes() for path in folder.glob("summary.*")}


def test_a_union_of_grids_is_referred_to_a_pivot(tmp_path: Path) -> None:
    runs = [
        ({"method": method, "seed": seed} | more, {"test": test + seed * test / 50})
        for method, more, test in (("imp", {}, 0.9), ("gmp", {}, 0.8), ("str", {"method.initial": -3}, 0.7))
        for seed in (0, 1)
    ]
    folder = make_sweep(tmp_path / "s", runs)  # type: ignore[arg-type]
    assert set(summarise(folder)["mark"]) == {""}
    write_summary(read_sweep(folder), folder)
    text = (folder / "summary.md").read_text()
    assert "Rows of united grids share not all keys and are not marked" in text
    assert "n = 2 tells differences of" in text
    assert "* is the best" not in text
