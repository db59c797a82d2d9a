"""Sweeps that are broken off, enlarged, shared between workers and tried again."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from bimp_exp import lease
from bimp_exp.results.writer import RunWriter
from bimp_exp.run.process import Process
from bimp_exp.sweep import worker
from tests.slurm_cluster import wait_for
from tests.test_resume import came_to, config, same

CHOICES = {"dataset": "digits", "model": "resnet20", "method": "imp", "budget": "bimp", "schedule": "allr"}


def sweep(folder: Path, *grid: dict[str, str], overrides: tuple[str, ...] = ()) -> Path:
    """A sweep as the launcher leaves it, with a store of its own."""
    cells, how = {}, {}
    for values in grid:
        name = ",".join(f"{key}={value}" for key, value in values.items())
        given = [f"{key}={value}" for key, value in values.items()]
        cells[name] = {"name": name, "swept": values}
        how[name] = {
            "config": config("imp", "store=shared", f"store.root={folder / 'store'}", *overrides, *given),
            "choices": CHOICES,
            "command": f"run.py -m {name}",
        }
    folder.mkdir(exist_ok=True)
    about = {
        "name": "test",
        "command": "run.py",
        "swept": sorted({k for v in grid for k in v}),
        "runs": list(cells),
        "cells": cells,
    }
    (folder / "sweep.json").write_text(json.dumps(about))
    (folder / "cells.json").write_text(json.dumps(how))
    return folder


def work(folder: Path, **options: Any) -> int:
    """Do what is left of the sweep, as a worker of its own process."""
    with Process() as process:
        return worker.work(folder, process, **options)


GRID = [{"schedule": schedule, "seed": seed} for schedule in ("clr", "llr", "allr") for seed in ("0", "1")]
forking = multiprocessing.get_context("fork")


def trained(folder: Path) -> dict[str, list[float]]:
    """For every phase of the sweep, by its key, the seconds that its runs say it took to train."""
    seconds: dict[str, list[float]] = {}
    for path in folder.glob("*/result.json"):
        for phase in json.loads(path.read_text())["phases"]:
            seconds.setdefault(phase["key"], []).append(phase["seconds_training"])
    return seconds


def test_workers_do_every_run_once_and_every_phase_once_and_survive_one_another(tmp_path: Path) -> None:
    alone = sweep(tmp_path / "alone", *GRID)
    assert work(alone) == 0
    crowd = sweep(tmp_path / "crowd", *GRID)
    workers = [forking.Process(target=work, args=(crowd,)) for _ in range(3)]
    for process in workers:
        process.start()
    wait_for(lambda: any(crowd.glob("*/metrics.jsonl")), 300)
    os.kill(workers[0].pid or 0, signal.SIGKILL)
    for process in workers:
        process.join()
    assert [process.exitcode for process in workers[1:]] == [0, 0]
    for run in (path.parent.name for path in alone.glob("*/result.json")):
        assert came_to(alone / run)[1:][0] == came_to(crowd / run)[1:][0]
        same(alone / run, crowd / run)
    assert len(list(crowd.glob("*/result.json"))) == len(GRID)
    assert trained(crowd).keys() == {path.parent.name for path in (crowd / "store").glob("*/done.pt")}
    assert all(len(set(seconds)) == 1 for seconds in trained(crowd).values())  # one clock: nothing was trained twice
    assert sum(len(seconds) > 1 for seconds in trained(crowd).values()) == 2  # the dense networks of two seeds
    starts = sum(json.loads(path.read_text())["starts"] for path in crowd.glob("*/run.json"))
    assert starts <= len(GRID) + 1  # stepping back from a run whose network another trains is no start


def elsewhere(folder: Path) -> None:
    """A worker whose leases are those of another machine, so that nobody here can see that its process is gone.

    It comes no further than its first epoch.
    """
    lease.platform.node = lambda: "elsewhere"
    RunWriter.append = lambda self, point: signal.pause()  # type: ignore[assignment, method-assign]
    work(folder)


def test_what_a_dead_machine_held_is_done_before_the_last_worker_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.2)
    monkeypatch.setattr(lease, "EXPIRES", 3.0)
    folder = sweep(tmp_path / "s", *GRID[:1])
    first = forking.Process(target=elsewhere, args=(folder,))
    first.start()
    while not (folder / "schedule=clr,seed=0" / "metrics.jsonl").exists():
        assert first.is_alive()
        time.sleep(0.01)
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    assert not list(folder.glob("*/result.json"))
    second = forking.Process(target=work, args=(folder,))
    second.start()
    second.join()
    assert second.exitcode == 0
    assert list(folder.glob("*/result.json"))


def test_nobody_waits_for_a_run_whose_holder_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.2)
    folder = sweep(tmp_path / "s", *GRID[:1])
    held = lease.Lease.take(folder / "schedule=clr,seed=0" / "lease")
    assert held
    with held:
        assert work(folder) == 0  # it comes back
    assert not list(folder.glob("*/result.json"))


def test_a_finished_run_is_left_alone_and_a_larger_sweep_does_what_is_new(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s", *GRID[:2])
    work(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*.json")}
    sweep(folder, *GRID[:3])
    work(folder)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(folder.glob("*/result.json"))) == 3


def test_a_run_records_the_command_of_its_submission(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s", *GRID[:1])
    (name,) = json.loads((folder / "cells.json").read_text())
    assert work(folder) == 0
    assert json.loads((folder / name / "run.json").read_text())["provenance"]["command"] == f"run.py -m {name}"


def test_a_failed_run_stays_failed_and_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = [{"schedule": "clr", "lr.initial": "1e30"}, {"schedule": "llr", "lr.initial": "0.1"}]
    folder = sweep(tmp_path / "s", *grid)
    assert work(folder) == 1
    assert "failed: schedule=clr,lr.initial=1e30: " in capsys.readouterr().err
    bad, good = (folder / ",".join(f"{k}={v}" for k, v in values.items()) for values in grid)
    assert (good / "result.json").exists()
    assert json.loads((bad / "failed.json").read_text())["kind"] == "TrainingError"
    assert work(folder) == 0  # nothing is left to do
    (bad / "failed.json").unlink()  # as sweep.retry=failed does
    assert work(folder) == 1


def test_an_interrupted_run_has_not_failed(tmp_path: Path) -> None:
    for kind in worker.INTERRUPTED:
        (tmp_path / "failed.json").write_text(json.dumps({"kind": kind, "error": "x"}))
        assert worker.pending(tmp_path)
    (tmp_path / "failed.json").write_text(json.dumps({"kind": "RuntimeError", "error": "x"}))
    assert not worker.pending(tmp_path)


def test_first_phases_alone_are_done_each_once(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s", *GRID)
    assert work(folder, first_phase_only=True) == 0
    assert not list(folder.glob("*/result.json"))
    assert len(list((folder / "store").glob("*/done.pt"))) == 2
    work(folder)
    assert len(list(folder.glob("*/result.json"))) == len(GRID)


def test_a_folder_without_a_sweep_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert worker.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'sweep.json'}: absent; give the folder of a sweep\n"
