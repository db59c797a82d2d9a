"""What a file names is imported only if it is ours or the user has named it: no planted command ever runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bimp_exp.cli import status, store
from bimp_exp.config.trust import NotAllowedError, from_file, modules_named
from bimp_exp.errors import ConfigError
from bimp_exp.lease import Lease
from bimp_exp.sweep import grid, worker
from tests.conftest import ROOT, composed
from tests.test_run import load, run

TINY = [
    "budget.epochs=2", "budget.dense_epochs=1", "budget.cycles=1", "dataset.subset=100", "model.depth=8", "tracking=none",
    "runtime.threads=1",
]  # fmt: skip


def planted(folder: Path) -> dict[str, Any]:
    """A node that makes a file when it is instantiated."""
    return {
        "_target_": "pathlib.Path.touch",
        "_args_": [{"_target_": "pathlib.Path", "_args_": [str(folder / "planted")]}],
    }


def configs(folder: Path) -> dict[str, dict[str, Any]]:
    """Configurations that would run something if they were instantiated, by what is odd in them."""
    good, touch = composed(), planted(folder)
    system = {"_target_": "os.system", "command": f"touch {folder / 'planted'}"}
    return {
        "whole": {**good, **touch},
        **{
            f"as {group}": {**good, group: touch}
            for group in ("dataset", "model", "lr", "tracking", "store", "runtime")
        },
        "nested": {**good, "dataset": {**good["dataset"], "mean": touch}},
        "in a list": {**good, "dataset": {**good["dataset"], "mean": [0.5, [touch]]}},
        "new key": {**good, "more": {"deep": {"er": system}}},
        "through ours": {**good, "dataset": {**system, "_target_": "bimp_exp.dataset.cache.os.system"}},
        "function of ours": {**good, "dataset": {"_target_": "bimp_exp.files.write"}},
        "another group's": {**good, "model": good["dataset"]},
        "arguments": {**good, "dataset": {**good["dataset"], "_args_": [1]}},
        "interpolation": {**good, "dataset": {**good["dataset"], "_target_": "${oc.env:HOME}"}},
        "interpolated value": {**good, "dense_checkpoint": "${oc.env:HOME}"},
        "no name": {**good, "model": {"_target_": ["os.system"]}},
    }


ODD = list(configs(Path()))


@pytest.mark.parametrize("odd", ODD)
def test_what_a_file_must_not_say_is_refused(odd: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^FILE: "):
        from_file(configs(tmp_path)[odd], "FILE")
    assert not (tmp_path / "planted").exists()


def test_endless_yaml_is_one_line() -> None:
    endless: dict[str, Any] = {}
    endless["model"] = endless
    with pytest.raises(ConfigError, match="too many levels"):
        from_file(endless, "FILE")


def test_what_we_write_is_accepted() -> None:
    for line in (
        [],
        ["dataset=cifar10", "model=wrn28_10", "method=gmp", "tracking=none", "store=own"],
        ["dataset=imagenet"],
    ):
        assert from_file(composed(*line), "FILE") == composed(*line)
    older = composed() | {"_target_": "bimp_exp.experiment.Experiment"}
    assert from_file(older, "FILE") == composed()


def test_a_module_is_accepted_once_it_is_named_and_what_it_imports_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trusted_net.py").write_text("import os\nfrom torch.nn import Linear\nclass Net: ...\n")
    own = composed() | {"model": {"_target_": "trusted_net.Net"}}
    with pytest.raises(
        NotAllowedError, match=r"model\._target_=trusted_net\.Net is not of bimp_exp.* --allow trusted_net lets"
    ):
        from_file(own, "FILE", ["trusted"])
    assert from_file(own, "FILE", ["trusted_net"]) == own
    for target in ("trusted_net.os.system", "trusted_net.os.path.join", "trusted_net.Linear", "trusted_net.nothing"):
        with pytest.raises(ConfigError):
            from_file(own | {"model": {"_target_": target}}, "FILE", ["trusted_net"])
    again = own | {"model": {"_target_": "trusted_net.Linear"}}
    assert modules_named([own, composed()]) == ["trusted_net"]
    assert from_file(again, "FILE", modules_named([again])) == again


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two finished runs."""
    folder = tmp_path_factory.mktemp("swept")
    run(folder, "-m", "seed=0,1", *TINY, "hydra.sweep.dir=out")
    return folder / "out"


