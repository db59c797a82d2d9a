"""Launchers and sweepers under every name that users type, by the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_run import load, run

TINY = [
    "budget.epochs=2",
    "budget.dense_epochs=1",
    "budget.cycles=1",
    "model.depth=8",
    "dataset.subset=200",
    "tracking=none",
]
NAMES = ["hydra/launcher=submitit_local", "hydra/launcher=basic", "hydra/sweeper=basic"]


@pytest.mark.parametrize("name", NAMES)
def test_a_second_sweep_runs_into_no_folder_of_the_first(tmp_path: Path, name: str) -> None:
    """Under these names, Hydra's own launchers put the jobs of both sweeps into results/sweeps/0 and 1."""
    for grid in ("seed=0,1", "sparsity=0.5,0.9"):
        run(tmp_path, "-m", *TINY, name, grid)
    sweeps = {path.parent: load(path) for path in (tmp_path / "results" / "sweeps").glob("*/sweep.json")}
    assert sorted(facts["swept"] for facts in sweeps.values()) == [["seed"], ["sparsity"]]
    for folder, facts in sweeps.items():
        for name in facts["runs"]:
            assert load(folder / name / "result.json")["final"]["test"] > 0
            assert load(folder / name / "run.json")["provenance"]["command"] == facts["command"]
        assert (folder / "summary.csv").exists()


def test_processes_of_a_pool_record_the_command_that_was_given(tmp_path: Path) -> None:
    given = ["-m", *TINY, "seed=0,1", "hydra/launcher=submitit_local", "hydra.launcher.jobs=2"]
    done = run(tmp_path, *given)
    assert "2 processes, OMP_NUM_THREADS" in done.stdout
    facts = [load(path) for path in (tmp_path / "results").glob("sweeps/*/*/run.json")]
    assert [each["provenance"]["command"] for each in facts] == [f"run.py {' '.join(given)}"] * 2


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5", "hydra.launcher.mem_gb=4"],
         "hydra.launcher.timeout_min=5, hydra.launcher.mem_gb=4: no effect without SLURM"),
        (["hydra.launcher.gpus_per_node=1"], "hydra.launcher.gpus_per_node=1: no effect without SLURM"),
        (["hydra.launcher.jobs=0"], "hydra.launcher.jobs=0 must be at least 1"),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.packed=0"], "hydra.launcher.packed=0 must be at least 1"),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.nodes=2"], "hydra.launcher.nodes=2 must be 1"),
        (["hydra/launcher=slurm", "hydra.launcher.submitit_folder=a/%j"], "must be a plain folder"),
        (["hydra/launcher=basic", "hydra.launcher.partition=gpu"], "no such key: hydra.launcher.partition"),
        (["hydra/sweeper=basic", "hydra.sweeper.max_batch_size=1"], "max_batch_size must be null"),
    ],
)  # fmt: skip
def test_what_would_have_no_effect_is_refused_in_a_line(tmp_path: Path, given: list[str], error: str) -> None:
    done = run(tmp_path, "-m", *TINY, "seed=0,1", *given, expect=2)
    (line,) = done.stderr.splitlines()
    assert error in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given",
    [
        "hydra/launcher=slurm",
        "hydra.launcher.jobs=2",
        "+hydra.launcher.x=1",
        "hydra/sweeper=basic",
        "hydra.sweep.dir=x",
    ],
)
def test_a_key_of_sweeps_without_m_does_not_train_here(tmp_path: Path, given: str) -> None:
    done = run(tmp_path, *TINY, given, expect=2)
    (line,) = done.stderr.splitlines()
    assert line == f"error: {given} has no effect on a single run: add -m to make it a sweep"
    assert not list(tmp_path.iterdir())


def test_a_launcher_or_a_sweeper_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """As a plugin for joblib or Optuna would be, were it installed."""
    plugin = tmp_path / "more" / "hydra_plugins" / "others.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(OTHERS)
    folder = tmp_path / "work"
    folder.mkdir()
    for given, error in (
        (["hydra/launcher=others"], "hydra/launcher=others: choose local or slurm"),
        (["hydra/sweeper=others"], "hydra/sweeper=others: choose grids"),
        (["hydra/launcher=others", "hydra/sweeper=others"], "hydra/launcher=others: choose local or slurm"),
    ):
        done = run(folder, "-m", *TINY, "seed=0,1", *given, expect=2, path=tmp_path / "more")
        assert error in done.stderr
        assert not list(folder.rglob("result.json"))


OTHERS = """
from dataclasses import dataclass
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore

@dataclass
class LauncherConf:
    _target_: str = "hydra_plugins.others.Others"

@dataclass
class SweeperConf:
    _target_: str = "hydra_plugins.others.OthersSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None

class Others(BasicLauncher): ...

class OthersSweeper(BasicSweeper): ...

ConfigStore.instance().store(group="hydra/launcher", name="others", node=LauncherConf, provider="others")
ConfigStore.instance().store(group="hydra/sweeper", name="others", node=SweeperConf, provider="others")
"""
