"""The cells of a sweep: what they hold, which is the best, which is compared with which."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from bimp_exp.errors import ConfigError
from bimp_exp.results.cells import Cell, baseline_of, best, cells, check_baseline, key_of, name_of
from bimp_exp.results.reader import read_sweep
from tests.report.fake import make_sweep


def made(folder: Path, tests: dict[str, list[float | None]]) -> list[Cell]:
    """Cells of the schedules in ``tests`` with the seeds' test accuracies from 0 on; None: started, not finished."""
    runs = [
        ({"schedule": name, "seed": seed}, {"status": "running"} if value is None else {"test": value})
        for name, values in tests.items()
        for seed, value in enumerate(values)
    ]
    return cells(read_sweep(make_sweep(folder, runs)))


def test_a_cell_has_the_runs_that_differ_in_the_seed(tmp_path: Path) -> None:
    ft, clr = made(tmp_path / "s", {"ft": [0.5, None, 0.75], "clr": [0.25]})
    assert (ft.swept, clr.swept) == ({"schedule": "ft"}, {"schedule": "clr"})
    assert ft.name == "schedule=ft"
    assert [run.folder.name for run in ft.runs] == [f"schedule=ft seed={seed}" for seed in range(3)]
    assert ft.scores("test") == {0: 0.5, 2: 0.75}
    assert ft.scores("validation") == pytest.approx({0: 0.49, 2: 0.74})
    assert (ft.metric, clr.metric) == ("accuracy", "accuracy")


def test_the_order_of_the_keys_makes_no_other_cell() -> None:
    draw, swept = random.Random(0), {"a": 1, "b.c": None, "seed": 3, "d": "x"}
    for _ in range(20):
        keys = draw.sample(sorted(swept), k=4)
        assert key_of({key: swept[key] for key in keys} | {"seed": draw.random()}) == key_of(swept)
    assert len({key_of({"a": value}) for value in (None, 0, "0", "null")} | {key_of({})}) == 5


def test_only_the_seed_leaves_the_name() -> None:
    assert name_of("split_seed=1 seed=1", {"dataset.split_seed": 1, "seed": 1}) == "split_seed=1"
    assert name_of("allr cycles=1", {"schedule": "allr", "budget.cycles": 1}) == "allr cycles=1"


@pytest.mark.parametrize(
    ("tests", "wanted"),
    [
        ({"a": [0.5, 0.7], "b": [0.6, 0.7]}, "schedule=b"),
        ({"a": [0.5, 0.7], "b": [0.99, None]}, "schedule=a"),  # more seeds first
        ({"a": [0.5], "b": [0.5]}, "schedule=a"),  # the first of equal ones
        ({"a": [None]}, None),
    ],
)
def test_the_best_cell(tmp_path: Path, tests: dict[str, list[float | None]], wanted: str | None) -> None:
    chosen = best(made(tmp_path / "s", tests))
    assert (chosen.name if chosen else None) == wanted


def test_validation_chooses(tmp_path: Path) -> None:
    runs = [
        ({"x": x, "seed": 0}, {"test": test, "validation": validation})
        for x, test, validation in ((1, 0.9, 0.5), (2, 0.1, 0.6))
    ]
    chosen = best(cells(read_sweep(make_sweep(tmp_path / "s", runs))))
    assert chosen
    assert chosen.name == "x=2"


def test_cells_of_several_data_sets_have_no_best(tmp_path: Path) -> None:
    runs = [({"dataset": name, "seed": 0}, {}) for name in ("digits", "cifar10")]
    assert best(cells(read_sweep(make_sweep(tmp_path / "s", runs)))) is None


def test_the_baseline_has_the_same_other_values(tmp_path: Path) -> None:
    grid = [{"schedule": s, "cycles": c, "seed": 0} for s in ("ft", "clr") for c in (1, 2)]
    among = cells(
        read_sweep(make_sweep(tmp_path / "s", [(swept, {}) for swept in [*grid, {"schedule": "llr", "seed": 0}]]))
    )
    found = {cell.name: baseline_of(cell, among, {"schedule": "ft"}) for cell in among}
    assert {name: cell and cell.name for name, cell in found.items()} == {
        "schedule=ft cycles=1": None,  # itself
        "schedule=ft cycles=2": None,
        "schedule=clr cycles=1": "schedule=ft cycles=1",
        "schedule=clr cycles=2": "schedule=ft cycles=2",
        "schedule=llr": None,  # there is no ft without cycles
    }
    assert all(baseline_of(cell, among, {}) is None for cell in among)


SWEPT: list[dict[str, Any]] = [
    {"schedule": "ft", "x": None, "seed": 0},
    {"schedule": "clr", "x": True, "seed": 1},
    {"schedule": "clr", "y": 1e-4, "seed": 1},
]


@pytest.mark.parametrize("legal", [{}, {"schedule": "ft"}, {"x": None}, {"x": True, "schedule": "clr"}, {"y": 0.0001}])
def test_a_legal_baseline(legal: dict[str, Any]) -> None:
    check_baseline(legal, SWEPT)


@pytest.mark.parametrize(
    ("baseline", "says"),
    [
        ({"schedul": "ft"}, "sweep.baseline: schedul is not a swept key beside the seed; these are schedule, x, y"),
        ({"seed": 0}, "sweep.baseline: seed is not a swept key beside the seed; these are schedule, x, y"),
        ({"schedule": "llr"}, "sweep.baseline: no run has schedule=llr; the values of schedule are ft, clr"),
        ({"x": False}, "sweep.baseline: no run has x=false; the values of x are null, true"),
        (
            {"schedule": "ft", "x": True},
            "sweep.baseline: no run has schedule=ft x=true; the values of x there are null",
        ),
    ],
)
def test_an_illegal_baseline_names_what_is_legal(baseline: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_baseline(baseline, SWEPT)
    assert str(error.value) == says
