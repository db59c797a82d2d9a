"""The sweeps of the paper's tables and figures: how many runs, phases and epochs they are, and what the report reads of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from bimp_exp.cli.run import add_sweeps
from bimp_exp.config.compose import Composer
from bimp_exp.run import plan
from tests.conftest import ROOT
from tests.sweeps import cost, load, runs

# Runs, distinct phases, epochs of all runs, epochs of the distinct phases, where every schedule counts for itself. A sum is of
# the parts of a table that have keys of their own: BIMP + rivals, GMP + BIMP, IMP + baseline less the dense networks they share.
COSTS = {
    "t01": (108, 110, 10_332, 792),
    "t02": (36 + 372, 76 + 744, 3_240 + 33_480, 1_080 + 33_480),
    "t04": (5_184, 5_190, 1_146_960, 111_360),
    "t05": (5_832, 14_586, 1_336_500, 171_300),
    "t06": (3_888, 3_894, 881_280, 104_880),
    "t07": (1_944, 1_948, 411_480, 23_480),
    "t08": (192, 194, 19_056, 1_956),
    "t09": (216, 542, 22_500, 3_240),
    "t10": (192, 194, 40_176, 2_176),
    "t11": (192, 482, 40_080, 2_080),
    "t12": (144, 146, 4_704, 444),
    "t13": (192, 482, 6_960, 1_260),
    "t14": (192, 194, 59_136, 2_136),
    "t15": (192, 482, 59_280, 2_280),
    "t16": (216, 218, 1_326.6, 256.6),
    "t17": (432, 438, 96_480, 11_280),
    "t18": (108, 110, 10_332, 792),
    "t19": (144, 362, 14_220, 1_440),
    "t20": (240, 242, 50_220, 2_620),
    "t21": (240, 602, 50_100, 2_500),
    "t23": (1_728 + 2_464, 3_552 + 4_928, 345_600 + 566_720, 247_680 + 566_720),
    "t24": (864 + 3_216, 2_214 + 6_432, 172_800 + 739_680, 124_200 + 739_680),
    "t25": (108, 114, 11_772, 1_572),
    "t26": (32, 82, 3_080, 380),
    "t27": (216, 222, 23_544, 2_544),
    "t28": (48 + 16, 96 + 42, 9_600 + 3_200, 9_600 + 1_800),
    "t29": (36 + 48, 72 + 124, 3_240 + 4_320, 3_240 + 1_350),
    "f02": (144 + 216, 146 + 542 - 2, 14_292 + 22_500, 1_512 + 3_240 - 180),
    **dict.fromkeys(("f03", "f04", "f05"), (1_188 + 18, 4_164 + 258 - 6, 383_130 + 54_000, 146_730 + 51_600 - 6 * 200)),
    **dict.fromkeys(("f06", "f07"), (108, 234, 14_970, 5_870)),
    "f08": (900, 909, 207_000, 28_800),
    "f09": (300, 303, 69_000, 9_600),
    "f10": (100, 101, 10_000, 1_090),
    "f11": (1_800, 3_609, 414_000, 55_800),
}
COUNTED_WHERE_THEY_LIE = {"t12", "t13", "t14", "t15", "t16"}  # their data; epochs do not depend on it


@pytest.fixture(scope="module", autouse=True)
def _hydra() -> Iterator[None]:
    add_sweeps()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def written(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "sweeps" / f"paper_{name}.yaml").read_text())
    return found


def blocks(name: str) -> list[dict[str, Any]]:
    block = written(name)["paper"]
    return block if isinstance(block, list) else [block]


def test_every_table_and_figure_with_runs_has_a_sweep() -> None:
    """Tables 3 (settings) and 22 (properties) and Figure 1 (learning rates) have none."""
    tables = {f"t{number:02}" for number in range(1, 30)} - {"t03", "t22"}
    figures = {f"f{number:02}" for number in range(2, 12)}
    assert {path.stem.removeprefix("paper_") for path in (ROOT / "sweeps").glob("paper_???.yaml")} == tables | figures
    assert COSTS.keys() == tables | figures


@pytest.mark.parametrize("name", COSTS)
def test_a_sweep_has_the_runs_and_the_epochs_of_the_papers_grid(name: str) -> None:
    stand_in = ["dataset=digits", "model=resnet20"] if name in COUNTED_WHERE_THEY_LIE else []
    assert cost(runs(f"+sweeps=paper_{name}", *stand_in)) == pytest.approx(COSTS[name])
    head = " ".join(
        line.removeprefix("# ") for line in (ROOT / f"sweeps/paper_{name}.yaml").read_text().splitlines()[:3]
    )
    num_runs, _, requested, distinct = COSTS[name]
    assert f"{num_runs:,} runs, {requested:,} epochs; {distinct:,} of them differ" in head


@pytest.mark.parametrize("name", COSTS)
def test_the_block_for_the_report_names_the_table_and_keys_that_are_swept(name: str) -> None:
    swept = {key for run in runs(f"+sweeps=paper_{name}") for key in (text.partition("=")[0] for text in run)}
    kind, number = {"t": "table", "f": "figure"}[name[0]], str(int(name[1:]))
    assert {kind: number}.items() <= blocks(name)[0].items()
    for block in blocks(name):
        assert block.keys() - {"variant", "table", "figure"} == {"dataset", "model", "select"}
        assert {*block["select"], *block.get("variant", [])} <= swept


def test_the_block_for_the_report_reaches_no_run() -> None:
    made = Composer(load)(["+sweeps=paper_t04", "seed=1"])
    assert not made.config.keys() & {"paper", "recipe", "scale"}
    assert "paper" not in str(made.options)
    plan.from_config(made.config)  # refuses keys that it does not know


def test_the_recipes_rates_hold_with_every_budget_of_a_sweep() -> None:
    """BIMP trains with a linear rate from the same peak, rivals with the recipe's steps; the warm-up of ImageNet stays."""
    composer = Composer(load)
    lr = {b: composer(["+sweeps=paper_t02", f"budget={b}"]).config["lr"] for b in ("bimp", "dense")}
    assert lr["bimp"] == {"_target_": "bimp_exp.lr.Linear", "initial": 0.1, "warmup_epochs": 5}
    assert lr["dense"]["milestones"] == pytest.approx([1 / 3, 2 / 3, 8 / 9])
    assert lr["dense"]["warmup_epochs"] == 5


def test_every_run_of_figures_6_and_7_trains_with_a_linear_rate_and_of_figure_3_the_baseline_retrains_with_lrw() -> (
    None
):
    composer = Composer(load)
    assert {composer(run).config["lr"]["_target_"] for run in runs("+sweeps=paper_f07")} == {"bimp_exp.lr.Linear"}
    made = [composer(run).config for run in runs("+sweeps=paper_f03", "seed=0")]
    rules = {(m["budget"]["_target_"].rpartition(".")[2], m["schedule"]["_target_"].rpartition(".")[2]) for m in made}
    assert rules == {("IMP", "ALLR"), ("Renda", "LRW")}
