"""The wheel alone, in a fresh environment and an empty folder, does what a checkout does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

SHORT = [
    "budget.epochs=3",
    "budget.dense_epochs=1",
    "budget.cycles=2",
    "dataset.subset=200",
    "model.depth=8",
    "tracking=none",
]
ELSEWHERE = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = ["wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    done = subprocess.run([sys.executable, "-m", "pip", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; dependencies are those installed here, but no editable install is seen.

    It lies in a repository, as the environment of a project that uses bimp-exp may.
    """
    repository = tmp_path_factory.mktemp("repository")
    author = ["-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    (repository / ".gitignore").write_text(".venv/\n")
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "m"], cwd=repository, check=True)
    folder = repository / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    seen = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    (packages / "dependencies.pth").write_text("\n".join(seen))  # .pth files in these folders are not read
    command = ["--python", str(folder / "bin" / "python"), "install", "--no-deps", "--no-index", "--ignore-installed"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *command, str(wheel)], capture_output=True, text=True, env=ELSEWHERE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def call(environment: Path, folder: Path, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """``bimp-exp ARGUMENTS`` in ``folder``."""
    command = [str(environment / "bin" / "bimp-exp"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**ELSEWHERE, "COLUMNS": "200"})
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def test_the_wheel_holds_the_code_the_groups_and_the_sweeps_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    code = {str(p.relative_to(ROOT)) for part in ("bimp_exp", "hydra_plugins") for p in (ROOT / part).rglob("*.py")}
    data = {f"bimp_exp/{p.relative_to(ROOT)}" for part in ("conf", "sweeps") for p in (ROOT / part).rglob("*.yaml")}
    printed = {str(path.relative_to(ROOT)) for path in (ROOT / "bimp_exp/paper/data").iterdir()}
    assert len(printed) == 2
    assert names == code | data | printed


def test_nothing_of_the_checkout_is_imported(environment: Path, tmp_path: Path) -> None:
    code = "import bimp_exp, hydra_plugins.bimp_exp_grids as p; print(bimp_exp.__file__, p.__file__)"
    line = [str(environment / "bin" / "python"), "-c", code]
    files = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, env=ELSEWHERE, check=True).stdout.split()
    assert [Path(file).is_relative_to(environment) for file in files] == [True, True]


def test_a_run_in_an_empty_folder(environment: Path, tmp_path: Path) -> None:
    call(environment, tmp_path, "run", *SHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    (folder,) = (tmp_path / "results" / "single").iterdir()
    assert json.loads((folder / "result.json").read_text())["final"]["sparsity"] == pytest.approx(0.9, abs=1e-4)
    facts = json.loads((folder / "run.json").read_text())
    assert facts["provenance"]["command"] == f"bimp-exp run {' '.join(SHORT)}"
    assert facts["provenance"]["git"] == {"commit": None, "dirty": None}
    assert "cycle 2" in call(environment, tmp_path, "report", str(folder)).stdout


def test_a_grid_of_the_wheel_by_its_name(environment: Path, tmp_path: Path) -> None:
    done = call(environment, tmp_path, "run", "+sweeps=schedules", "plan=true", "seed=0")
    assert "schedule=allr" in done.stdout or "allr cycles=" in done.stdout
    assert not list(tmp_path.iterdir())


def test_workers_of_a_sweep_find_the_wheel(environment: Path, tmp_path: Path) -> None:
    """They are processes of their own, which import the package anew."""
    grid = ["run", "-m", "seed=0,1", *SHORT, "hydra.launcher.jobs=2", "hydra.sweep.dir=grid"]
    call(environment, tmp_path, *grid)
    assert len(list(tmp_path.glob("grid/*/result.json"))) == 2
    assert "2 done" in call(environment, tmp_path, "status", "grid").stdout


def test_slurm_jobs_get_a_copy_of_the_wheel_with_groups_and_sweeps(environment: Path, tmp_path: Path) -> None:
    python = [str(environment / "bin" / "python"), "-P", "-c"]
    take = "from pathlib import Path; from bimp_exp.sweep import snapshot; print(snapshot.take(Path('sweep')))"
    done = subprocess.run([*python, take], cwd=tmp_path, capture_output=True, text=True, env=ELSEWHERE, check=True)
    look = "from bimp_exp.paths import CONF, SWEEPS; print((CONF / 'config.yaml').is_file(), CONF, *SWEEPS.iterdir())"
    copied = {**ELSEWHERE, "PYTHONPATH": done.stdout.strip()}
    found = subprocess.run([*python, look], cwd=tmp_path, capture_output=True, text=True, env=copied, check=True)
    there, conf, *sweeps = found.stdout.split()
    assert there == "True"
    assert Path(conf) == Path(done.stdout.strip()) / "bimp_exp" / "conf"
    assert {Path(path).name for path in sweeps} == {path.name for path in (ROOT / "sweeps").iterdir()}


def test_help_of_another_command(environment: Path, tmp_path: Path) -> None:
    assert "--watch" in call(environment, tmp_path, "status", "--help").stdout
