"""A run in MLflow for each cell of a sweep: what the results say, once, whatever was cut off, repeated or came in which order."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bimp_exp.results.reader import read_run
from bimp_exp.tracking.mirror import Mirror
from tests.conftest import ROOT
from tests.report.fake import make_sweep
from tests.test_run import run
from tests.test_tracking import client, points
from tests.test_tracking_stress import named

T2 = 4.302652729911275  # Student's t, 97.5 %, two degrees of freedom; of one degree it is 12.70620
FT, CLR = "schedule=ft", "schedule=clr"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests of this file; each has its own experiment."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def mirror(uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Mirror]:
    yield Mirror(uri=uri, experiment=tmp_path.name)
    assert not caplog.records, "a swallowed failure"


def make(folder: Path, tests: dict[str, list[float | None]], baseline: dict[str, Any] | None = None) -> Path:
    """A sweep of the schedules in ``tests`` with the seeds' test accuracies from 0 on; None: started, not finished."""
    runs = [
        ({"schedule": name, "seed": seed}, {"status": "running"} if value is None else {"test": value})
        for name, values in tests.items()
        for seed, value in enumerate(values)
    ]
    sweep = make_sweep(folder, runs)
    compare(sweep, baseline)
    return sweep


def compare(sweep: Path, baseline: dict[str, Any] | None) -> None:
    """As a command with another ``sweep.baseline`` would."""
    facts = json.loads((sweep / "sweep.json").read_text())
    (sweep / "sweep.json").write_text(json.dumps({**facts, "baseline": baseline}))


def sync(mirror: Mirror, sweep: Path, over: bool = False) -> None:
    """As ``bimp-exp sync`` does."""
    for facts in sorted(sweep.glob("*/run.json")):
        mirror.sync(facts.parent)
    mirror.sync_sweep(sweep, over=over)


def content(mirror: Mirror) -> dict[str, Any]:
    """All that the runs show, by name, without what MLflow makes up: ids stand as names."""
    found = named(mirror)
    names = {each.info.run_id: name for name, each in found.items()}

    def shown(value: str) -> str:
        return " ".join(names.get(word, word) for word in value.split(" "))

    return {
        name: (
            each.info.status,
            each.data.params,
            each.data.metrics,
            {key: shown(value) for key, value in each.data.tags.items() if value},
        )
        for name, each in found.items()
    }


def test_a_cell_shows_its_statistics_and_its_runs(mirror: Mirror, tmp_path: Path) -> None:
    sync(mirror, make(tmp_path / "s", {"ft": [0.5, 0.7, 0.9], "clr": [0.8, None]}))
    found = named(mirror)
    cell, seeds = found[FT], [found[f"{FT} seed={seed}"] for seed in range(3)]
    assert cell.data.params == {"schedule": "ft"}
    half = T2 * 0.2 / 3**0.5
    wanted = {"n": 3}
    for split, mean in (("test", 0.7), ("validation", 0.69)):
        name = f"final_{split}_accuracy"
        wanted |= {f"{name}_mean": mean, f"{name}_std": 0.2, f"{name}_half_width": half}
    assert cell.data.metrics == pytest.approx(wanted)
    assert cell.info.status == "FINISHED"
    tags = {"bimp.kind": "cell", "bimp.cell": FT, "bimp.run_ids": " ".join(seed.info.run_id for seed in seeds)}
    tags |= {"mlflow.parentRunId": found["s"].info.run_id}
    assert tags.items() <= cell.data.tags.items()
    for seed in seeds:
        tags = {"bimp.kind": "run", "bimp.cell": FT, "mlflow.parentRunId": cell.info.run_id}
        assert tags.items() <= seed.data.tags.items()
    one = found[CLR]
    assert one.data.metrics == {"n": 1, "final_test_accuracy_mean": 0.8, "final_validation_accuracy_mean": 0.79}
    assert one.info.status == "RUNNING"
    where = client(mirror)[0].search_runs([client(mirror)[1]], "tags.bimp.kind = 'cell'")  # as a user types it
    assert {each.info.run_name for each in where} == {FT, CLR}


