"""A run that is killed, at any instant and as often as one likes, ends with the same bits as one that was left alone."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from bimp_exp.errors import DataError
from bimp_exp.results.writer import RunWriter, claim
from bimp_exp.store import phases as store
from bimp_exp.tracking.mlflow import NoTracking
from tests.conftest import ROOT, composed
from tests.runs import execute_in

TINY = ["dataset.subset=200", "model.depth=8", "optim.batch_size=32", "runtime.threads=1", "store=own", "tracking=none"]
BETWEEN = ["budget.epochs=4", "budget.dense_epochs=2", "budget.cycles=2"]
WHILE = ["budget=dense", "lr=linear", "budget.epochs=4", "budget.finetune_epochs=1"]
METHODS = sorted(path.stem for path in (ROOT / "conf" / "method").glob("*.yaml"))
KILLS = int(os.environ.get("BIMP_KILLS", "2"))  # per method; the whole test of issue size is BIMP_KILLS=20
KILLED = (
    METHODS if KILLS > 2 else ["imp", "wr", "gmp", "cs"]
)  # of each kind one; tests/test_restore.py cuts all of them
MOST_KILLS = 7  # of one run, so that its later phases are struck as well
TIMES = {"seconds", "seconds_training", "seconds_warming_up", "seconds_evaluating", "images_per_second"}


def config(method: str, *overrides: str) -> dict[str, Any]:
    """A short run of ``method``."""
    how = BETWEEN if method in ("imp", "wr") else WHILE
    given = [*TINY, *how, f"method={method}", *(["schedule=lrw"] if method == "wr" else []), *overrides]
    return composed(*given)


def do(folder: Path, values: dict[str, Any]) -> None:
    """What ``python run.py`` does, in this process."""
    with claim(folder, values):
        writer = RunWriter(folder=folder, tracking=NoTracking())
        writer.begin({"name": "test", "choices": {}, "swept": {}, "metric": "accuracy"})
        writer.finish(execute_in(folder, values))


def came_to(folder: Path) -> tuple[Any, list[Any], dict[str, torch.Tensor]]:
    """Result, metrics and network of a run, without what a clock has measured."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    network = torch.load(folder / "model.pt", weights_only=True)
    return timeless(json.loads((folder / "result.json").read_text())), timeless(lines), network


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(entry) for key, entry in value.items() if key not in TIMES}
    return [timeless(entry) for entry in value] if isinstance(value, list) else value


def same(one: Path, other: Path) -> None:
    (result, lines, network), (theirs, their_lines, their_network) = came_to(one), came_to(other)
    assert lines == their_lines
    assert result == theirs
    assert network.keys() == their_network.keys()
    assert all(torch.equal(network[name], their_network[name]) for name in network)


def kill_until_done(folder: Path, values: dict[str, Any], draw: random.Random, kills: int) -> Counter[str]:
    """Run in processes of which the first ``kills`` get SIGKILL at random times; what those that were killed were doing."""
    struck, cut_writes = Counter[str](), 0
    forking = multiprocessing.get_context("fork")
    while not (folder / "result.json").exists():
        child = forking.Process(target=do, args=(folder, values))
        child.start()
        if struck.total() < kills:
            child.join(draw.uniform(0.02, 1))
            child.kill()
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
        if child.exitcode:
            before, cut_writes = cut_writes, len(list(folder.glob("phases/*/.*.tmp")))
            struck["writing a checkpoint" if cut_writes > before else doing(folder)] += 1
    return struck


def doing(folder: Path) -> str:
    """What a run was at when it was killed, by what it left."""
    states = sorted(folder.glob("phases/*/*.pt"), key=lambda path: path.stat().st_mtime)
    if not states:
        return "starting"
    if states[-1].name == "done.pt":
        return "measuring, pruning, finishing"
    return f"training, {store.header(states[-1])['name'].partition(': ')[2]}"


