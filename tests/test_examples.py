"""The worked example does what its page says, in a folder of its own as a user has it."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_run import load, run

PAGE = (ROOT / "examples" / "README.md").read_text()
COMMANDS = [shlex.split(line) for line in re.findall(r"^python \.\./run\.py (.*)$", PAGE, re.MULTILINE)]
SHORT = [
    "budget.epochs=2", "budget.dense_epochs=1", "budget.cycles=1", "dataset.subset=40", "tracking=none", "runtime.threads=1",
]  # fmt: skip


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return Path(
        shutil.copytree(ROOT / "examples", tmp_path / "mine", ignore=shutil.ignore_patterns("results", "__pycache__"))
    )


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == 3


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_ends_with_results(mine: Path, command: list[str]) -> None:
    run(mine, *SHORT, *command)
    results = list(mine.glob("results/s*/**/result.json"))
    assert len(results) == (6 if "-m" in command else 1)
    for path in results:
        result = load(path)
        assert [phase["name"] for phase in result["phases"]] == ["dense", "cycle 1"]
        assert all(0 <= result["final"][split] <= 1 for split in ("train", "validation", "test"))


def test_an_edited_schedule_retrains_and_keeps_the_dense_network(mine: Path) -> None:
    keys = []
    for number in range(2):
        run(mine, *SHORT, *COMMANDS[0][:-2], f"hydra.run.dir=out{number}", *COMMANDS[0][-2:])
        keys.append([phase["key"] for phase in load(mine / f"out{number}" / "result.json")["phases"]])
        file = mine / "glyphs" / "schedule.py"
        file.write_text(file.read_text().replace("min(1.0,", "min(0.5,"))
    assert keys[0][0] == keys[1][0]
    assert keys[0][1] != keys[1][1]


def test_an_edited_network_trains_anew(mine: Path) -> None:
    keys = []
    for number in range(2):
        run(mine, *SHORT, *COMMANDS[0][:-2], f"hydra.run.dir=out{number}", *COMMANDS[0][-2:])
        keys.append([phase["key"] for phase in load(mine / f"out{number}" / "result.json")["phases"]])
        file = mine / "glyphs" / "model.py"
        file.write_text(file.read_text().replace("nn.GELU()", "nn.Tanh()"))
    assert not {*keys[0]} & {*keys[1]}