def test_the_sweep_shows_how_much_it_is_and_its_best_cell(mirror: Mirror, tmp_path: Path) -> None:
    sync(mirror, make(tmp_path / "s", {"ft": [0.5, 0.7], "clr": [0.6, 0.8], "llr": [0.9, None]}))
    sweep = named(mirror)["s"]
    tags = {"bimp.kind": "sweep", "bimp.num_cells": "3", "bimp.num_runs": "6", "bimp.best_cell": CLR}
    assert tags.items() <= sweep.data.tags.items()
    best = {"mean": 0.69, "std": 0.02**0.5, "half_width": 12.706204736432095 * 0.1}  # 0.59 and 0.79 in validation
    wanted = {f"best_validation_accuracy_{key}": value for key, value in best.items()}
    assert sweep.data.metrics == pytest.approx({**wanted, "best_n": 2, "num_finished": 5})


def test_a_cell_is_compared_with_the_baseline_seed_by_seed(mirror: Mirror, tmp_path: Path) -> None:
    """Differences 0.1, 0.2 and 0.3; the fourth seed has no partner."""
    tests = {"ft": [0.5, 0.7, 0.6, None], "clr": [0.6, 0.9, 0.9, 0.4], "llr": [None]}
    sync(mirror, make(tmp_path / "s", tests, {"schedule": "ft"}))
    found = named(mirror)
    metrics, name = found[CLR].data.metrics, "difference_test_accuracy"
    assert metrics["n"] == 4
    # t = 0.2 / (0.1 / sqrt 3) = 2 sqrt 3, and with two degrees of freedom p = 1 - t / sqrt(t^2 + 2)
    wanted = {"mean": 0.2, "half_width": T2 * 0.1 / 3**0.5, "p": 1 - (12 / 14) ** 0.5, "n": 3}
    assert {key: metrics[f"{name}_{key}"] for key in wanted} == pytest.approx(wanted)
    assert found[CLR].data.tags["bimp.baseline"] == FT
    for other in (FT, "schedule=llr"):
        assert not [key for key in found[other].data.metrics if key.startswith("difference")]


def test_more_seeds_update_the_same_run(mirror: Mirror, tmp_path: Path) -> None:
    """A point for each number of seeds, at that step: the last one is what the pages show."""
    sweep = make(tmp_path / "s", {"ft": [0.5, 0.7, 0.9]})
    later = sorted(sweep.glob("*/result.json"))[1:]
    for path in later:
        path.rename(path.with_suffix(".later"))
    ids, name = set(), "final_test_accuracy_mean"
    for path in [*later, None]:
        sync(mirror, sweep)
        sync(mirror, sweep)
        cell = named(mirror)[FT]
        ids.add(cell.info.run_id)
        if path:
            path.with_suffix(".later").rename(path)
    assert len(ids) == 1
    history = [(step, value) for key, step, value in points(mirror, cell) if key == name]
    assert history == [(1, 0.5), (2, pytest.approx(0.6)), (3, pytest.approx(0.7))]
    assert cell.data.metrics[name] == pytest.approx(0.7)


def test_the_order_in_which_runs_end_does_not_matter(uri: str, tmp_path: Path) -> None:
    """Mirrored after each end or only once, all runs show the same, but for the points of fewer seeds."""
    tests = {"ft": [0.5, 0.7, 0.9], "clr": [0.6, 0.6, 0.8]}
    shown = []
    for order in range(4):
        sweep, draw = make(tmp_path / "s", tests, {"schedule": "ft"}), random.Random(order)
        mirror = Mirror(uri=uri, experiment=f"{tmp_path.name} {order}")
        results = sorted(sweep.glob("*/result.json"))
        draw.shuffle(results)
        for path in results if order else ():
            path.rename(path.with_suffix(".later"))
        for path in results if order else ():
            sync(mirror, sweep)
            path.with_suffix(".later").rename(path)
        sync(mirror, sweep)
        assert not mirror.behind
        shown.append(content(mirror))
        shutil.rmtree(sweep)
    assert shown[1:] == shown[:1] * 3


