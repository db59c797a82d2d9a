"""Every command that the documentation tells still exists: it is read from there and checked, up to where it would begin."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from bimp_exp.cli.main import main
from bimp_exp.cli.run import add_sweeps
from bimp_exp.config.resolve import resolve, without_hydra
from bimp_exp.errors import DataError
from bimp_exp.run import plan
from hydra_plugins.bimp_exp_grids import expand
from tests.conftest import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("sweeps/*.yaml")),
]
WRITTEN = r"(?:(?=python run)|`|^#? *)((?:python run\.py|bimp-exp [a-z]+)[^`\n#(]*)"
STANDS_FOR = {  # a word of the documentation, and what a reader could write there
    "GROUP=OPTION": "schedule=clr",
    "GROUP.KEY=VALUE": "budget.cycles=2",
    "$SWEEP": "+sweeps=schedules",
    "+sweeps=NAME": "+sweeps=schedules",
    "schedule=NAME": "schedule=clr",
    "schedule=half": "schedule=clr",  # the example of CONTRIBUTING.md
    "schedule=half,allr": "schedule=clr,allr",
}


def written(page: Path) -> Iterator[str]:
    """The commands on a page, as far as a comment, a bracket or the end of the code."""
    for found in re.finditer(WRITTEN, page.read_text().replace("\\\n", ""), re.MULTILINE):
        command = found[1].removeprefix("bimp-exp run").removeprefix("python run.py")
        command = command if command.startswith("bimp-exp") else f"python run.py{command}"
        if "..." not in re.sub(r"\[.*?\]", "", command):  # that is the command before
            yield from alternatives(re.sub(r"\[(\w+)[ .]*\]", r"\1", command).strip())


def alternatives(command: str) -> Iterator[str]:
    """A command for each of a|b|c."""
    yield from map(" ".join, itertools.product(*(word.split("|") for word in command.split())))


COMMANDS = sorted({(page.name, command) for page in PAGES for command in written(page)})
RUNS = [(page, c.removeprefix("python run.py")) for page, c in COMMANDS if c.startswith("python run.py")]
OTHERS = [(page, c) for page, c in COMMANDS if c.startswith("bimp-exp ")]


@pytest.fixture(scope="module", autouse=True)
def _hydra() -> Iterator[None]:
    add_sweeps()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def test_the_commands_are_found() -> None:
    """Else all that follows would pass."""
    assert ("README.md", "python run.py schedule=clr budget.cycles=2 sparsity=0.95") in COMMANDS
    assert ("README.md", "python run.py --help") in COMMANDS
    assert ("guide.md", "bimp-exp store verify ROOT") in COMMANDS
    assert ("export.md", "bimp-exp export results/single/filters --batch-size 1") in COMMANDS
    assert {page for page, _ in COMMANDS} >= {
        "guide.md",
        "cluster.md",
        "results.md",
        "CONTRIBUTING.md",
        "schedules.yaml",
    }


@pytest.mark.parametrize(("page", "command"), RUNS, ids=[f"{page}{command}" for page, command in RUNS])
def test_every_run_has_a_plan(page: str, command: str) -> None:
    """One with data elsewhere cannot ask for its plan here, so it is composed and planned as run.py does before it looks there."""
    given, unknown = get_args_parser().parse_known_args(shlex.split(command))
    assert not unknown
    overrides = [STANDS_FOR.get(word, word) for word in given.overrides]
    swept = [o.input_line for o in OverridesParser.create().parse_overrides(overrides) if o.is_sweep_override()]
    config = compose("config", [o for o in overrides if o not in swept], return_hydra_config=True)
    sweeper = OmegaConf.to_container(config.hydra.sweeper)
    assert isinstance(sweeper, dict)
    is_grid = given.multirun or any(o.startswith("+sweeps=") for o in overrides)
    assert is_grid or not swept
    keys: dict[str, Any] = {"params": sweeper["params"] or {}, "grids": sweeper["grids"]} if is_grid else {}
    runs = expand(OverridesParser.create(), **keys, arguments=overrides) if is_grid else [overrides]
    for run in (runs[0], runs[-1]):  # all of those in sweeps/ are planned by test_contract.py
        made = resolve(without_hydra(compose("config", run, return_hydra_config=True)))[0]
        try:
            assert plan.from_config(made).num_steps > 0
        except DataError as error:  # of data that are counted where they lie
            if not str(error).startswith("dataset.root=FOLDER: there is no such folder"):
                raise


class Understood(Exception):  # noqa: N818
    """A command line was read to its end."""


@pytest.mark.parametrize(("page", "command"), OTHERS, ids=[f"{page} {command}" for page, command in OTHERS])
def test_every_other_command_is_understood(page: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *arguments: Any) -> NoReturn:
        parse(parser, *arguments)
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(Understood):
        main(shlex.split(command)[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_of_make_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = re.findall(r"(?:^|`)(?:\w+=\w+ )?make ([a-z -]+)", page.read_text(), re.MULTILINE)
    assert {word for words in told for word in re.split(r"\s{2,}", words)[0].split()} <= targets


def test_every_package_has_its_place_in_the_table_of_contributing() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where things are")[2]
    table = set(
        re.findall(r"[a-z]+", " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| ")))
    )
    found = {p.stem for p in (ROOT / "bimp_exp").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert found - {"__init__", "__main__"} <= table


def test_the_example_of_contributing_works_here_and_elsewhere(tmp_path: Path) -> None:
    """Its two files as code of the user's own, as the page says, and what they come to is what it says."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    example = page.partition("```diff\n")[2].partition("```")[0]
    for part in example.split("+++ ")[1:]:
        name, *lines = part.splitlines()
        path = tmp_path / name.replace("bimp_exp/schedule", "mypackage")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{line.removeprefix('+')}\n" for line in lines)
        path.write_text(text.replace("bimp_exp.schedule.half", "mypackage.half"))
    (keys,) = re.findall(r"`python CLONE/run\.py (schedule=half [^`]*)`", page)
    line = [sys.executable, str(ROOT / "run.py"), "plan=true", *shlex.split(keys)]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Half") == 3  # cycles
