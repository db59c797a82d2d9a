"""From a sweep of the paper at a small scale to its table, as users do it: killed and continued, the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

FEW = ["sparsity=0.8", "optim.weight_decay=1e-4", "seed=0,1"]  # of Table 25, eight runs
QUIET = ["tracking=none", "runtime.threads=1"]
FILES = ["t25.csv", "t25.html", "t25.md", "t25.png", "t25.tex"]


def start(folder: Path, *line: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bimp_exp", *line]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def do(folder: Path, *line: str) -> str:
    process = start(folder, *line)
    errors = process.communicate()[1].decode()
    assert process.returncode == 0, errors
    return errors


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that nobody interrupts, and its table."""
    folder = tmp_path_factory.mktemp("alone")
    do(folder, "run", "+sweeps=paper_t25", "+scale=ci", *FEW, *QUIET)
    do(folder, "paper", "t25")
    return folder


def table(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "results/paper" / name).read_bytes() for name in FILES}


def test_a_sweep_that_is_killed_and_continued_gives_the_same_table(alone: Path, tmp_path: Path) -> None:
    line = ("run", "+sweeps=paper_t25", "+scale=ci", *FEW, *QUIET)
    killed = start(tmp_path, *line)
    limit = time.monotonic() + 300
    while not list(tmp_path.glob("results/sweeps/*/*/result.json")):
        assert killed.poll() is None, killed.communicate()[1].decode()
        assert time.monotonic() < limit
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    done = len(list(tmp_path.glob("results/sweeps/*/*/result.json")))
    assert 1 <= done < 8
    do(tmp_path, "paper", "t25")  # of what there is
    text = (tmp_path / "results/paper/t25.md").read_text()
    assert f"{8 - done} runs of these sweeps without a result" in text
    do(tmp_path, *line)
    do(tmp_path, "paper", "t25")
    assert table(tmp_path) == table(alone)


def test_a_scaled_run_is_nowhere_compared(alone: Path) -> None:
    text = (alone / "results/paper/t25.md").read_text()
    assert "14 not run, 4 not comparable." in text  # two schedules at two of three budgets, at one sparsity
    assert "dataset=digits instead of cifar10" in text
    assert "reproduced" not in text.partition("## Every cell")[2]


def test_fresh_seeds_confirm_what_was_chosen(alone: Path) -> None:
    do(alone, "paper", "t25", "--confirm", "7", "--to", "confirmed")
    assert len(list(alone.glob("results/sweeps/paper_t25+ci*+confirm/*/result.json"))) == 4
    assert "seed=7" in (alone / "confirmed/t25.csv").read_text()
    process = start(alone, "paper", "t25", "--confirm", "0,7")
    assert "the seeds 0 have chosen" in process.communicate()[1].decode()
    assert process.returncode == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("t03",), "t03: choose one of f01, f02"),
        (("f03",), "f03: no run of paper_f03, paper_f05 is finished"),
        (("claims", "--confirm", "3"), "--confirm does the chosen settings of one table again"),
        (("t25", "hydra/launcher=slurm"), "keys are of the launcher that --confirm SEEDS starts"),
        (("t25", "--sweep", "nowhere"), "sweep.json: absent"),
    ],
)
def test_what_cannot_be_written_is_one_line(line: tuple[str, ...], said: str, tmp_path: Path) -> None:
    process = start(tmp_path, "paper", *line)
    errors = process.communicate()[1].decode()
    assert process.returncode == 2
    assert len(errors.splitlines()) == 1
    assert said in errors
    assert not list(tmp_path.rglob("*.md"))


@pytest.mark.parametrize(
    ("dataset", "items"),
    [("imagenet", "1,153,050 images"), ("cityscapes", "2,677 images"), ("wmt16", "4,093,996 pairs")],
)
def test_a_plan_needs_no_data_and_a_run_does(dataset: str, items: str, tmp_path: Path) -> None:
    command, data = [sys.executable, "-m", "bimp_exp", "run"], f"dataset={dataset}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for more in ([data, "plan=true"], ["-m", data, "seed=0,1", "plan=true"]):
        done = subprocess.run([*command, *more], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert f"dataset.root=null: planned with {items} to train on" in done.stdout
    done = subprocess.run([*command, data], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "=null must be a" in done.stderr
    assert not list(tmp_path.iterdir())
