"""MLflow holds every point once, also where many start at once, the server dies, or a run is repeated from an older state.

BIMP_PROCESSES=32 is the full size of the first test.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bimp_exp.results.reader import read_run
from bimp_exp.tracking import entries
from bimp_exp.tracking.mirror import Mirror
from bimp_exp.tracking.mlflow_store import ENVIRONMENT
from tests.conftest import ROOT
from tests.report.fake import add_lines, make_run, make_sweep
from tests.test_tracking import FORKS, client, on_disk, only, points, runs

PROCESSES = int(os.environ.get("BIMP_PROCESSES", "8"))


def wanted(folder: Path) -> list[tuple[str, int, float]]:
    """Every point that MLflow shall have of the run: its lines and, once it is finished, its final figures."""
    run = read_run(folder)
    final = {} if run.result is None else entries.final_metrics(run)
    return sorted(on_disk(folder) + [(key, final["step"], value) for key, value in entries.numbers(final).items()])


def named(mirror: Mirror) -> dict[str, Any]:
    """The runs of the experiment; a name occurs once."""
    found = runs(mirror)
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found)
    return by_name


def test_many_start_at_once_on_a_new_database_and_experiment(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", [({"seed": seed}, {"test": 0.01 * seed}) for seed in range(PROCESSES)])
    folders = [sweep / f"seed={seed}" for seed in range(PROCESSES)]
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS, uri, *map(str, folders)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
    mirror = Mirror(uri=uri, experiment="e")
    found = named(mirror)
    assert found.keys() == {"s", "all seeds", *(folder.name for folder in folders)}
    assert found["all seeds"].data.tags["mlflow.parentRunId"] == found["s"].info.run_id
    for folder in folders:
        assert points(mirror, found[folder.name]) == wanted(folder)
        assert found[folder.name].data.tags["mlflow.parentRunId"] == found["all seeds"].info.run_id
    elsewhere = [e for e in client(mirror)[0].search_experiments() if e.name != "e"]
    assert not client(mirror)[0].search_runs([experiment.experiment_id for experiment in elsewhere])


class Server:
    """An MLflow server of our own on this machine, whose processes are a group of their own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._command = [
            sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
            "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, **ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(self._command, env=environment, start_new_session=True, **quiet)  # type: ignore[call-overload]
        while self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=60)
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the server does not start")

    def kill(self) -> None:
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.kill()


def test_a_server_that_dies_and_comes_back_has_every_point_once(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")  # a server on a busy machine lives, too
    sweep = make_sweep(tmp_path / "s", [({"seed": seed}, {"status": "running"}) for seed in range(3)])
    folders = [sweep / f"seed={seed}" for seed in range(3)]
    mirror = Mirror(uri=server.uri, experiment="e")

    def go_on(first: int, rounds: int) -> None:
        for step in range(first, first + rounds):
            for folder in folders:
                add_lines(folder, [{"step": step, "phase": "dense", "train_loss": 1 / step, "learning_rate": 0.1}])
                mirror.sync(folder)
            mirror.sync_sweep(sweep, over=False)

    server.start()
    go_on(100, 2)
    assert not caplog.records
    killer = threading.Timer(0.1, server.kill)  # in the midst of a sync
    killer.start()
    go_on(102, 3)
    killer.join()
    go_on(105, 1)
    assert mirror.behind
    caplog.clear()
    server.start()
    with caplog.at_level(logging.WARNING):
        go_on(106, 1)
    assert not mirror.behind
    found = named(mirror)
    assert found.keys() == {"s", "all seeds", *(folder.name for folder in folders)}
    for folder in folders:
        assert points(mirror, found[folder.name]) == wanted(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for several tests, of which each has its own experiment."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.mark.parametrize("seen_shorter", [True, False])
@pytest.mark.parametrize("rate", [100.0, 90.0])
def test_a_run_that_goes_on_from_an_older_checkpoint(
    store: str, tmp_path: Path, rate: float, seen_shorter: bool
) -> None:
    """Its points come again: with the same values, or with another speed; MLflow may have looked in between or not."""
    folder = make_run(tmp_path / "r", status="running")
    (folder / "metrics.jsonl").write_text("")
    lines = [{"step": i, "phase": "dense", "train_loss": 1 / i, "images_per_second": 100.0} for i in range(1, 41)]
    mirror = Mirror(uri=store, experiment=tmp_path.name)
    add_lines(folder, lines[:30])
    mirror.sync(folder)
    (folder / "metrics.jsonl").write_text("")
    add_lines(folder, lines[:10])
    if seen_shorter:
        mirror.sync(folder)
        assert points(mirror, only(mirror)) == wanted(folder)
    add_lines(folder, [line | {"images_per_second": rate} for line in lines[10:]])
    mirror.sync(folder)
    assert points(mirror, only(mirror)) == wanted(folder)
    assert len(wanted(folder)) == 80


def sync(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "bimp_exp", "sync", *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, env=environment)


def test_a_command_mirrors_all_below_a_folder(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "results" / "s", [({"seed": 0}, {}), ({"seed": 1}, {"status": "running"})])
    single = make_run(tmp_path / "results" / "single" / "r")
    for folder in (sweep / "seed=0", sweep / "seed=1"):
        with (folder / "config.yaml").open("a") as file:
            file.write(
                "tracking: {_target_: bimp_exp.tracking.mlflow.MLflow, uri: 'sqlite:///own.db', experiment: own}\n"
            )
    with (single / "config.yaml").open("a") as file:
        file.write("tracking: {_target_: bimp_exp.tracking.mlflow.NoTracking}\n")
    done = sync(tmp_path, "results")
    assert (done.returncode, done.stderr) == (0, "")
    note = "; 1 runs have no store: give --uri and --experiment"
    assert done.stdout == f"s: 1 cell, 2 runs\n3 runs, 1 sweeps: 0 could not be mirrored{note}\n"
    mirror = Mirror(uri=f"sqlite:///{tmp_path}/own.db", experiment="own")
    assert named(mirror).keys() == {"s", "all seeds", "seed=0", "seed=1"}
    assert points(mirror, named(mirror)["seed=0"]) == wanted(sweep / "seed=0")

    done = sync(tmp_path, "results/single", "--uri", f"sqlite:///{tmp_path}/own.db", "--experiment", "given")
    assert done.stdout == "1 runs, 0 sweeps: 0 could not be mirrored\n"
    assert named(Mirror(uri=f"sqlite:///{tmp_path}/own.db", experiment="given")).keys() == {"r"}

    done = sync(tmp_path, "results/single", "--uri", "http://127.0.0.1:9", "--experiment", "given")
    assert done.returncode == 1
    assert done.stdout == "1 runs, 0 sweeps: 1 could not be mirrored\n"
    assert len(done.stderr.splitlines()) == 1

    done = sync(tmp_path, "nowhere")
    assert (done.returncode, done.stderr.count("\n"), done.stderr[:15]) == (2, 1, "error: nowhere:")
