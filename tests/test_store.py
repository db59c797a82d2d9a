"""The store of phases as its owner sees it: what is in it, is it whole, what may go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.utils import instantiate

from bimp_exp.cli import store as store_commands
from bimp_exp.errors import ConfigError, DataError, UserError
from bimp_exp.lease import Lease
from bimp_exp.run import keys as numerics
from bimp_exp.store.phases import Phases, Store, header
from bimp_exp.sweep.needs import recipes
from tests.conftest import ROOT
from tests.test_resume import came_to, config, do


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs that share their dense network, and their store: dense, clr 1 and 2, llr 1 and 2."""
    folder = tmp_path_factory.mktemp("finished")
    for schedule in ("clr", "llr"):
        do(folder / "results" / schedule, made(folder / "phases", schedule))
    return folder


@pytest.fixture
def phases(finished: Path, tmp_path: Path) -> Path:
    """The store, to be changed."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path / "phases"


def made(root: Path, schedule: str, *overrides: str) -> dict[str, Any]:
    return config("imp", f"store.root={root}", f"schedule={schedule}", *overrides)


def keys(run: Path) -> list[str]:
    return [phase["key"] for phase in came_to(run)[0]["phases"]]


def left(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def drop(root: Path, *, keep_finished: bool = False, dry: bool = False) -> set[str]:
    """What ``remove --unused`` takes away."""
    before = left(root)
    chosen = store_commands.unused(store_commands.read(root), root.parent / "results", keep_finished=keep_finished)
    store_commands.delete(chosen, dry=dry)
    return before - left(root)


def command(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "bimp_exp", "store", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, env=environment)


def test_a_phase_says_what_it_is(phases: Path) -> None:
    dense, *cycles = keys(phases.parent / "results" / "clr")
    about = header(phases / dense / "done.pt")
    assert (about["name"], about["epochs"]) == ("test: dense", 2)
    assert about["seconds"] > 0
    assert [header(phases / key / "done.pt")["name"] for key in cycles] == ["test: cycle 1", "test: cycle 2"]


def test_finished_runs_need_nothing_unless_told_so(phases: Path) -> None:
    assert not drop(phases, keep_finished=True)
    everything = left(phases)
    assert len(everything) == 5
    assert not drop(phases, dry=True)
    assert drop(phases) == everything


def test_a_run_that_has_not_begun_needs_its_phases(phases: Path) -> None:
    """It is known from the sweep's cells alone; the schedule is its own, so of the store it needs the dense network."""
    cells = {
        "ft": {"config": made(phases, "ft"), "choices": {}},
        "clr": {"config": made(phases, "clr"), "choices": {}},
    }
    sweep = phases.parent / "results"
    (sweep / "cells.json").write_text(json.dumps(cells))
    shared, *of_llr = keys(sweep / "llr")
    of_clr = keys(sweep / "clr")[1:]
    assert drop(phases) == {*of_llr, *of_clr}  # that of clr is finished
    assert left(phases) == {shared}


def test_a_run_that_failed_or_was_broken_off_needs_its_phases(phases: Path) -> None:
    clr, llr = phases.parent / "results" / "clr", phases.parent / "results" / "llr"
    of_clr, of_llr = keys(clr), keys(llr)
    (clr / "result.json").rename(clr / "failed.json")
    assert drop(phases) == {*of_llr[1:]}
    assert left(phases) == {*of_clr}


def test_a_run_that_this_version_cannot_do_needs_nothing(phases: Path) -> None:
    clr = phases.parent / "results" / "clr"
    (clr / "result.json").unlink()
    values = yaml.safe_load((clr / "config.yaml").read_text())
    (clr / "config.yaml").write_text(yaml.safe_dump(values | {"of another version": 1}))
    assert len(drop(phases)) == 5


def test_a_leased_phase_stays(phases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = keys(phases.parent / "results" / "clr")[1]
    lease = Lease.take(phases / key / "lease")
    assert lease
    assert len(drop(phases)) == 4
    assert left(phases) == {key}
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("kept")]
    assert line.startswith(f"kept {key[:12]} (test: cycle 1, ")
    assert line.endswith(": leased")
    lease.release()


