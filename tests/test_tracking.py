"""MLflow holds what is on disk, exactly, whatever was repeated, cut off, lost or unreachable in between."""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bimp_exp.errors import ConfigError
from bimp_exp.results.reader import read_metrics
from bimp_exp.tracking.mirror import Mirror
from bimp_exp.tracking.mlflow import NoTracking
from tests.conftest import ROOT
from tests.report.fake import add_lines, make_run, make_sweep


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests of this file (making it takes a second); each has its own experiment."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def mirror(uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Mirror]:
    yield Mirror(uri=uri, experiment=tmp_path.name)
    assert not caplog.records, "a swallowed failure"


def client(mirror: Mirror) -> tuple[Any, str]:
    return mirror.mlflow.connect()


def runs(mirror: Mirror) -> list[Any]:
    return list(client(mirror)[0].search_runs([client(mirror)[1]]))


def only(mirror: Mirror) -> Any:
    (run,) = runs(mirror)
    return run


def points(mirror: Mirror, run: Any) -> list[tuple[str, int, float]]:
    """Every point of the run, with repetitions."""
    history = client(mirror)[0].get_metric_history
    return sorted((p.key, p.step, p.value) for key in run.data.metrics for p in history(run.info.run_id, key))


def on_disk(folder: Path) -> list[tuple[str, int, float]]:
    return sorted(
        (key, record["step"], value)
        for record in read_metrics(folder)
        for key, value in record.items()
        if key not in ("step", "phase")
    )


