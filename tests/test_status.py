"""The status of a sweep, from folders whose every number is made up, and from a real one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bimp_exp.cli import status
from bimp_exp.errors import DataError
from bimp_exp.lease import Lease
from tests.conftest import ROOT
from tests.test_resume import config
from tests.test_run import SHORT, load, run


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def sweep(folder: Path, runs: list[str]) -> Path:
    cells = {run: {"name": run.replace(",", " "), "swept": {}} for run in runs}
    write(folder / "sweep.json", {"name": folder.name, "command": "", "swept": [], "runs": runs, "cells": cells})
    return folder


def phase(key: str, *, epochs: float, clock: float, evaluating: float = 0.0) -> dict[str, Any]:
    times = {"seconds_training": clock, "seconds_evaluating": evaluating, "images_per_second": None}
    scores = {"train": 1.0, "validation": 1.0, "test": 1.0}
    counts = {"first_step": 0, "num_steps": 1, "num_images": 1, "learning_rate": None, "metrics": scores}
    return {"name": "dense", "key": key, "epochs": epochs, "pruning": None, **times, **counts}


def finish(folder: Path, *phases: dict[str, Any], starts: int = 1, started: str = "2026-11-22T15:00:00+00:00") -> None:
    facts = {"name": folder.name, "choices": {}, "swept": {}, "metric": "accuracy", "provenance": {}}
    write(folder / "run.json", facts | {"started": started, "starts": starts})
    write(folder / "result.json", {"phases": phases, "seconds": 1.0})


def say(folder: Path) -> list[str]:
    return status.text([status.look(folder)])


def test_each_run_is_in_one_state(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s", ["a", "b", "c", "d", "e", "f"])
    finish(folder / "a", phase("k", epochs=3, clock=1))
    write(folder / "a" / "failed.json", {"error": "of an earlier attempt"})
    write(folder / "b" / "failed.json", {"kind": "TrainingError", "error": "the loss is nan\nin step 7"})
    write(folder / "c" / "run.json", {"starts": 1})  # and nobody is at it
    write(folder / "c" / "failed.json", {"kind": "KeyboardInterrupt", "error": "interrupted"})
    write(folder / "f" / "run.json", {"starts": 0})  # taken back, since another computes its next phase
    write(folder / "d" / "lease", {"host": "elsewhere", "pid": 1, "boot": "x", "token": "t"})
    write(folder / "e" / "lease", {"host": "elsewhere", "pid": 1, "boot": "x", "token": "t"})
    os.utime(folder / "e" / "lease", (1, 1))  # not touched for a long time
    shown = say(folder)
    assert shown[:2] == [f"s: {folder}", "6 runs: 3 waiting (1 broken off), 1 running, 1 done, 1 failed"]
    assert "failed: b: the loss is nan in step 7" in shown
    assert [line.split() for line in shown if line.startswith("d ")] == [["d", "elsewhere"]]
    assert not status.look(folder).over


def test_a_run_under_way_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sweep(tmp_path / "s", ["a", "b,c", "d"])
    lease = Lease.take(folder / "a" / "lease")
    other = Lease.take(folder / "b,c" / "lease")
    assert lease
    assert other
    (folder / "a" / "config.yaml").write_text(yaml.safe_dump(config("imp")))  # 200 images: 180 in 6 steps, 4 epochs
    lines = [{"step": i, "phase": "dense", "train_loss": 1.0} for i in range(1000)]
    lines += [{"step": 12, "phase": "dense", "images_per_second": 9.0}, {"step": 18, "phase": "cycle 1"}]
    whole = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "a" / "metrics.jsonl").write_text(whole + '{"step": 19, "pha')
    os.utime(folder / "a" / "metrics.jsonl", (1000, 1000))
    monkeypatch.setattr(status.time, "time", lambda: 1010.0)
    shown = say(folder)
    assert shown[2].split() == ["running", "phase", "epoch", "items/s", "left", "host"]
    name, first, second, epoch, rate, left, host = shown[3].split()
    assert (name, first, second, epoch, rate, host) == ("a", "cycle", "1", "3/4", "9", socket.gethostname())
    assert left == "0:00:10"  # 6 steps are 180 images, at 9 a second, 10 seconds ago
    assert shown[4].split() == ["b", "c", socket.gethostname()]  # has only just begun
    finish(folder / "d", phase("k", epochs=1, clock=10.0, evaluating=10.0))
    left = say(folder)[3].split()[-2]
    assert left == "0:00:30"  # twice as long as training alone, 10 seconds ago
    lease.release()
    other.release()


def test_the_default_is_what_is_not_over_else_the_newest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no sweep"):
        status.current(tmp_path)
    for number, name in enumerate(("old", "new")):
        finish(sweep(tmp_path / name, ["a"]) / "a", phase("k", epochs=1, clock=1))
        os.utime(tmp_path / name / "sweep.json", (number, number))
    assert status.current(tmp_path) == [tmp_path / "new"]
    (tmp_path / "old" / "a" / "result.json").unlink()
    assert status.current(tmp_path) == [tmp_path / "old"]


def test_many_failures_are_not_all_listed(tmp_path: Path) -> None:
    names = [str(number) for number in range(30)]
    folder = sweep(tmp_path / "s", names)
    for name in names:
        write(folder / name / "failed.json", {"kind": "k", "error": "e"})
    assert sum(line.startswith("failed: ") for line in say(folder)) == 20
    assert say(folder)[-1] == "and 10 more that failed"


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "40"}
    line = [sys.executable, "-m", "bimp_exp", "status", *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, env=environment)


def test_a_real_sweep(tmp_path: Path) -> None:
    given = [*SHORT, "model.depth=8", "dataset.subset=200"]
    run(tmp_path, "-m", "schedule=clr,llr", *given, "hydra.sweep.dir=results/sweeps/s")
    for line in (["--watch"], ["results/sweeps/s"], []):
        done = command(tmp_path, *line)
        assert done.returncode == 0, done.stderr
        assert "2 runs: 0 waiting, 0 running, 2 done, 0 failed" in done.stdout
    assert not list((tmp_path / "results/sweeps/s").rglob(".*"))  # it leaves nothing behind
    assert load(tmp_path / "results/sweeps/s/sweep.json")["runs"] == ["clr", "llr"]


@pytest.mark.parametrize("arguments", [["nowhere"], ["--wach"], []])
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    done = command(tmp_path, *arguments)
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert (done.returncode, done.stdout) == (2, "")
