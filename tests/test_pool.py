"""Workers that share a machine: the bits of runs that had it for themselves, and deaths of one and of all."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from bimp_exp import cores, lease
from bimp_exp.sweep import pool, worker
from tests.slurm_cluster import wait_for
from tests.test_resume import same
from tests.test_worker import GRID, forking, sweep, work


def test_side_by_side_equals_alone_with_as_many_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads = max(1, cores.usable(hyperthreads=False) // 2)
    alone = sweep(tmp_path / "alone", *GRID[:2], overrides=(f"runtime.threads={threads}",))
    work(alone)
    together = sweep(tmp_path / "together", *GRID[:2], overrides=("runtime.threads=null",))
    assert pool.work(together, 2) == 0
    assert f"2 processes, OMP_NUM_THREADS={threads}" in capfd.readouterr().out
    for path in alone.glob("*/result.json"):
        same(path.parent, together / path.parent.name)
        facts = json.loads((together / path.parent.name / "run.json").read_text())
        assert facts["provenance"]["machine"]["threads"] == threads
    assert len(list(together.glob("*/result.json"))) == 2


def test_one_that_is_killed_is_replaced_and_none_outlives_the_first(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "s", *GRID[:2], overrides=("budget.epochs=9000",))  # no run ends
    first = forking.Process(target=pool.work, args=(folder, 2))
    first.start()

    def pids() -> set[int]:
        return {int(there["pid"]) for path in folder.glob("*/lease") if (there := lease.living(path))}

    wait_for(lambda: len(pids()) == 2, 300)
    killed, _ = before = pids()
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: len(pids()) == 2 and killed not in pids(), 300)
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):  # as SLURM and terminals send them to everybody
        for pid in (after := pids()):
            os.kill(pid, number)
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before | after))
    kinds = {json.loads(path.read_text())["kind"] for path in folder.glob("*/failed.json")}
    assert kinds == {"SystemExit"}  # they left in order
    assert len(worker.left(folder)) == 2


DAEMON = """#!/bin/sh
if [ "$1" = -d ]; then echo "start $CUDA_VISIBLE_DEVICES" >> LOG; else read line; echo "$line" >> LOG; fi
"""


@pytest.mark.parametrize(("serves", "devices", "how"), [("true", "0,1", "through MPS"), ("false", "2,5", "in turns")])
def test_a_daemon_is_started_for_the_gpu_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serves: str, devices: str, how: str
) -> None:
    control = tmp_path / "nvidia-cuda-mps-control"
    control.write_text(DAEMON.replace("LOG", str(tmp_path / "log")))
    control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.setattr(pool, "MPS_PROBE", (serves,))
    with pool.sharing_gpu(os.environ) as (environment, said):
        pipes = environment.get("CUDA_MPS_PIPE_DIRECTORY")
        assert (pipes is not None and Path(pipes).is_dir()) == (serves == "true")
        assert environment["CUDA_VISIBLE_DEVICES"] == devices  # the daemon numbers anew what it sees
        assert how in said
    assert not (pipes and Path(pipes).exists())
    assert (tmp_path / "log").read_text() == "start 2,5\nquit\n"
