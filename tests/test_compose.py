"""Configurations of many command lines without composing each: the same as Hydra gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from bimp_exp.config.choices import parse
from bimp_exp.config.compose import Composer
from bimp_exp.config.resolve import resolve, without_hydra
from bimp_exp.sweep.cells import sweep_name
from tests.conftest import ROOT


@pytest.fixture(scope="module", autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


loads: list[list[str]] = []


def load(overrides: list[str]) -> DictConfig:
    loads.append(overrides)
    return compose("config", overrides=overrides, return_hydra_config=True)


LINES = [
    [],
    ["seed=3"],
    ["schedule=clr", "seed=3", "optim.weight_decay=1e-4"],
    ["sparsity=.95", "budget.retrain_epochs=null", "dataset.mean=[0.5]"],
    ["dataset=cifar10", "dataset.root='/a b/c,d'", "budget=imp", "budget.cycles=2"],
    ["method=cs", "conventions=paper", "method.initial=-0.5"],
    ["method=cs", "conventions.double_weight_decay=true"],  # method.double_weight_decay is interpolated from it
    ["seed=${budget.cycles}"],
    ["+extra=1"],
    ["lr=stepped", "lr.milestones=[0.3,0.8]", "lr.gamma=0.2", "dataset.mean=['0.5',null]"],
    ["lr=stepped", "lr.milestones=[[0.3],{a:1}]"],
    ["lr=stepped", "lr.milestones=['${sparsity}']"],
    ["plan=true", "sweep.retry=failed"],
    ["optim.batch_size=7", "seed=1", "optim.batch_size=8"],
]


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_a_configuration_is_what_hydra_composes(line: list[str]) -> None:
    whole = compose("config", overrides=line, return_hydra_config=True)
    values, run_options = resolve(without_hydra(whole))
    composer = Composer(load)
    for _ in range(2):  # the second time from what the first has left
        made = composer(line)
        assert (made.config, made.run_options) == (values, run_options)
        assert made.choices == dict(whole.hydra.runtime.choices)
        made.config["optim"]["batch_size"] = -1  # a copy: the next must not see it


@pytest.mark.parametrize("run_options", [[], ["plan=true"], ["sweep.retry=failed"]])
def test_runs_that_differ_in_values_are_composed_once(run_options: list[str]) -> None:
    composer = Composer(load)
    composer(["schedule=clr", "seed=0", *run_options])
    loads.clear()
    lines = [["schedule=clr", f"seed={seed}", f"dataset.mean=[0.{seed}]", *run_options] for seed in range(100)]
    configs = [composer(line).config for line in lines]
    assert not loads
    assert [config["seed"] for config in configs] == list(range(100))
    assert configs[25]["dataset"]["mean"] == [0.25]


def test_a_wrong_key_is_refused_as_hydra_does() -> None:
    with pytest.raises(HydraException, match=r"budget\.cycls"):
        Composer(load)(["budget.cycls=3"])


def name(*line: str) -> str:
    return sweep_name(parse(line))


def test_a_sweep_is_named_by_what_it_sweeps() -> None:
    assert name("schedule=allr,clr", "budget.cycles=1,2,3") == "budget.cycles+schedule"
    assert name("budget.cycles=1,2,3,4", "schedule=allr") != name("budget.cycles=1,2,3,4")
    assert name("schedule=allr,clr", "seed=range(0,3)") == name("seed=range(0,5)", "schedule=allr,clr,llr")
    assert name("+sweeps=schedules") == "schedules"
    assert name("+sweeps=schedules", "model=resnet56").startswith("schedules~")
    assert name("+sweeps=schedules", "model=resnet56") != name("+sweeps=schedules", "model=resnet20")


def test_a_scale_is_in_the_name_of_a_sweep_and_more_seeds_of_a_file_go_on_in_its_folder() -> None:
    assert name("+sweeps=paper_t04", "+scale=ci") == name("+scale=ci", "+sweeps=paper_t04") == "paper_t04+ci"
    assert name("+sweeps=paper_t04", "seed=7") == name("+sweeps=paper_t04", "seed=range(0,10)") == "paper_t04"
    assert name("+sweeps=paper_t04", "+scale=ci", "seed=2,3", "store=own") == "paper_t04+ci"
    assert name("+sweeps=paper_t04", "seed=7", "sparsity=0.9,0.95") == "paper_t04+sparsity"
    assert name("schedule=clr,allr", "seed=7") != name(
        "schedule=clr,allr", "seed=8"
    )  # no file: nothing else tells them apart


def test_where_the_data_lie_and_what_watches_does_not_name_a_sweep() -> None:
    same = ["dataset.root=/x", "tracking=none", "runtime.threads=2", "plan=true", "sweep.retry=failed", "store=own"]
    assert name("schedule=allr,clr", *same, "hydra.launcher.jobs=2") == "schedule"
    assert Path(name("schedule=allr,clr", "model=resnet56")).name.startswith("schedule~")
