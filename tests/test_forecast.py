"""The sums of plan=true for a grid: phases once, those that are left, and the time by stored phases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bimp_exp.config.compose import Composed
from bimp_exp.run import keys, plan
from bimp_exp.run.plan import Plan
from bimp_exp.run.process import Process
from bimp_exp.store.phases import Phases
from bimp_exp.sweep import cells as sweep
from bimp_exp.sweep import forecast
from bimp_exp.sweep.forecast import OVERHEAD, Forecast
from tests.conftest import composed

Runs = list[tuple[sweep.Cell, Composed, Plan]]


def grid(root: Path, *fixed: str, cycles: tuple[int, ...] = (1, 2), retry: str = "none") -> Runs:
    """Runs of one and of two cycles: 4 epochs dense, then 2 in all. They have the dense network in common."""
    short = ["model.depth=8", "budget.epochs=6", "budget.dense_epochs=4", f"store.root={root}", "runtime.threads=1"]
    lines = [[*short, *fixed, f"budget.cycles={num}"] for num in cycles]
    made = [Composed(config=composed(*line), choices={}, run_options={"retry": retry, "plan": True}) for line in lines]
    plans = [plan.from_config(each.config) for each in made]
    return list(zip(sweep.cells(lines), made, plans, strict=True))


def facts_of(made: Composed) -> dict[str, Any]:
    with Process() as process:
        return forecast._facts(made.config, {}, process)


def store(runs: Runs, root: Path, number: int, *, seconds: float, phases: slice = slice(None), kind: str = "") -> None:
    """Put phases of run ``number`` into the store, ``seconds`` an epoch each."""
    _, made, planned = runs[number]
    facts = facts_of(made)
    phase_keys = keys.phase_keys(made.config, planned, facts)
    for key, phase in list(zip(phase_keys, planned.phases, strict=True))[phases]:
        about = {"name": "n", "kind": kind or keys.kind(made.config, facts)}
        Phases(root=root, every=0.0).save(
            key, about | {"epochs": phase.phase.epochs, "seconds": seconds * phase.phase.epochs}, {}
        )


def of(runs: Runs, folder: Path) -> Forecast:
    with Process() as process:
        return forecast.forecast_sweep(runs, folder, process)


def test_phases_that_runs_have_in_common_count_once_and_the_time_needs_a_stored_phase(tmp_path: Path) -> None:
    told = of(grid(tmp_path / "store"), tmp_path)
    assert (told.num_runs, told.num_done, told.num_phases, told.num_distinct, told.num_left) == (2, 0, 5, 4, 4)
    assert (told.requested, told.distinct, told.left, told.num_unknown) == (12, 8, 8, 4)
    assert told.seconds == 2 * OVERHEAD
    assert forecast.line(told) == (
        "2 runs, 0 of them done: 12 epochs in 5 phases; 8 epochs in 4 of them differ, 8 in 4 are left to compute, time unknown "
        "until a phase of this kind is stored; nothing was started"
    )


def test_the_time_is_that_of_the_same_method_else_of_another_on_the_same_network(tmp_path: Path) -> None:
    runs, root = grid(tmp_path / "store", "seed=1"), tmp_path / "store"
    other = grid(root)
    kind = keys.without_method(keys.kind(other[0][1].config, facts_of(other[0][1])))
    store(other, root, 0, seconds=5.0, kind=f"{kind} another")
    assert of(runs, tmp_path).seconds == pytest.approx(8 * 5.0 + 2 * OVERHEAD)
    store(other, root, 1, seconds=3.0)  # over the dense phase, which they share
    assert of(runs, tmp_path).seconds == pytest.approx(8 * 3.0 + 2 * OVERHEAD)
    assert "8 in 4 are left to compute, about 28 seconds of one worker; nothing" in forecast.line(of(runs, tmp_path))
    assert of(grid(root, "optim.batch_size=64"), tmp_path).num_unknown == 4


def test_what_is_stored_or_not_needed_is_not_left(tmp_path: Path) -> None:
    runs, root = grid(tmp_path / "store"), tmp_path / "store"
    store(runs, root, 1, seconds=1.0, phases=slice(1, 2))
    told = of(runs, tmp_path)  # cycle 1 of 2 is there; the dense network is not, but the other run needs it
    assert (told.num_left, told.left) == (3, 7)
    (tmp_path / runs[0][0].folder).mkdir()
    (tmp_path / runs[0][0].folder / "result.json").touch()
    told = of(runs, tmp_path)
    assert (told.num_done, told.num_left, told.left) == (1, 1, 1)
    assert told.seconds == pytest.approx(1.0 + OVERHEAD)


def test_a_failed_run_is_left_only_if_it_shall_be_done_again(tmp_path: Path) -> None:
    runs = grid(tmp_path / "store")
    for cell, _, _ in runs:
        (tmp_path / cell.folder).mkdir()
        (tmp_path / cell.folder / "failed.json").write_text('{"kind": "TrainingError", "error": "e"}')
    told = of(runs, tmp_path)
    assert (told.num_failed, told.num_left, told.seconds) == (2, 0, 0)
    assert forecast.line(told) == (
        "2 runs, 0 of them done and 2 failed (sweep.retry=failed does them again): 12 epochs in 5 phases; 8 epochs in 4 of "
        "them differ, 0 in 0 are left to compute; nothing was started"
    )
    assert of(grid(tmp_path / "store", retry="failed"), tmp_path).num_left == 4
