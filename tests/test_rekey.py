"""What an older version has stored is found again under its present name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from bimp_exp.run import execute, keys
from bimp_exp.run.process import Process
from bimp_exp.store import phases as store
from bimp_exp.sweep import single
from tests.conftest import composed

TINY = [
    "dataset.subset=100", "model.depth=8", "optim.batch_size=30", "runtime.threads=1", "tracking=none", "budget.epochs=3",
    "budget.dense_epochs=1", "budget.cycles=2",
]  # fmt: skip


def configured(folder: Path, schedule: str) -> dict[str, Any]:
    return composed(*TINY, f"store.root={folder / 'phases'}", f"schedule={schedule}")


def do(folder: Path, schedule: str) -> list[dict[str, Any]]:
    """The phases of a run in FOLDER/results/SCHEDULE, as in result.json."""
    config, run = configured(folder, schedule), folder / "results" / schedule
    identity = {"name": "test", "choices": {}, "swept": {}, "metric": "accuracy"}
    with Process() as process:
        single.run(config, run, identity, Console(quiet=True), process, command="test")
    phases: list[dict[str, Any]] = json.loads((run / "result.json").read_text())["phases"]
    return phases


def rekey(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "bimp_exp", "store", "rekey", "phases", "--results", "results", *options]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store in which a version with another rule, of the same numbers, has kept the phases of two runs."""
    with monkeypatch.context() as patch:
        patch.setattr(keys, "ALGORITHM", -1)
        patch.setattr(execute, "RULE", 1)
        for schedule in ("allr", "clr"):
            do(tmp_path, schedule)
    return tmp_path


def test_renamed_phases_are_taken_over_and_none_is_computed_again(old: Path) -> None:
    before = json.loads((old / "results" / "clr" / "result.json").read_text())["phases"]
    said = rekey(old)
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[-1] == "renamed 5 phases"  # the dense one is common
    for folder in (old / "results").iterdir():
        for file in folder.iterdir():
            file.unlink() if file.is_file() else None
    after = do(old, "clr")
    assert [p["key"] for p in after] != [p["key"] for p in before]
    assert [p["seconds_training"] for p in after] == [p["seconds_training"] for p in before]  # the clock of the old run
    assert [p["metrics"] for p in after] == [p["metrics"] for p in before]
    assert len(list((old / "phases").iterdir())) == 5
    assert all(store.read(path, path.parent.name) for path in (old / "phases").glob("*/done.pt"))
    assert rekey(old).stdout.splitlines()[-1] == "renamed 0 phases"


def test_a_dry_run_changes_nothing(old: Path) -> None:
    before = sorted(path.name for path in (old / "phases").iterdir())
    assert rekey(old, "--dry-run").stdout.splitlines()[-1] == "would rename 5 phases"
    assert sorted(path.name for path in (old / "phases").iterdir()) == before


def test_phases_of_this_rule_keep_their_names_though_the_code_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their code may compute other numbers."""
    with monkeypatch.context() as patch:
        patch.setattr(keys, "ALGORITHM", -1)
        do(tmp_path, "allr")
    assert rekey(tmp_path).stdout.splitlines()[-1] == "renamed 0 phases"


def test_a_run_whose_file_names_a_strangers_module_tells_nothing_and_the_others_do(old: Path) -> None:
    path = old / "results" / "allr" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["budget"] = {"_target_": "pathlib.Path.touch", "self": str(old / "made")}
    path.write_text(yaml.safe_dump(config))
    said = rekey(old)
    assert "pathlib.Path.touch" in said.stdout
    assert said.stdout.splitlines()[-1] == "renamed 3 phases"
    assert not (old / "made").exists()


def test_what_was_renamed_still_counts_as_needed_by_the_finished_run(old: Path) -> None:
    rekey(old)
    line = [sys.executable, "-m", "bimp_exp", "store", "remove", "phases", "--unused", "--keep-finished", "--dry-run"]
    said = subprocess.run([*line, "--results", "results"], cwd=old, capture_output=True, text=True)
    assert said.stdout.splitlines()[-1].startswith("would remove 0 phases"), said.stderr
