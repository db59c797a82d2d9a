"""The command ``bimp-exp``: one way to answer every mistake, and quick to do so."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimp_exp.cli import main as cli
from bimp_exp.errors import ConfigError, DataError
from tests.conftest import ROOT

HEAVY = ["torch", "hydra", "omegaconf", "mlflow", "pandas", "matplotlib", "sklearn", "pydantic"]


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``bimp-exp ARGUMENTS`` in ``folder``; the last line of its output names what of HEAVY it has imported."""
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(*(set({HEAVY}) & sys.modules.keys())))\n"
        "from bimp_exp.cli.main import main; sys.exit(main())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--help"], 0, "usage: bimp-exp"),
        (["--version"], 0, "bimp-exp 0."),
        (["export", "--help"], 0, "--batch-size"),
        ([], 2, "error: the following arguments are required: COMMAND"),
        (["stauts"], 2, "error: argument COMMAND: invalid choice: 'stauts' (choose from"),
        (["export"], 2, "error: the following arguments are required: FOLDER"),
    ],
)
def test_help_and_mistyped_commands_import_next_to_nothing(
    tmp_path: Path, arguments: list[str], status: int, says: str
) -> None:
    done = call(tmp_path, *arguments)
    *output, imported = done.stdout.splitlines()
    assert imported == ""
    assert done.returncode == status
    assert "\n".join(output + done.stderr.splitlines()).startswith(says) or (status == 0 and says in done.stdout)
    assert len(done.stderr.splitlines()) == (1 if status else 0)


def test_every_command_has_its_help(tmp_path: Path) -> None:
    for name in cli.COMMANDS:
        done = call(tmp_path, name, "--help")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert not {"torch", "mlflow"} & set(done.stdout.splitlines()[-1].split()), name


@pytest.mark.parametrize(
    "arguments", [["run", "sparsity=2"], ["run", "-m", "seed=0,1", "sparsity=2"], ["run", "nonsense=1"]]
)
def test_a_wrong_run_is_one_line_as_with_run_py(tmp_path: Path, arguments: list[str]) -> None:
    ours = call(tmp_path, *arguments)
    command = [sys.executable, str(ROOT / "run.py"), *arguments[1:]]
    theirs = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)
    assert re.fullmatch(r"error: .*(sparsity=2 must be|no such key: nonsense).*\n", ours.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("a=1 must be 2"), 2, "error: a=1 must be 2\n"),
        (DataError("a\nb\x1b"), 2, "error: a\\nb\\x1b\n"),
        (FileExistsError(17, "File exists", "/etc/passwd"), 2, "error: /etc/passwd: File exists\n"),
        (OSError("no space"), 2, "error: no space\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_what_a_user_can_cause_is_one_line(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def fail() -> None:
        raise error

    assert cli.exit_status(fail) == status
    assert capsys.readouterr().err == line


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        cli.exit_status(lambda: 1 // 0)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def fail() -> None:
        raise ConfigError("a")

    with pytest.raises(ConfigError):
        cli.exit_status(fail)


def test_the_exit_status_of_a_command_is_its_own() -> None:
    assert cli.exit_status(lambda: 1) == 1
    assert cli.exit_status(lambda: None) == 0


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children obey SIGINT: what a shell starts in the background ignores it, and hands that on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_says_so_and_has_not_failed(tmp_path: Path) -> None:
    keys = [
        "tracking=none",
        "hydra.run.dir=out",
        "budget.epochs=4000",
        "budget.dense_epochs=2000",
        "budget.retrain_epochs=null",
    ]
    command = [sys.executable, "-m", "bimp_exp", "run", *keys]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        while not (tmp_path / "out" / "metrics.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said.decode().endswith("error: interrupted\n")
    assert "bimp-exp run tracking=none" in (tmp_path / "out" / "run.json").read_text()
