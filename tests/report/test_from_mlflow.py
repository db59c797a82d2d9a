"""The tables of a sweep as MLflow holds it are those from disk, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimp_exp.cli.main import main
from bimp_exp.tracking.mirror import Mirror
from tests.report.fake import make_run, make_sweep
from tests.test_tracking_stress import Server

RUNS = [
    ({"method": "imp", "sparsity": 0.9, "seed": 0}, {"sparsity": 0.9, "test": 0.91}),
    ({"method": "imp", "sparsity": 0.9, "seed": 1}, {"sparsity": 0.9, "test": 0.9 + 1e-9}),
    ({"method": "gmp", "sparsity": 0.9, "seed": 0}, {"sparsity": 0.9, "theoretical_speedup": "inf"}),
    ({"method": "gmp", "sparsity": 0.9, "seed": 1}, {"status": "failed"}),
    ({"method": "str", "seed": 0}, {"status": "running"}),
    ({"method": "str", "seed": 1}, {"status": "absent"}),
]
PIVOT = ["--rows", "method", "--columns", "sparsity"]


def swept(folder: Path) -> Path:
    """A sweep with runs of every kind, which knows their values beforehand."""
    sweep = make_sweep(folder, RUNS)
    facts = json.loads((sweep / "sweep.json").read_text())
    cells = {
        name: {"name": f"run {name}", "swept": values} for name, (values, _) in zip(facts["runs"], RUNS, strict=True)
    }
    (sweep / "sweep.json").write_text(json.dumps(facts | {"cells": cells}))
    return sweep


def mirrored(sweep: Path, uri: str, experiment: str = "e") -> Mirror:
    mirror = Mirror(uri=uri, experiment=experiment)
    for folder in sorted(path.parent for path in sweep.glob("*/run.json")):
        mirror.sync(folder)
    mirror.sync_sweep(sweep, over=False)
    assert not mirror.behind
    return mirror


@pytest.fixture(scope="module", params=["sqlite", "http"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("store")
    if request.param == "sqlite":
        yield f"sqlite:///{folder}/mlflow.db"
    else:
        server = Server(folder)
        server.start()
        yield server.uri
        server.kill()


def test_every_file_is_the_same_as_from_disk(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = swept(tmp_path / "methods~1")
    mirrored(sweep, store, tmp_path.name)
    printed = []
    for arguments in ([str(sweep)], ["methods~1", "--mlflow", store, "--to", str(tmp_path / "copy")]):
        for pivot in ([], PIVOT):
            assert main(["report", *arguments, *pivot]) == 0
            printed.append(capsys.readouterr())
    assert printed[:2] == printed[2:]
    assert "gmp sparsity=0.9 seed=1: failed: budget.cycles: 0 is not legal" in printed[0].out
    assert "seed=0: unfinished" in printed[0].out
    assert "seed=1: not started" in printed[0].out
    names = [f"summary.{suffix}" for suffix in ("csv", "html", "md", "png")]
    names = sorted([*names, "pivot.csv", "pivot.md", "pivot.html"])
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == names
    for name in names:
        assert (tmp_path / "copy" / name).read_bytes() == (sweep / name).read_bytes(), name


def test_a_name_that_two_experiments_have_needs_the_run_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    sweep = make_sweep(tmp_path / "s", [({"seed": 0}, {})])
    mirror = mirrored(sweep, uri, "one")
    parent = json.loads((sweep / "mlflow.json").read_text())["run_id"]
    mirrored(sweep, uri, "two")
    mirror.sync(make_run(tmp_path / "single"))
    asked = ["--mlflow", uri, "--to", str(tmp_path / "to")]
    assert main(["report", "s", *asked]) == 2
    error = capsys.readouterr().err
    assert f"s: {uri} holds 2 sweeps of that name; give the run id of one: " in error
    assert f"{parent} in one" in error
    assert main(["report", parent, *asked]) == 0
    capsys.readouterr()
    assert main(["report", "single", *asked]) == 2
    assert "holds no sweep of that name or run id; it has s, s\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nowhere", "error: --mlflow: 'nowhere' is not legal; give sqlite:///FILE"),
        ("sqlite:///absent/mlflow.db", "mlflow.db is absent"),
        ("http://127.0.0.1:9", "error: --mlflow http://127.0.0.1:9: "),
    ],
)
def test_a_store_that_is_not_there_is_one_line(
    uri: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", "s", "--mlflow", uri, "--to", "to"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
    assert main(["report", "s", "--mlflow", uri]) == 2
    assert "--mlflow URI and --to FOLDER go together" in capsys.readouterr().err