@pytest.mark.parametrize("after", [{"schedule": "clr"}, None])
def test_another_baseline_replaces_what_cannot_be_taken_back(
    mirror: Mirror, tmp_path: Path, after: dict[str, Any] | None
) -> None:
    """The runs of a replaced cell are the new one's."""
    sweep = make(tmp_path / "s", {"ft": [0.5, 0.7], "clr": [0.6, 0.8]}, {"schedule": "ft"})
    sync(mirror, sweep)
    compare(sweep, after)
    mirror.sync_sweep(sweep, over=False)
    shown = content(mirror)
    sync(mirror, sweep)
    assert content(mirror) == shown
    compared = {name: metrics.get("difference_test_accuracy_mean") for name, (_, _, metrics, _) in shown.items()}
    assert compared[CLR] is None
    assert compared[FT] == (pytest.approx(-0.1) if after else None)
    assert "bimp.baseline" not in shown[CLR][3]
    assert shown[f"{CLR} seed=1"][3]["mlflow.parentRunId"] == CLR


def test_a_result_that_is_gone_is_no_longer_counted(mirror: Mirror, tmp_path: Path) -> None:
    sweep = make(tmp_path / "s", {"ft": [0.5, 0.7]})
    sync(mirror, sweep)
    (sweep / f"{FT} seed=1" / "result.json").unlink()
    sync(mirror, sweep)
    metrics = named(mirror)[FT].data.metrics
    assert metrics == {"n": 1, "final_test_accuracy_mean": 0.5, "final_validation_accuracy_mean": 0.49}


