"""A process is after its runs what it was before them: settings, environment, threads, children, random numbers."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from bimp_exp.dataset.data import ImageData
from bimp_exp.dataset.digits import Digits
from bimp_exp.dataset.synthetic import Synthetic
from bimp_exp.errors import DataError
from bimp_exp.run.process import KEPT, Process
from bimp_exp.sweep import grid
from bimp_exp.tracking.mlflow import MLflow, NoTracking
from tests import toy_runs, toys
from tests.conftest import composed, process_settings
from tests.dataset.pictures import small, write_tree
from tests.test_forecast import grid as runs_of_grid
from tests.toys import CPU, RUNTIME


def children() -> set[str]:
    """Of this process, but for the standard library's tracker of semaphores, which ends with it."""
    found = set[str]()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = status.read_text().rpartition(")")[2].split()[1]
            command = (status.parent / "cmdline").read_text()
        except OSError:  # it has ended
            continue
        if parent == str(os.getpid()) and "resource_tracker" not in command:
            found.add(status.parent.name)
    return found


def everything() -> dict[str, Any]:
    return process_settings() | {"children": children(), "threads of Python": threading.active_count()}


@pytest.fixture(params=["as it starts", "as its user set it"])
def before(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A library user's process."""
    fresh = process_settings()
    if request.param == "as its user set it":
        torch.set_num_threads(3)
        torch.set_deterministic_debug_mode("warn")
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    yield everything()
    torch.set_num_threads(fresh["threads"])
    torch.set_deterministic_debug_mode(fresh["deterministic"])
    torch.backends.cudnn.benchmark = fresh["cudnn.benchmark"]
    torch.set_float32_matmul_precision(fresh["float32_matmul_precision"])


DEFAULT = {"runtime": dataclasses.replace(RUNTIME, threads=2, keep_memory=True)}


def test_a_check_changes_nothing(before: dict[str, Any]) -> None:
    toy_runs.experiment("imp", **DEFAULT).check()
    assert everything() == before


def test_a_plan_changes_nothing(before: dict[str, Any], tmp_path: Path) -> None:
    runs = runs_of_grid(tmp_path, "runtime.threads=2")
    cells, made, plans = zip(*runs, strict=True)
    with Process() as process:
        grid.show(cells, made, plans, tmp_path, process)
        assert everything() == before
    assert everything() == before


def test_a_run_leaves_the_process_as_it_was(before: dict[str, Any]) -> None:
    made = toy_runs.experiment("imp", **DEFAULT)
    with Process() as process:
        made.check()
        toy_runs.run_in(process, made)
        during = everything()
    assert everything() == before
    assert (during["threads"], during["deterministic"], during["cudnn.benchmark"]) == (2, 2, False)
    assert not during["fill_uninitialized_memory"]
    assert not during["cudnn.allow_tf32"]
    assert during["float32_matmul_precision"] == "highest"
    process.close()  # a second time
    assert everything() == before


def test_what_the_settings_were_is_put_back_after_an_error(before: dict[str, Any]) -> None:
    with pytest.raises(DataError), Process() as process:  # noqa: PT012
        process.start(DEFAULT["runtime"])
        raise DataError("broken")
    assert everything() == before


def test_no_number_of_threads_is_that_of_the_process_whatever_ran_before() -> None:
    alone = torch.get_num_threads()
    with Process() as process:
        for threads, wanted in ((None, alone), (alone + 1, alone + 1), (None, alone)):
            runtime = dataclasses.replace(RUNTIME, threads=threads)
            assert process.num_threads(runtime) == wanted
            process.start(runtime)
            assert torch.get_num_threads() == process.num_threads(runtime) == wanted


class Plain:
    """A data set of the user's own, which is equal to none but itself and prints as all others of its kind."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return "Plain()"

    def load(self, device: torch.device, **how: Any) -> ImageData:
        return toys.data(self.number)


def test_data_sets_that_print_alike_are_not_taken_for_one_another() -> None:
    with Process() as process:
        sizes = [len(load(process, Plain(number)).train) for number in (4, 6)]
    assert sizes == [4, 6]


def load(process: Process, dataset: Any, *, augment: bool = False) -> ImageData:
    return process.load(dataset, CPU, augment_validation=augment, memory_format=torch.channels_last)


def test_runs_one_after_another_share_their_data_and_come_to_the_same() -> None:
    loaded: list[Any] = []

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Counted(toy_runs.Pixels):
        def load(self, device: torch.device, **how: Any) -> ImageData:
            loaded.append(how)
            return toys.data(self.num_fit_items)

    with Process() as process:
        results = [
            toy_runs.run_in(process, toy_runs.experiment("imp", dataset=dataset, **changes))
            for dataset, changes in ((Counted(), {}), (Counted(), DEFAULT), (Counted(), {}))
        ]
    alone = toy_runs.run(toy_runs.experiment("imp", dataset=Counted()))
    assert len(loaded) == 3  # the second run has another layout in memory; the last one had a process for itself
    assert results[0]["final"] == results[2]["final"] == alone["final"]


def test_equal_data_sets_are_read_once_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset: Synthetic = instantiate(composed("dataset=synthetic", "dataset.num_train_images=100")["dataset"])
    num_reads, read = 0, Synthetic.read

    def count(self: Synthetic) -> Any:
        nonlocal num_reads
        num_reads += 1
        return read(self)

    monkeypatch.setattr(Synthetic, "read", count)
    with Process() as process:

        def told(dataset: Synthetic, *, augment: bool = False) -> tuple[int, int | None, int]:
            data = load(process, dataset, augment=augment)
            return len(data.train) + len(data.validation), data.validation_seed, num_reads

        assert told(dataset) == (100, None, 1)
        assert told(dataclasses.replace(dataset)) == (100, None, 1)
        assert told(dataset, augment=True) == (100, 42, 2)
        assert told(dataset) == (100, None, 2)
        assert told(dataclasses.replace(dataset, subset=50)) == (50, None, 3)  # in place of the augmented one
        assert told(dataset) == (100, None, 3)
        assert told(dataset, augment=True) == (100, 42, 4)
    load(process, dataset)
    assert num_reads == 5  # nothing is kept beyond the end
    process.close()


def test_data_are_checked_once_for_all_equal_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset: Digits = instantiate(composed()["dataset"])
    num_reads, read = 0, Digits.read

    def count(self: Digits) -> Any:
        nonlocal num_reads
        num_reads += 1
        return read(self)

    monkeypatch.setattr(Digits, "read", count)
    with Process() as process:
        for _ in range(2):
            process.check_data(dataclasses.replace(dataset))
        assert num_reads == 1
        with pytest.raises(DataError, match=r"1437 training images, but dataset.num_train_images=1438"):
            process.check_data(dataclasses.replace(dataset, num_train_images=1438))


def test_only_the_data_in_use_have_workers_and_none_outlives_the_process(tmp_path: Path) -> None:
    before = children()
    dataset = small(write_tree(tmp_path / "root"), num_workers=1)
    others = [dataclasses.replace(dataset, split_seed=seed) for seed in range(KEPT + 1)]
    with Process() as process:
        for each in others:
            data = load(process, each)
            assert not multiprocessing.active_children()  # those of the data set before have ended
            first = list(data.epoch(seed=0, epoch=0, batch_size=8))
            assert len(multiprocessing.active_children()) == 1
        again = load(process, others[-2])
        assert not multiprocessing.active_children()
        assert len(list(again.epoch(seed=0, epoch=0, batch_size=8))) == len(first)
    assert not multiprocessing.active_children()
    assert children() == before


def test_equal_trackers_are_one_and_end_with_the_process(tmp_path: Path) -> None:
    before = children()
    with Process() as process:
        made = [MLflow(uri=f"sqlite:///{tmp_path}/mlflow.db", experiment=name) for name in ("a", "a", "b")]
        first, again, other = (process.tracker(tracking) for tracking in made)
        assert first is again
        assert first is not other
        assert process.tracker(NoTracking()) is process.tracker(NoTracking())
        first.sync_sweep(tmp_path, over=False)
        assert len(children() - before) == 1
    assert children() == before