@pytest.mark.parametrize("method", KILLED)
def test_killed_at_any_instant_a_run_ends_with_the_same_bits(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = config(method)
    do(tmp_path / "whole", values)
    often = values | {
        "store": values["store"] | {"every": 0}
    }  # a checkpoint after each step, so that many are cut through
    draw, struck, num_runs = random.Random(len(method)), Counter[str](), 0
    while struck.total() < KILLS:
        num_runs += 1
        killed = tmp_path / f"killed {num_runs}"
        struck += kill_until_done(killed, often, draw, kills=min(KILLS - struck.total(), MOST_KILLS))
        same(killed, tmp_path / "whole")
        assert {path.name for path in killed.glob("phases/*/*")} == {"done.pt"}  # no half-written file stays
    if KILLS > 2:
        with capsys.disabled():
            print(f"\n{method}: {struck.total()} kills in {num_runs} runs: {dict(struck)}")


class CutError(Exception):
    pass


def cut(folder: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Do a run that ends right after its checkpoint number ``after``."""
    number = 0
    save = store.Phases.save_partial

    def counting(self: store.Phases, *arguments: Any) -> None:
        nonlocal number
        save(self, *arguments)
        number += 1
        if number == after:
            raise CutError

    monkeypatch.setattr(store.Phases, "save_partial", counting)
    with pytest.raises(CutError):
        do(folder, values)
    monkeypatch.undo()


OFTEN = "store.every=0"


def partial(folder: Path) -> Path:
    (path,) = folder.glob("phases/*/partial.pt")
    return path


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    values = config("imp", OFTEN)
    do(tmp_path / "whole", values)
    for name, damage in {
        "truncated": lambda content: content[: len(content) // 2],
        "flipped": lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
        "empty": lambda content: b"",
        "not ours": lambda content: b"hello",
    }.items():
        folder = tmp_path / name
        cut(folder, values, monkeypatch, after=8)
        path = partial(folder)
        path.write_bytes(damage(path.read_bytes()))
        assert path.with_name("partial.previous.pt").exists()
        caplog.clear()
        do(folder, values)
        assert f"not used: {path}" in caplog.text
        same(folder, tmp_path / "whole")


@pytest.mark.parametrize("how", ["runtime=plain", "runtime.precision=bf16"])
def test_it_goes_on_to_the_same_bits_however_it_computes(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = config("gmp", OFTEN, how)
    do(tmp_path / "whole", values)
    cut(tmp_path / "cut", values, monkeypatch, after=7)  # inside the second epoch
    do(tmp_path / "cut", values)
    same(tmp_path / "cut", tmp_path / "whole")


def test_a_checkpoint_of_another_configuration_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cut(tmp_path / "a", config("imp", OFTEN, "seed=1"), monkeypatch, after=3)
    cut(tmp_path / "b", config("imp", OFTEN), monkeypatch, after=3)
    foreign, ours = partial(tmp_path / "a"), partial(tmp_path / "b")
    assert foreign.parent.name != ours.parent.name
    ours.write_bytes(foreign.read_bytes())
    with pytest.raises(DataError, match=f"of another configuration .test: dense, {foreign.parent.name[:12]}"):
        store.read(ours, ours.parent.name)
    do(tmp_path / "b", config("imp", OFTEN))
    do(tmp_path / "whole", config("imp"))
    assert "of another configuration" in caplog.text
    same(tmp_path / "b", tmp_path / "whole")


def test_a_folder_with_a_run_of_another_configuration_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(tmp_path, config("imp", OFTEN), monkeypatch, after=3)
    with pytest.raises(ValueError, match=r"another configuration: sparsity is 0\.9 there and 0\.8 now"):
        do(tmp_path, config("imp", "sparsity=0.8"))


def test_where_no_checkpoint_can_be_written_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = store.files.write

    def full(path: Path, content: bytes) -> None:
        if path.suffix == ".pt" and path.parent.parent.name == "phases":
            raise store.UserError(f"cannot write {path}: No space left on device")
        write(path, content)

    values = config("imp", OFTEN)
    with monkeypatch.context() as patch:
        patch.setattr(store.files, "write", full)
        do(tmp_path / "full", values)
    assert "No space left on device; the run goes on" in caplog.text
    do(tmp_path / "whole", values)
    same(tmp_path / "full", tmp_path / "whole")


def test_runs_that_share_phases_compute_each_once(tmp_path: Path) -> None:
    shared = [f"store.root={tmp_path / 'store'}"]
    for schedule in ("clr", "llr"):
        do(tmp_path / schedule, config("imp", *shared, f"schedule={schedule}"))
        do(tmp_path / f"{schedule} alone", config("imp", f"schedule={schedule}"))
        same(tmp_path / schedule, tmp_path / f"{schedule} alone")
    keys = [[p["key"] for p in came_to(tmp_path / name)[0]["phases"]] for name in ("clr", "llr")]
    assert keys[0][0] == keys[1][0]
    assert not {*keys[0][1:]} & {*keys[1][1:]}
    assert {path.name for path in (tmp_path / "store").iterdir()} == {*keys[0], *keys[1]}


def test_a_phase_that_another_process_computes_is_waited_for(tmp_path: Path) -> None:
    values = config("imp", f"store.root={tmp_path / 'store'}")
    forking = multiprocessing.get_context("fork")
    children = [forking.Process(target=do, args=(tmp_path / str(i), values)) for i in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    same(tmp_path / "0", tmp_path / "1")
    same(tmp_path / "0", tmp_path / "2")
    computed = [came_seconds(tmp_path / str(i)) for i in range(3)]
    assert computed[0] == computed[1] == computed[2]  # the clock of the one that computed, not of those that took over


def came_seconds(folder: Path) -> list[float]:
    return [phase["seconds_training"] for phase in json.loads((folder / "result.json").read_text())["phases"]]


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    from bimp_exp.lease import Lease

    forking = multiprocessing.get_context("fork")

    def hold() -> None:
        assert Lease.take(tmp_path / "lease")
        (tmp_path / "held").touch()
        signal.pause()

    child = forking.Process(target=hold, daemon=True)  # so that it ends with a test that fails
    child.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    assert Lease.take(tmp_path / "lease") is None
    child.kill()
    child.join()
    lease = Lease.take(tmp_path / "lease")
    assert lease
    lease.release()
    assert not (tmp_path / "lease").exists()