def test_a_sweep_without_seeds_has_no_runs_for_cells(mirror: Mirror, tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", [({"schedule": name}, {}) for name in ("ft", "clr")])
    sync(mirror, sweep)
    found = named(mirror)
    assert found.keys() == {"s", FT, CLR}
    assert found[FT].data.tags["mlflow.parentRunId"] == found["s"].info.run_id
    assert found["s"].data.tags["bimp.num_cells"] == "2"
    assert found["s"].data.tags["bimp.best_cell"] == FT


def test_runs_that_an_older_version_put_below_the_sweep_come_below_their_cell(mirror: Mirror, tmp_path: Path) -> None:
    sweep = make(tmp_path / "s", {"ft": [0.5]})
    sync(mirror, sweep)
    shown = content(mirror)
    found = named(mirror)
    client(mirror)[0].set_tag(found[f"{FT} seed=0"].info.run_id, "mlflow.parentRunId", found["s"].info.run_id)
    client(mirror)[0].delete_run(found[FT].info.run_id)
    sync(mirror, sweep)
    assert content(mirror) == shown


CALLS = ("create_run", "delete_run", "log_batch", "set_tag", "set_terminated", "update_run")


def until(cut: int, calls: Iterator[int], function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, but no call of it succeeds from number ``cut`` in ``calls`` on."""

    def call(*given: Any, **others: Any) -> Any:
        if next(calls) >= cut:
            raise OSError("the server is gone")
        return function(*given, **others)

    return call


def test_cut_off_at_any_call_the_next_sync_completes_it(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that is killed leaves a book that says nothing of it, and a dead server is the same to MLflow."""
    tests = {"ft": [0.5, 0.7], "clr": [0.6, 0.9]}
    whole = Mirror(uri=uri, experiment=f"{tmp_path.name} whole")
    sync(whole, make(tmp_path / "s", tests, {"schedule": "ft"}))
    shown, cut = content(whole), 0
    histories = {name: points(whole, run) for name, run in named(whole).items()}
    while True:
        shutil.rmtree(tmp_path / "s")
        sweep = make(tmp_path / "s", tests, {"schedule": "ft"})
        mirror = Mirror(uri=uri, experiment=f"{tmp_path.name} {cut}")
        for facts in sorted(sweep.glob("*/run.json")):
            mirror.sync(facts.parent)
        book, calls = (sweep / "mlflow.json").read_text(), iter(range(10_000))
        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(client(mirror)[0], name, until(cut, calls, getattr(client(mirror)[0], name)))
            mirror.sync_sweep(sweep, over=False)
        was_cut = bool(mirror.behind)
        (sweep / "mlflow.json").write_text(book)
        sync(mirror, sweep)
        assert not mirror.behind
        assert content(mirror) == shown
        assert {name: points(mirror, run) for name, run in named(mirror).items()} == histories
        if not was_cut:
            break
        cut += 1
    caplog.clear()
    assert cut > 5  # of the sweep and two cells


SYNCS = """
import os, sys, time
from pathlib import Path
from bimp_exp.tracking.mlflow_store import ENVIRONMENT
from bimp_exp.tracking.mirror import Mirror
os.environ.update(ENVIRONMENT)
import mlflow.store.tracking.sqlalchemy_store  # once for all
import scipy.stats
sweep = Path(sys.argv[2])
children = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        mirror = Mirror(uri=sys.argv[1], experiment="e")
        for facts in sorted(sweep.glob("*/run.json"), reverse=number == 1):
            mirror.sync(facts.parent)
        mirror.sync_sweep(sweep, over=True)
        os._exit(len(mirror.behind))
    children.append(pid)
if sys.argv[3:]:
    time.sleep(float(sys.argv[3]))
    for pid in children[:2]:
        os.kill(pid, 9)
for pid in children:
    status = os.waitpid(pid, 0)[1]
    assert status in (0, 9), status
"""


def test_several_at_once_some_of_them_killed_make_each_cell_once(tmp_path: Path) -> None:
    tests: dict[str, list[float | None]] = {"ft": [0.5, 0.7], "clr": [0.6, 0.9], "llr": [0.8, None]}
    sweep = make(tmp_path / "s", tests, {"schedule": "ft"})
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for wait in (["0.1"], ["0.7"], []):
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SYNCS, uri, str(sweep), *wait]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    mirror = Mirror(uri=uri, experiment="e")
    shown = content(mirror)
    runs = {f"schedule={name} seed={seed}" for name in tests for seed in (0, 1)}
    assert shown.keys() == {"s", FT, CLR, "schedule=llr", *runs}
    assert [step for key, step, _ in points(mirror, named(mirror)[CLR]) if key == "difference_test_accuracy_mean"] == [
        2
    ]
    alone = Mirror(uri=uri, experiment="alone")
    for book in [sweep / "mlflow.json", *sweep.glob("*/mlflow.json")]:
        book.unlink()
    sync(alone, sweep, over=True)
    assert not alone.behind
    assert content(alone) == shown


SMALL = [
    "dataset=synthetic", "dataset.num_train_images=200", "dataset.num_test_images=100", "dataset.image_shape=[3,8,8]",
    "model.depth=8", "budget.epochs=3", "budget.dense_epochs=2", "budget.cycles=1", "tracking.uri=sqlite:///mlflow.db",
]  # fmt: skip


def test_from_the_command_to_the_difference(tmp_path: Path) -> None:
    grid = ["schedule=ft,allr", "seed=0,1", "sweep.baseline={schedule:ft}", "hydra.sweep.dir=s"]
    run(tmp_path, "-m", *grid, *SMALL)
    tests = {}
    for name in ("ft", "allr"):
        results = [read_run(tmp_path / "s" / f"{name},seed={seed}").result for seed in (0, 1)]
        tests[name] = [result.final.test for result in results if result]
    found = named(Mirror(uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="bimp-exp"))
    assert found.keys() == {"s", "ft", "allr", *(f"{name} seed={seed}" for name in tests for seed in (0, 1))}
    assert found["ft"].data.metrics["final_test_accuracy_mean"] == pytest.approx(sum(tests["ft"]) / 2)
    difference = (sum(tests["allr"]) - sum(tests["ft"])) / 2
    assert found["allr"].data.metrics["difference_test_accuracy_mean"] == pytest.approx(difference)
    assert found["allr"].data.tags["bimp.baseline"] == "ft"
    assert {each.info.status for each in found.values()} == {"FINISHED"}