def test_a_phase_without_a_recipe_stays(phases: Path) -> None:
    """Who wrote it, nobody knows."""
    key = keys(phases.parent / "results" / "clr")[0]
    path = phases / key / "done.pt"
    first, _, rest = path.read_bytes().partition(b"\n")
    about = {name: value for name, value in json.loads(first).items() if name != "recipe"}
    path.write_bytes(json.dumps(about).encode() + b"\n" + rest)
    assert key not in drop(phases)


def test_without_the_folder_of_the_runs_nothing_is_removed(phases: Path) -> None:
    with pytest.raises(DataError, match="nowhere: there is no such folder; give --results"):
        store_commands.unused(store_commands.read(phases), phases / "nowhere", keep_finished=False)


def test_phases_of_runs_that_cost_alike_are_of_one_kind(phases: Path) -> None:
    """By which plan=true tells hours."""
    values = made(phases, "llr", "seed=1", "sparsity=0.5")
    assert {header(path)["kind"] for path in phases.glob("*/done.pt")} == {
        numerics.kind(values, instantiate(values["runtime"]).facts(torch.device("cpu"), num_threads=1))
    }


def test_the_recipe_does_not_depend_on_the_machine(phases: Path) -> None:
    values = made(phases, "clr")
    stored = [header(phases / key / "done.pt")["recipe"] for key in keys(phases.parent / "results" / "clr")]
    assert recipes(values) == stored
    other = values | {"runtime": values["runtime"] | {"threads": 2, "device": "auto"}}
    assert recipes(other) == stored
    assert not set(stored) & set(recipes(values | {"seed": 1}))


def test_the_command(phases: Path, tmp_path: Path) -> None:
    first, second, _ = keys(tmp_path / "results" / "clr")
    (phases / "notes").mkdir()  # not a phase
    (phases / second / "done.pt").rename(phases / second / "partial.pt")
    size = sum(path.stat().st_size for path in phases.rglob("*.pt"))
    listed = command("list", "phases", folder=tmp_path).stdout.splitlines()
    assert listed[0].split() == ["key", "name", "epochs", "size", "age", "state"]
    assert len(listed) == 7
    (line,) = [line.split() for line in listed if line.startswith(first[:12])]
    assert line[1:4] == ["test:", "dense", "2"]
    assert line[-1] == "done"
    (line,) = [line.split() for line in listed if line.startswith(second[:12])]
    assert line[-1] == "partial"
    assert command("size", "phases", folder=tmp_path).stdout.startswith(f"phases: 5 phases, {size:,} bytes")

    assert command("verify", "phases", folder=tmp_path).stdout == "5 of 5 files are whole\n"
    path = phases / first / "done.pt"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = command("verify", "phases", folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].startswith(f"damaged: phases/{first}/done.pt: damaged, ")
    assert done.stdout.splitlines()[1] == "4 of 5 files are whole"

    done = command("remove", "--key", first[:8], "--key", second, "phases", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith(f"removed {first[:12]} (test: dense, ")
    assert done.stdout.splitlines()[2].startswith("removed 2 phases, ")
    assert not {first, second} & left(phases)
    assert len(left(phases)) == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["list"], "results/phases: there is no such folder"),
        (["sice", "."], "invalid choice: 'sice' (choose from"),
        (["remove", "."], "one of the arguments --key --unused is required"),
        (["remove", "--key", "", "."], "--key  is the beginning of 0 keys"),
        (["remove", "--unused", "."], "results: there is no such folder; give --results"),
        ([], "the following arguments are required: ACTION"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = command(*arguments, folder=tmp_path)
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert (done.returncode, done.stdout) == (2, "")


def test_a_store_that_cannot_be_written_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"store\.root=.*cannot write there"):
            Store(root=str(root), every=60).check()
    Store(root=str(tmp_path / "new" / "deep"), every=60).check()
    assert not (tmp_path / "new").exists()


def test_a_store_that_stops_taking_files_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(UserError, match=r"^cannot write .*store: .*; give store\.root another folder$"):
        Phases(root=tmp_path / "store", every=60).lease("key")