@pytest.fixture
def sweep(swept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(swept, tmp_path / "sweep"))


def plant(sweep: Path, name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the configuration of a run, which has no result any more, wherever it is written."""
    how = load(sweep / "cells.json")
    how[name]["config"] = change(how[name]["config"])
    (sweep / "cells.json").write_text(json.dumps(how))
    (sweep / name / "config.yaml").write_text(yaml.safe_dump(how[name]["config"]))
    (sweep / name / "result.json").unlink(missing_ok=True)


@pytest.mark.parametrize("group", ["dataset", "model", "tracking"])
def test_a_planted_command_in_a_sweep_is_one_line_and_nothing_is_done(sweep: Path, group: str) -> None:
    plant(sweep, "seed=1", lambda config: {**config, group: planted(sweep)})
    before = sorted(sweep.rglob("*"))
    for words in (
        ["bimp_exp.sweep.worker", str(sweep)],
        ["bimp_exp", "store", "remove", "--unused", "--results", str(sweep), "."],
    ):
        done = command(sweep, *words)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.count("\n") == 1
        assert f"{group}._target_=pathlib.Path.touch is not of bimp_exp" in done.stderr
        assert "--allow pathlib" in done.stderr
    assert sorted(sweep.rglob("*")) == before


def test_a_planted_command_in_the_folder_of_a_run_is_one_line_and_nothing_is_written(sweep: Path) -> None:
    run = sweep / "seed=0"
    config = yaml.safe_load((run / "config.yaml").read_text())
    for group in ("dataset", "model"):
        (run / "config.yaml").write_text(yaml.safe_dump({**config, group: planted(sweep)}))
        before = sorted(sweep.rglob("*"))
        done = command(sweep, "bimp_exp", "export", str(run))
        assert (done.returncode, done.stdout) == (2, "")
        path = run / "config.yaml"
        assert done.stderr.startswith(f"error: {path}: {group}._target_=pathlib.Path.touch is not of bimp_exp")
        assert done.stderr.count("\n") == 1
        assert sorted(sweep.rglob("*")) == before


def test_the_status_of_a_planted_run_says_so_beside_the_others(sweep: Path) -> None:
    plant(sweep, "seed=1", lambda config: {**config, "lr": planted(sweep)})
    lease = Lease.take(sweep / "seed=1" / "lease")
    assert lease is not None
    with lease:
        shown = status.text([status.look(sweep)])
    assert any(line.startswith("no progress: ") and "lr._target_=pathlib.Path.touch" in line for line in shown)
    assert shown[1] == "2 runs: 0 waiting, 1 running, 1 done, 0 failed"
    assert not (sweep / "planted").exists()


def test_a_run_of_another_version_needs_nothing_but_one_of_an_unknown_module_is_an_error(sweep: Path) -> None:
    plant(sweep, "seed=1", lambda config: {**config, "lr": {"_target_": "bimp_exp.lr.Forgotten"}})
    assert store.needs(sweep, keep_finished=False, allow=()) == {None}
    plant(sweep, "seed=1", lambda config: {**config, "lr": {"_target_": "nowhere_at_all.Rate"}})
    with pytest.raises(NotAllowedError, match="--allow nowhere_at_all"):
        store.needs(sweep, keep_finished=False, allow=())
    assert store.needs(sweep, keep_finished=False, allow=["nowhere_at_all"]) == {None}  # it cannot be done here


def test_a_grid_does_not_start_where_an_earlier_one_left_runs_of_another_module(sweep: Path) -> None:
    plant(sweep, "seed=1", lambda config: {**config, "lr": {"_target_": "fractions.Fraction"}})
    with pytest.raises(
        NotAllowedError, match=r"seed=1: lr\._target_=fractions\.Fraction .*worker .*sweep --allow MODULE"
    ):
        grid._check_others(sweep, {"seed=0"}, [])
    grid._check_others(sweep, {"seed=0", "seed=1"}, [])
    assert list(worker.checked(sweep, ["fractions"])) == ["seed=1"]
