"""Sweeps at another scale: which runs stay, what stands for data and network, and that all that counts epochs keeps its share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from bimp_exp.cli.run import add_sweeps
from bimp_exp.cli.run import run as command
from bimp_exp.config.compose import Composed, Composer
from bimp_exp.errors import ConfigError
from bimp_exp.run import plan
from bimp_exp.sweep.scale import Scale
from tests.conftest import ROOT
from tests.sweeps import load, runs
from tests.test_paper_sweeps import COSTS

SCALES = ("ci", "laptop")
NUM_RUNS = {  # schedules or methods x sparsities x budgets x weight decays x seeds
    "t01": (4 * 2 * 2 * 2, 6 * 3 * 3 * 2),
    "t02": (4 + 6 * 2 * 2 * 2 + 2 * 2 * 2, 212),
    "t04": (4 * 2 * 2 * 2 * 2, 6 * 4 * 4 * 2 * 2),
    "t05": (4 * 2 * 2 * 2 * 2 * 2, 6 * 3 * 2 * 3 * 2 * 2),
    "t06": (64, 6 * 4 * 3 * 2 * 2),
    "t07": (64, 6 * 3 * 3 * 2 * 2),
    "t08": (32, 192),
    "t09": (64, 216),
    "t10": (32, 192),
    "t11": (64, 192),
    "t12": (32, 144),
    "t13": (64, 192),
    "t14": (32, 192),
    "t15": (64, 192),
    "t16": (32, 216),
    "t17": (64, 288),
    "t18": (32, 108),
    "t19": (64, 144),
    "t20": (32, 240),
    "t21": (64, 240),
    "t23": (6 * 2 * 2 + 3 * 2, 896),
    "t24": (2 * 2 * 2 * 2 + 5 * 2 * 2 * 2 + 3 * 2 * 2, 912),
    "t25": (32, 72),
    "t26": (32, 32),
    "t27": (32, 144),
    "t28": (32, 64),
    "t29": (32, 84),
    "f02": (96, 360),
    **dict.fromkeys(("f03", "f04", "f05"), (2 * 3 * 2 * 2 * 2 + 2 * 2 * 2, 3 * 6 * 11 * 2 * 2 + 3 * 2 * 2)),
    **dict.fromkeys(("f06", "f07"), (2 * 2 * 3 * 2, 108)),
    "f08": (2 * 2 * 3 * 2 * 2, 2 * 5 * 9 * 2 * 2),
    "f09": (2 * 2 * 3 * 2, 2 * 5 * 9 * 2),
    "f10": (2 * 2 * 3, 100),
    "f11": (2 * 2 * 2 * 3 * 2 * 2, 2 * 2 * 5 * 5 * 2 * 2),
}


@pytest.fixture(scope="module", autouse=True)
def _hydra() -> Iterator[None]:
    add_sweeps()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def configs(*arguments: str) -> list[dict[str, Any]]:
    composer = Composer(load)
    return [composer(run).config for run in runs(*arguments)]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", COSTS)
def test_every_sweep_has_a_plan_at_every_scale(name: str, scale: str) -> None:
    made = configs(f"+sweeps=paper_{name}", f"+scale={scale}")
    assert len(made) == NUM_RUNS[name][SCALES.index(scale)]
    small = {
        "ci": ("Digits", "DigitScenes", "NumberWords"),
        "laptop": ("Cifar", "Synthetic", "DigitScenes", "SmallGrammar"),
    }
    for config in made[:: 1 + len(made) // 20]:
        assert config["dataset"]["_target_"].rpartition(".")[2] in small[scale]
        assert plan.from_config(config).num_steps > 0


@pytest.mark.parametrize("name", ["f08", "f09", "f10", "f11"])
@pytest.mark.parametrize("scale", SCALES)
def test_every_selector_reaches_the_sparsities_on_the_network_of_the_scale(
    scale: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network is built and asked, as before any sweep; CIFAR-10 is looked at in the plan only where it is there."""
    monkeypatch.chdir(tmp_path)
    data = [] if scale == "ci" else ["dataset=synthetic"]
    GlobalHydra.instance().clear()
    try:
        command([f"+sweeps=paper_{name}", f"+scale={scale}", "plan=true", "tracking=none", "seed=0", *data])
    finally:
        initialize_config_dir(str(ROOT / "conf"), version_base="1.3")
    assert "nothing was started" in capsys.readouterr().out


def test_table_4_in_ci() -> None:
    made = configs("+sweeps=paper_t04", "+scale=ci")
    found = {
        "data": {(m["dataset"]["_target_"].rpartition(".")[2], m["model"]["depth"]) for m in made},
        "T": {m["budget"]["epochs"] for m in made},
        "T_rt": {m["budget"]["retrain_epochs"] for m in made},
        "s": {m["sparsity"] for m in made},
        "wd": {m["optim"]["weight_decay"] for m in made},
        "batch": {m["optim"]["batch_size"] for m in made},
        "schedule": {m["schedule"]["_target_"].rpartition(".")[2] for m in made},
        "seed": {m["seed"] for m in made},
    }
    assert found == {
        "data": {("Digits", 8)}, "T": {20}, "T_rt": {0.5, 5}, "s": {0.5, 0.99}, "wd": {1e-4, 5e-4}, "batch": {128},
        "schedule": {"FT", "CLR", "LLR", "ALLR"}, "seed": {0, 1},
    }  # fmt: skip