def test_holds_exactly_the_points_after_each_sync(mirror: Mirror, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", status="running")
    for step in range(100, 104):
        mirror.sync(folder)
        mirror.sync(folder)
        assert points(mirror, only(mirror)) == on_disk(folder)
        add_lines(folder, [{"step": step, "phase": "dense", "train_loss": 1.0}])


def test_equal_values_at_one_step_are_two_points(mirror: Mirror, tmp_path: Path) -> None:
    """A resumed run may write a step again; the mirror is of the file, not of what it should have been."""
    folder = make_run(tmp_path / "r", status="running")
    add_lines(folder, [{"step": 7, "phase": "dense", "train_loss": 0.5}] * 2)
    mirror.sync(folder)
    assert points(mirror, only(mirror)).count(("train_loss", 7, 0.5)) == 2


def test_more_points_than_fit_in_a_batch(mirror: Mirror, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", status="running")
    add_lines(folder, [{"step": i, "phase": "dense", "a": i, "b": -i} for i in range(1100)])
    mirror.sync(folder)
    assert points(mirror, only(mirror)) == on_disk(folder)


def test_what_is_no_finite_number_is_left_out(mirror: Mirror, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", theoretical_speedup="inf")
    (folder / "metrics.jsonl").write_text('{"step": 1, "phase": "dense", "a": null, "b": "inf", "c": NaN, "d": 2}\n')
    mirror.sync(folder)
    run = only(mirror)
    assert run.data.metrics["d"] == 2
    assert {"a", "b", "c", "theoretical_speedup"}.isdisjoint(run.data.metrics)


@pytest.mark.parametrize("tag", ["bimp.mirrored", "bimp.announced"])
def test_lost_bookkeeping_doubles_nothing(mirror: Mirror, tmp_path: Path, tag: str) -> None:
    """Cut off between writing points and counting them, the next sync writes them again."""
    folder = make_run(tmp_path / "r")
    mirror.sync(folder)
    before = points(mirror, only(mirror))
    client(mirror)[0].delete_tag(only(mirror).info.run_id, tag)
    (folder / "mlflow.json").write_text('{"run_id": "to')
    mirror.sync(folder)
    assert points(mirror, only(mirror)) == before


def test_cut_off_in_the_middle_of_the_batches(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_run(tmp_path / "r", status="running")
    add_lines(folder, [{"step": i, "phase": "dense", "a": i} for i in range(1500)])
    connection, calls = client(mirror)[0], []
    log_batch = connection.log_batch

    def dying(run_id: str, metrics: Any = (), **others: Any) -> None:
        calls.append(len(metrics))
        if calls.count(1000) == 1 and metrics and len(metrics) < 1000:
            raise OSError("the disk is full")
        log_batch(run_id, metrics=metrics, **others)

    monkeypatch.setattr(connection, "log_batch", dying)
    mirror.sync(folder)
    assert "the disk is full" in caplog.text
    caplog.clear()
    assert len(points(mirror, only(mirror))) == 1000
    monkeypatch.undo()
    mirror.sync(folder)
    assert points(mirror, only(mirror)) == on_disk(folder)


def test_a_run_whose_history_changed_is_replaced(mirror: Mirror, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", status="running")
    mirror.sync(folder)
    old = only(mirror)
    (folder / "metrics.jsonl").write_text('{"step": 1, "phase": "dense", "train_loss": 3.0}\n')
    mirror.sync(folder)
    assert points(mirror, only(mirror)) == [("train_loss", 1, 3.0)]
    assert client(mirror)[0].get_run(old.info.run_id).info.lifecycle_stage == "deleted"


def test_a_replacement_cut_off_leaves_one_run(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_run(tmp_path / "r", status="running")
    mirror.sync(folder)
    (folder / "metrics.jsonl").write_text('{"step": 1, "phase": "dense", "train_loss": 3.0}\n')
    monkeypatch.setattr(client(mirror)[0], "log_batch", None)  # fails once the new run is made
    mirror.sync(folder)
    assert caplog.records
    caplog.clear()
    monkeypatch.undo()
    mirror.sync(folder)
    assert points(mirror, only(mirror)) == [("train_loss", 1, 3.0)]


def test_a_run_that_only_looks_like_ours_is_left_alone(mirror: Mirror, tmp_path: Path) -> None:
    """Another machine may have a folder of the same path on the same server."""
    folder = make_run(tmp_path / "r")
    mirror.sync(folder)
    theirs = only(mirror)
    (folder / "mlflow.json").unlink()
    (folder / "metrics.jsonl").write_text('{"step": 1, "phase": "dense", "train_loss": 3.0}\n')
    mirror.sync(folder)
    assert len(runs(mirror)) == 2
    assert points(mirror, client(mirror)[0].get_run(theirs.info.run_id)) == points(mirror, theirs)


def test_changed_parameters_replace_the_run(mirror: Mirror, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r")
    mirror.sync(folder)
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("epochs: 10", "epochs: 20"))
    mirror.sync(folder)
    assert only(mirror).data.params["budget.epochs"] == "20"
    names = [a.path for a in client(mirror)[0].list_artifacts(only(mirror).info.run_id)]
    assert names == ["config.yaml", "model.pt", "result.json", "run.json"]  # all again


def test_a_deleted_run_comes_back_whole(mirror: Mirror, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r")
    mirror.sync(folder)
    before = points(mirror, only(mirror))
    client(mirror)[0].delete_run(only(mirror).info.run_id)
    mirror.sync(folder)
    assert points(mirror, only(mirror)) == before


def test_finished_run(mirror: Mirror, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "schedule=allr", swept={"schedule": "allr"}, cycles=2, test=0.9)
    (folder / "plots").mkdir()
    (folder / "plots" / "accuracy.png").write_bytes(b"png")
    mirror.sync(folder)
    run = only(mirror)
    assert (run.info.run_name, run.info.status) == ("schedule=allr", "FINISHED")
    assert run.info.start_time == 1795359600000  # 2026-11-22T15:00:00Z
    assert run.info.end_time == int((folder / "result.json").stat().st_mtime * 1000)
    assert run.data.params == {
        "budget.cycles": "2",
        "budget.epochs": "10",
        "dataset": "digits",
        "lr.milestones": "[3, 6]",
        "schedule": "allr",
        "seed": "0",
    }
    final = {"final_test_accuracy": 0.9, "final_sparsity": 0.75, "theoretical_speedup": 2.0}
    final |= {"pruning_stability": 0.6, "epochs_used": 8.0}
    assert final.items() <= run.data.metrics.items()
    tags = {"bimp.git.commit": "abc123", "bimp.git.dirty": "False", "bimp.machine.host": "node1"}
    tags |= {"bimp.data_hash": "d4", "bimp.run_dir": folder.as_uri(), "mlflow.source.git.commit": "abc123"}
    assert tags.items() <= run.data.tags.items()
    assert "mlflow.parentRunId" not in run.data.tags
    artifacts = client(mirror)[0].list_artifacts
    assert [a.path for a in artifacts(run.info.run_id)] == [
        "config.yaml",
        "model.pt",
        "plots",
        "result.json",
        "run.json",
    ]
    assert [a.path for a in artifacts(run.info.run_id, "plots")] == ["plots/accuracy.png"]
    assert run.info.artifact_uri.startswith(f"{mirror.mlflow.database.parent.as_uri()}/mlartifacts/")  # type: ignore[union-attr]


def test_only_changed_artifacts_are_copied_again(mirror: Mirror, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r")
    mirror.sync(folder)
    copies = Path(only(mirror).info.artifact_uri.removeprefix("file://"))
    (copies / "model.pt").write_bytes(b"untouched")
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text() + "# seen\n")
    mirror.sync(folder)
    assert (copies / "model.pt").read_bytes() == b"untouched"
    assert (copies / "config.yaml").read_text().endswith("# seen\n")


def test_status_follows_the_files(mirror: Mirror, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", status="failed")
    mirror.sync(folder)
    assert only(mirror).info.status == "FAILED"
    assert only(mirror).data.tags["bimp.error"] == "budget.cycles: 0 is not legal"
    (folder / "failed.json").unlink()
    mirror.sync(folder)
    assert only(mirror).info.status == "RUNNING"
    assert only(mirror).data.tags["bimp.error"] == ""
    (folder / "result.json").write_text((make_run(tmp_path / "other") / "result.json").read_text())
    mirror.sync(folder)
    assert only(mirror).info.status == "FINISHED"


def test_children_of_a_sweep(mirror: Mirror, tmp_path: Path) -> None:
    runs_of = [({"schedule": s, "seed": 0}, {"status": "running" if s == "clr" else "finished"}) for s in ("ft", "clr")]
    sweep = make_sweep(tmp_path / "table", runs_of)
    folders = [sweep / "schedule=ft seed=0", sweep / "schedule=clr seed=0"]
    mirror.sync(folders[0])  # a child may come before its parent was asked for
    mirror.sync_sweep(sweep, over=False)
    mirror.sync(folders[1])
    named = {run.info.run_name: run for run in runs(mirror)}
    parent = named.pop("table")
    above = {name: run.data.tags["mlflow.parentRunId"] for name, run in named.items()}
    ids = {name: run.info.run_id for name, run in named.items()}
    for cell in ("schedule=ft", "schedule=clr"):
        assert above.pop(cell) == parent.info.run_id
        assert above.pop(f"{cell} seed=0") == ids[cell]
    assert not above
    assert parent.info.status == "RUNNING"
    assert parent.data.params == {"schedule": "ft, clr", "seed": "0"}

    (sweep / "summary.csv").write_text("n\n2\n")
    (folders[1] / "failed.json").write_text('{"error": "e", "kind": "k"}')
    mirror.sync_sweep(sweep, over=False)
    parent = client(mirror)[0].get_run(parent.info.run_id)
    assert parent.info.status == "FAILED"
    names = [a.path for a in client(mirror)[0].list_artifacts(parent.info.run_id)]
    assert names == ["summary.csv", "sweep.json"]


def test_an_extended_sweep_keeps_its_children(mirror: Mirror, tmp_path: Path) -> None:
    """Params cannot be changed, so the parent is made anew, and the finished children follow."""
    sweep = make_sweep(tmp_path / "s", [({"seed": 0}, {})])
    mirror.sync(sweep / "seed=0")
    mirror.sync_sweep(sweep, over=False)
    make_run(sweep / "seed=1", swept={"seed": 1})
    facts = json.loads((sweep / "sweep.json").read_text())
    (sweep / "sweep.json").write_text(json.dumps(facts | {"runs": ["seed=0", "seed=1"]}))
    mirror.sync_sweep(sweep, over=False)
    named = {run.info.run_name: run for run in runs(mirror)}
    assert set(named) == {"s", "all seeds", "seed=0"}
    assert named["s"].data.params == {"seed": "0, 1"}
    assert named["all seeds"].data.tags["mlflow.parentRunId"] == named["s"].info.run_id
    assert named["seed=0"].data.tags["mlflow.parentRunId"] == named["all seeds"].info.run_id


FORKS = """
import os, sys
from pathlib import Path
from bimp_exp.tracking.mlflow_store import ENVIRONMENT
from bimp_exp.tracking.mirror import Mirror
os.environ.update(ENVIRONMENT)
import mlflow.store.tracking.sqlalchemy_store  # once for all
for folder in sys.argv[2:]:
    if os.fork() == 0:
        Mirror(uri=sys.argv[1], experiment="e").sync(Path(folder))
        os._exit(0)
for _ in sys.argv[2:]:
    os.wait()
"""


def test_many_processes_make_a_database_at_once(tmp_path: Path) -> None:
    """Eight runs of one sweep: one schema, one experiment, one parent, one cell, and every run's points."""
    sweep = make_sweep(tmp_path / "s", [({"seed": seed}, {"test": 0.1 * seed}) for seed in range(8)])
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    folders = [str(sweep / f"seed={seed}") for seed in range(8)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS, uri, *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("", "")  # neither warnings nor MLflow's own log
    mirror = Mirror(uri=uri, experiment="e")
    named = {run.info.run_name: run for run in runs(mirror)}
    assert set(named) == {"s", "all seeds", *(f"seed={seed}" for seed in range(8))}
    for seed in range(8):
        assert set(on_disk(sweep / f"seed={seed}")) <= set(points(mirror, named[f"seed={seed}"]))
    with sqlite3.connect(tmp_path / "new" / "mlflow.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        names = database.execute("SELECT name FROM experiments ORDER BY name").fetchall()
        assert names == [("Default",), ("e",)]  # the first is MLflow's own


def test_an_unreachable_server_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_run(tmp_path / "r")
    mirror = Mirror(uri="http://127.0.0.1:9", experiment="e")  # nothing listens on the discard port
    with caplog.at_level(logging.INFO):
        mirror.sync(folder)
        mirror.sync(folder)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert str(folder) in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_later_sync_catches_up(mirror: Mirror, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_run(tmp_path / "r")
    facts = (folder / "run.json").read_text()
    (folder / "run.json").write_text("{")
    mirror.sync(folder)
    assert "run.json: not JSON" in caplog.text
    caplog.clear()
    (folder / "run.json").write_text(facts)
    mirror.sync(folder)
    assert set(on_disk(folder)) <= set(points(mirror, only(mirror)))


@pytest.mark.parametrize(
    "uri", ["mlruns", "file:///tmp/x", "sqlite:mlflow.db", "sqlite://", "sqlite:///", "http://", ""]
)
def test_illegal_uri(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.uri: .* is not legal; give sqlite:///FILE"):
        Mirror(uri=uri, experiment="e")


def test_relative_database_starts_at_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mirror = Mirror(uri="sqlite:///results/mlflow.db", experiment="e")
    monkeypatch.chdir("/")
    assert mirror.mlflow.uri == f"sqlite:///{tmp_path}/results/mlflow.db"
    assert Mirror(uri=f"sqlite:///{tmp_path}/x.db", experiment="e").mlflow.database == tmp_path / "x.db"


def test_nothing_does_nothing(tmp_path: Path) -> None:
    NoTracking().sync(tmp_path)
    NoTracking().sync_sweep(tmp_path, over=True)
    assert not list(tmp_path.iterdir())


def test_import_needs_neither_mlflow_nor_torch() -> None:
    code = "import sys, bimp_exp.tracking.mlflow as t; t.MLflow(uri='sqlite:///x.db', experiment='e');"
    code += "print(sorted({'mlflow', 'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
