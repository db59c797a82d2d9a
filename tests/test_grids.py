"""A sweep that is a union of grids: which runs it has, what they are called, and that their table has blanks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from bimp_exp.errors import ConfigError
from bimp_exp.sweep.cells import cells
from hydra_plugins.bimp_exp_grids import expand
from tests.test_run import load, run

METHODS: list[dict[str, Any]] = [
    {"method": "imp,gmp", "sparsity": "0.9,0.95"},
    {"method": "str", "method.initial": "-3,-4"},
]


def runs(params: dict[str, str], grids: list[dict[str, Any]] | None, *arguments: str) -> list[str]:
    """Each run's overrides, as one line."""
    made = expand(OverridesParser.create(), params=params, grids=grids, arguments=arguments)
    return [" ".join(overrides) for overrides in made]


def test_the_grids_follow_each_other_and_share_params() -> None:
    assert runs({"seed": "0,1"}, METHODS) == [
        "method=imp sparsity=0.9 seed=0",
        "method=imp sparsity=0.9 seed=1",
        "method=imp sparsity=0.95 seed=0",
        "method=imp sparsity=0.95 seed=1",
        "method=gmp sparsity=0.9 seed=0",
        "method=gmp sparsity=0.9 seed=1",
        "method=gmp sparsity=0.95 seed=0",
        "method=gmp sparsity=0.95 seed=1",
        "method=str method.initial=-3 seed=0",
        "method=str method.initial=-3 seed=1",
        "method=str method.initial=-4 seed=0",
        "method=str method.initial=-4 seed=1",
    ]


def test_without_grids_it_is_hydras_basic_sweeper() -> None:
    assert runs({"seed": "range(0,2)"}, None, "lr=linear,cosine") == [
        "seed=0 lr=linear",
        "seed=0 lr=cosine",
        "seed=1 lr=linear",
        "seed=1 lr=cosine",
    ]


def test_the_command_line_wins_over_a_grid_and_that_over_params() -> None:
    params = {"seed": "0,1,2", "sparsity": "0.5"}
    assert runs(params, METHODS[:1], "seed=7") == [
        f"method={m} sparsity={s} seed=7" for m in ("imp", "gmp") for s in (0.9, 0.95)
    ]
    assert runs(params, METHODS, "seed=7", "sparsity=0.8") == [
        "method=imp sparsity=0.8 seed=7",
        "method=gmp sparsity=0.8 seed=7",
        "method=str method.initial=-3 seed=7 sparsity=0.8",
        "method=str method.initial=-4 seed=7 sparsity=0.8",
    ]
    assert runs({"seed": "0,1"}, None, "++seed=3") == ["++seed=3"]


def test_what_two_grids_share_is_run_once() -> None:
    grids = [{"method": "imp", "sparsity": "0.9,0.95"}, {"sparsity": "9e-1,0.98", "method": "imp"}]
    assert runs({}, grids) == ["method=imp sparsity=0.9", "method=imp sparsity=0.95", "sparsity=0.98 method=imp"]
    assert runs({}, METHODS, "method=dense", "sparsity=0.5", "method.initial=1") == [
        "method=dense sparsity=0.5 method.initial=1"
    ]


def test_a_repetition_within_a_grid_is_left_for_the_check_that_refuses_it() -> None:
    assert runs({"seed": "1,1"}, None) == ["seed=1", "seed=1"]


def test_values_of_yaml_are_written_as_on_the_command_line() -> None:
    assert runs({}, [{"budget.cycles": None, "conventions.padding_blind_multiply_adds": True, "sparsity": 0.5}]) == [
        "budget.cycles=null conventions.padding_blind_multiply_adds=True sparsity=0.5"
    ]


def test_an_interval_has_no_runs() -> None:
    with pytest.raises(ConfigError, match=r"sparsity=interval\(0,1\): a grid needs values that can be listed"):
        runs({}, [{"sparsity": "interval(0,1)"}])


def test_runs_are_named_by_the_keys_they_have() -> None:
    made = cells([line.split() for line in runs({"seed": "0,1"}, METHODS)])
    assert [cell.name for cell in made[::4]] == [
        "imp sparsity=0.9 seed=0",
        "gmp sparsity=0.9 seed=0",
        "str initial=-3 seed=0",
    ]
    assert made[-1].swept == {"method": "str", "method.initial": -4, "seed": 1}
    assert len({cell.folder for cell in made}) == 12


def test_null_is_a_value_and_absence_is_another() -> None:
    made = cells([["method=imp", "budget.cycles=null"], ["method=imp"]])
    assert [cell.swept for cell in made] == [{"budget.cycles": None}, {}]


def test_a_union_of_grids_from_command_to_table(tmp_path: Path) -> None:
    run(
        tmp_path,
        "-m", "budget.epochs=2", "budget.dense_epochs=1", "budget.cycles=1", "model.depth=8", "dataset.subset=200",
        "tracking=none", "hydra.sweep.dir=out",
        'hydra.sweeper.grids=[{method: imp, sparsity: "0.9,0.95"}, {method: str, method.initial: -3}]',
    )  # fmt: skip
    facts = load(tmp_path / "out" / "sweep.json")
    assert facts["swept"] == ["method", "sparsity", "method.initial"]
    assert facts["runs"] == ["imp,sparsity=0.9", "imp,sparsity=0.95", "str,initial=-3"]
    assert load(tmp_path / "out" / "str,initial=-3" / "run.json")["swept"] == {"method": "str", "method.initial": -3}
    table = (tmp_path / "out" / "summary.md").read_text()
    assert "| imp | 0.95 |  | " in table
    assert "| str |  | -3 | " in table