def test_all_that_counts_epochs_follows_t() -> None:
    """Of 200 epochs: 30 of fine-tuning, an interval of 10, T_0 = 100; of 90: 5 of warm-up, cycles of 5 and 10; of 5: a tenth."""
    (gmp,) = [
        m for m in configs("+sweeps=paper_t23", "+scale=ci", "seed=0", "sparsity=0.9") if "GMP" in str(m["method"])
    ]
    assert (gmp["budget"]["finetune_epochs"], gmp["method"]["interval"]) == (3, 1)
    bimp = configs("+sweeps=paper_t23", "+scale=laptop", "seed=0")[0]
    assert (bimp["budget"]["epochs"], bimp["budget"]["dense_epochs"]) == (40, 4)
    cyclic = [m for m in configs("+sweeps=paper_t29", "+scale=laptop", "seed=0") if "Cyclic" in str(m["lr"])]
    assert {(m["lr"]["cycle_epochs"], m["method"]["interval"]) for m in cyclic} == {(2, 2), (4, 4)}
    assert {m["lr"]["warmup_epochs"] for m in cyclic} == {20 / 9}
    assert {m["budget"]["retrain_epochs"] for m in configs("+sweeps=paper_t16", "+scale=ci")} == {0.1, 3}


def test_dense_trainings_of_many_lengths_keep_their_shares_of_t() -> None:
    made = configs("+sweeps=paper_f07", "+scale=laptop")
    assert sorted({m["budget"]["epochs"] for m in made}) == [2, 5, 10, 15, 20, 25, 30, 35, 40]
    assert {(m["budget"]["cycles"], m["budget"]["retrain_epochs"]) for m in made} == {(1, 6), (3, 3)}


@pytest.mark.parametrize("swapped", [False, True])
def test_the_command_line_wins_wherever_the_scale_stands(swapped: bool) -> None:
    line = ["+sweeps=paper_t04", "+scale=ci", "budget.epochs=10", "seed=7,8,9", "model=resnet32", "optim.batch_size=64"]
    line = line[::-1] if swapped else line
    made = configs(*line)
    assert len(made) == 64 // 2 * 3
    assert {m["model"]["depth"] for m in made} == {32}
    assert {m["optim"]["batch_size"] for m in made} == {64}
    assert {(m["budget"]["epochs"], m["budget"]["retrain_epochs"]) for m in made} == {(10, 0.25), (10, 2.5)}


def test_a_scale_is_for_any_sweep() -> None:
    made = configs("+recipe=cifar10", "+scale=ci", "schedule=allr,clr", "budget.retrain_epochs=1")
    assert [(m["dataset"]["num_classes"], m["model"]["depth"], m["budget"]["epochs"]) for m in made] == [
        (10, 8, 20)
    ] * 2
    assert [m["budget"]["retrain_epochs"] for m in made] == [1, 1]


@given(st.fractions(min_value="0.01", max_value=100), st.integers(1, 100), st.integers(1, 300))
def test_the_share_of_retraining_is_kept_exactly(retrain: Any, epochs: int, recipe_epochs: int) -> None:
    """However long: T_rt/T is the same number before and after, up to the last digit of a float."""
    before = float(retrain)
    scale = Scale(always={"budget.epochs": epochs}, instead={}, lists={}, kept=[])
    config = {"budget": {"epochs": recipe_epochs, "retrain_epochs": before}, "lr": {}, "method": {}}
    run = scale.run([], Composed(config=config, choices={}, run_options={}), recipe_epochs, [])
    made = dict(text.split("=") for text in run)
    assert int(made["budget.epochs"]) == epochs
    assert math.isclose(float(made["budget.retrain_epochs"]) / epochs, before / recipe_epochs, rel_tol=1e-12)


@given(st.lists(st.integers(-50, 50), min_size=1, unique=True))
def test_first_and_last_of_a_list_stay_or_all(values: list[int]) -> None:
    text = ",".join(map(str, values))
    for kept, expected in (([], list(dict.fromkeys([values[0], values[-1]]))), (["seed"], values)):
        scale = Scale(always={"budget.epochs": 1}, instead={}, lists={}, kept=kept)
        (grid,) = scale.grids({"seed": text}, None, [])
        assert grid == {"seed": ",".join(map(str, expected))}


@pytest.mark.parametrize("scale", SCALES)
def test_every_rule_for_a_list_is_about_a_list_of_a_sweep(scale: str) -> None:
    """Else it would have no effect, as after a change of the grid that it is about."""
    rules = Scale.read(OmegaConf.to_container(load([f"+scale={scale}"]).scale)).lists  # type: ignore[arg-type]
    written = {path.read_text() for path in (ROOT / "sweeps").glob("paper_*.yaml")}
    for key, lists in rules.items():
        for values in lists:
            assert any(f" {key}: {values}\n" in text or f" {key}: {values}  #" in text for text in written), (
                key,
                values,
            )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["+sweeps=schedules", "+scale=ci,laptop"], "+scale=ci,laptop: a sweep has one scale, which its folder is named by"),
        (["+scale=ci"], "+scale=ci is for sweeps, add -m or +sweeps=NAME"),
        (
            ["+sweeps=schedules", "+scale=ci", "+scale.list=3"],
            "no such key: scale.list (did you mean lists?); the keys for scale are always, instead, kept, lists",
        ),
        (["+sweeps=schedules", "+scale=ci", "scale.kept=seed"], "scale.kept=seed must be a list"),
        (
            ["+sweeps=schedules", "+scale=ci", "~scale.always"],
            "scale.always=null must be a mapping",
        ),
    ],
)  # fmt: skip
def test_a_scale_that_is_none_is_refused_in_one_line(
    line: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    GlobalHydra.instance().clear()
    try:
        with pytest.raises(ConfigError) as refused:
            command([*line, "tracking=none"])
    finally:
        initialize_config_dir(str(ROOT / "conf"), version_base="1.3")
    assert str(refused.value) == said
    assert not list(tmp_path.rglob("*.json"))
