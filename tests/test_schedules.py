"""Learning rates of dense training and of every retraining schedule, per step."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from bimp_exp import lr
from bimp_exp.errors import ConfigError
from bimp_exp.schedule.base import PruneReport
from tests.conftest import ROOT, golden

OPTIONS = sorted(path.stem for path in (ROOT / "conf" / "schedule").glob("*.yaml"))
NAMES = {"AccALLR": "acc_allr", "ALLRd1": "allr_d1", "ALLRd2": "allr_d2"}


def schedule(name: str, paper: bool = False, **changes: Any) -> Any:
    """An option of conf/schedule as the program would make it."""
    text = (ROOT / "conf" / "schedule" / f"{name}.yaml").read_text()
    flags = OmegaConf.load(ROOT / "conf" / "conventions" / ("paper.yaml" if paper else "clean.yaml"))
    cfg = OmegaConf.create({"schedule": OmegaConf.create(text), "conventions": flags})
    return instantiate(OmegaConf.to_container(cfg, resolve=True)["schedule"], **changes)  # type: ignore[index]


def dense(spec: dict[str, Any]) -> lr.Schedule:
    """The original schedule of a golden case."""
    kinds = {"multistep": lr.Stepped, "linear": lr.Linear}
    extra = {}
    if spec["kind"] == "multistep":
        extra = {"milestones": [e / spec["epochs"] for e in spec["milestone_epochs"]], "gamma": spec["gamma"]}
    original = kinds[spec["kind"]](initial=spec["initial_lr"], warmup_epochs=spec["warmup_epochs"], **extra)
    return original.schedule(spec["epochs"] * spec["iterations_per_epoch"], spec["iterations_per_epoch"])


def report(*, d1: float = 0.0, ratio: float = 0.2, drop: float = 0.0) -> PruneReport:
    """A pruning with the given d1, T_rt / T and relative drop of the training accuracy."""
    return PruneReport(
        fraction=1.0, removed_norm=d1, norm_all=1.0, norm_prunable=1.0, length_ratio=ratio,
        train_metric_dense=1.0, train_metric_pruned=1.0 - drop,
    )  # fmt: skip


def rates(schedule: lr.Schedule) -> list[float]:
    return [schedule(i) for i in range(schedule.num_steps)]


@pytest.mark.parametrize("case", golden("lr_schedules", kind="dense_lr"))
def test_golden_dense(case: dict[str, Any]) -> None:
    assert rates(dense(case["inputs"]["dense"])) == pytest.approx(case["expected"]["lr_per_iteration"], abs=1e-9)


@pytest.mark.parametrize("paper", [False, True])
@pytest.mark.parametrize("case", golden("lr_schedules", kind="retrain_lr"))
def test_golden_retraining(case: dict[str, Any], paper: bool) -> None:
    spec, retrain = case["inputs"]["dense"], case["inputs"]["retrain"]
    expected = case["expected"]
    key = "bimp_code_lr_per_iteration" if paper and "bimp_code_lr_per_iteration" in expected else "lr_per_iteration"
    name = retrain["schedule"]
    changes = {
        new: retrain[old] for old, new in (("initial_lr", "initial"), ("warmup_fraction", "warmup")) if old in retrain
    }
    made = schedule(NAMES.get(name, name.lower()), paper, **changes)
    d1 = retrain.get("d1", 0.0)
    ratio = retrain["epochs"] / spec["epochs"]
    found = made(dense(spec), retrain["epochs"] * spec["iterations_per_epoch"], report(d1=d1, ratio=ratio, drop=d1))
    assert rates(found) == pytest.approx(expected[key], abs=1e-9)


@pytest.mark.parametrize("case", golden("lr_schedules", kind="retrain_lr_cycles"))
def test_golden_cycles(case: dict[str, Any]) -> None:
    spec, retrain = case["inputs"]["dense"], case["inputs"]["retrain"]
    for epochs, d1, expected in zip(
        retrain["epochs_per_cycle"],
        retrain["d1_per_cycle"],
        case["expected"]["lr_per_iteration_per_cycle"],
        strict=True,
    ):
        about = report(d1=d1, ratio=epochs / spec["epochs"])
        found = schedule("allr")(dense(spec), epochs * spec["iterations_per_epoch"], about)
        assert rates(found) == pytest.approx(expected, abs=1e-9)


ORIGINAL = dense(
    {"kind": "multistep", "initial_lr": 0.1, "epochs": 20, "iterations_per_epoch": 5, "milestone_epochs": [9, 18],
     "gamma": 0.1, "warmup_epochs": 0}
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ft", [0.001] * 5),
        ("lrw", [0.001] * 5),
        ("slr", [0.1, 0.1, 0.1, 0.01, 0.01]),  # 0, 20, 40, 60, 80 of 100 original steps; drops at 45 and 90
        ("llr", [0.1, 0.08, 0.06, 0.04, 0.02]),
        ("allr", [0.02, 0.016, 0.012, 0.008, 0.004]),  # d = d2 = 0.2
        ("constant", [0.05] * 5),
        ("linear", [0.05, 0.04, 0.03, 0.02, 0.01]),
    ],
)
def test_five_steps_have_no_warmup(name: str, expected: list[float]) -> None:
    assert rates(schedule(name)(ORIGINAL, 5, report())) == pytest.approx(expected)


@pytest.mark.parametrize("name", [n for n in OPTIONS if n not in ("ft", "lrw")])
def test_a_warm_cycle_starts_at_rate_zero_and_peaks_after_a_tenth(name: str) -> None:
    found = schedule(name)(ORIGINAL, 40, report(d1=0.5))
    assert found(0) == 0.0
    assert found(2) == pytest.approx(found(4) / 2)  # half a cosine is at half its height in the middle
    assert found(4) == pytest.approx(found.peak)


def test_lrw_replays_all_of_dense_training_but_no_more() -> None:
    assert rates(schedule("lrw")(ORIGINAL, 100, report())) == rates(ORIGINAL)
    with pytest.raises(ConfigError, match=r"budget\.retrain_epochs"):
        schedule("lrw")(ORIGINAL, 101, report())


def test_llr_without_warmup_starts_at_the_peak_at_once() -> None:
    assert schedule("llr", warmup=0.0)(ORIGINAL, 20, report())(0) == 0.1


def test_the_index_of_slr_is_exact_where_floating_point_is_one_too_low() -> None:
    original = lr.Schedule(60, lambda i: 1.0 + i, 60.0, 1.0)
    assert lr.compress(original, 22)(11) == 31.0  # 11 * 60 / 22 = 30 exactly
    assert lr.compress(original, 22, index_in_floating_point=True)(11) == 30.0  # int(11 * (60 / 22)) = 29


def test_allr_takes_the_norm_it_is_told() -> None:
    about = PruneReport(
        fraction=0.25, removed_norm=1.0, norm_all=4.0, norm_prunable=2.5, length_ratio=0.1,
        train_metric_dense=1.0, train_metric_pruned=1.0,
    )  # fmt: skip
    assert schedule("allr", norm="all").discount(about) == 0.5  # 1 / (4 * 0.5)
    assert schedule("allr", norm="prunable").discount(about) == 0.8  # 1 / (2.5 * 0.5)


def test_acc_allr_clips_and_survives_an_accuracy_of_zero() -> None:
    made = schedule("acc_allr")
    assert made.discount(report(drop=0.6)) == pytest.approx(0.6)
    assert made.discount(report(drop=-0.1)) == 0.2  # better after pruning: d2
    nothing = PruneReport(
        fraction=0.5, removed_norm=1, norm_all=1, norm_prunable=1, length_ratio=0.3, train_metric_dense=0.0,
        train_metric_pruned=0.0,
    )  # fmt: skip
    assert made.discount(nothing) == 0.3


def test_nothing_pruned_or_no_weights_give_no_damage() -> None:
    for fraction, whole in ((0.0, 1.0), (0.5, 0.0)):
        about = PruneReport(
            fraction=fraction, removed_norm=0.0, norm_all=whole, norm_prunable=whole, length_ratio=2.0,
            train_metric_dense=1.0, train_metric_pruned=1.0,
        )  # fmt: skip
        assert about.d1() == 0.0
        assert about.d2 == 1.0


@pytest.mark.parametrize("name", OPTIONS)
@given(n=st.integers(1, 60), d1=st.floats(0, 2), ratio=st.floats(0.001, 2), drop=st.floats(0, 1))
def test_every_rate_lies_between_zero_and_the_original_peak(
    name: str, n: int, d1: float, ratio: float, drop: float
) -> None:
    found = schedule(name)(ORIGINAL, n, report(d1=d1, ratio=ratio, drop=drop))
    assert len(rates(found)) == n
    assert all(0 <= rate <= ORIGINAL.peak + 1e-12 for rate in rates(found))
    assert found.peak == pytest.approx(max(rates(found))) or found.num_warmup_steps
    assert max(rates(found)) <= found.peak + 1e-12
    assert found.floor == pytest.approx(min(rates(found)[found.num_warmup_steps :]))


@given(
    kind=st.sampled_from(["constant", "linear", "cosine", "stepped"]),
    steps=st.integers(20, 200),
    warmup=st.integers(0, 3),
    initial=st.floats(1e-3, 1),
)
def test_original_schedules_warm_up_linearly_and_never_rise_after(
    kind: str, steps: int, warmup: int, initial: float
) -> None:
    classes = {"constant": lr.Constant, "linear": lr.Linear, "cosine": lr.Cosine, "stepped": lr.Stepped}
    extra: dict[str, Any] = {"milestones": [0.8, 0.9], "gamma": 0.1} if kind == "stepped" else {}
    made = classes[kind](initial=initial, warmup_epochs=warmup, **extra).schedule(steps, 5)
    found = rates(made)
    assert found[: warmup * 5] == pytest.approx([initial * i / (warmup * 5) for i in range(warmup * 5)])
    after = found[warmup * 5 :]
    assert (max(found), min(after)) == pytest.approx((made.peak, made.floor))
    assert after[0] == pytest.approx(initial)
    assert all(a >= b >= 0 for a, b in itertools.pairwise(after))


@given(
    milestones=st.lists(st.floats(0, 1), max_size=4),
    gamma=st.floats(0.1, 3),
    warmup=st.integers(0, 4),
    steps=st.integers(21, 60),
    rewound=st.integers(1, 60),
)
def test_peak_and_floor_are_those_of_all_steps(
    milestones: list[float], gamma: float, warmup: int, steps: int, rewound: int
) -> None:
    stepped = lr.Stepped(initial=0.1, warmup_epochs=warmup, milestones=milestones, gamma=gamma).schedule(steps, 5)
    for made in (stepped, lr.tail(stepped, min(rewound, steps))):
        found = rates(made)
        assert made.peak == max(found)
        assert made.floor == min(found[made.num_warmup_steps :], default=0.0)


@pytest.mark.parametrize("case", golden("methods", kind="gmp_cyclic_lr"))
def test_golden_cyclic(case: dict[str, Any]) -> None:
    i = case["inputs"]
    original = lr.Cyclic(initial=i["initial_lr"], warmup_epochs=0, cycle_epochs=i["pruning_interval"])
    found = rates(original.schedule(i["epochs"] * i["iterations_per_epoch"], i["iterations_per_epoch"]))
    assert found == pytest.approx(case["expected"]["lr_per_iteration"], abs=1e-9)


def test_cycles_are_counted_from_the_start_of_training_also_after_a_warmup() -> None:
    """So that they restart where GMP prunes: cycles of 4 steps, 2 of warm-up, and a last cycle that is cut short."""
    made = lr.Cyclic(initial=0.4, warmup_epochs=1, cycle_epochs=2).schedule(10, 2)
    assert rates(made) == pytest.approx([0, 0.2, 0.2, 0.1, 0.4, 0.3, 0.2, 0.1, 0.4, 0.3])
    assert (made.peak, made.floor) == pytest.approx((0.4, 0.1))


CYCLIC = lr.Cyclic(initial=0.1, warmup_epochs=0, cycle_epochs=2).schedule(100, 5)  # 10 cycles from 0.1 to 0.01


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ft", [0.01] * 5),
        ("lrw", [0.05, 0.04, 0.03, 0.02, 0.01]),
        ("slr", [0.1] * 5),  # 0, 20, 40, 60, 80 of 100 original steps: a restart each
        ("llr", [0.1, 0.08, 0.06, 0.04, 0.02]),
        ("clr", [0.01 + 0.045 * (1 + math.cos(math.pi * k / 5)) for k in range(5)]),  # from 0.1 towards 0.01
    ],
)
def test_retraining_after_cycles(name: str, expected: list[float]) -> None:
    assert rates(schedule(name)(CYCLIC, 5, report())) == pytest.approx(expected)


@pytest.mark.parametrize("paper", [False, True])
@given(n=st.integers(1, 120), steps=st.integers(21, 60), cycle=st.integers(1, 6), warmup=st.integers(0, 4))
def test_peak_and_floor_after_cycles_are_those_of_all_steps(
    paper: bool, n: int, steps: int, cycle: int, warmup: int
) -> None:
    original = lr.Cyclic(initial=0.1, warmup_epochs=warmup, cycle_epochs=cycle).schedule(steps, 5)
    found = rates(original)
    assert original.peak == max(found)
    assert original.floor == min(found[original.num_warmup_steps :])
    for made in (schedule("slr", paper, warmup=0.0)(original, n, report()), lr.tail(original, min(n, steps))):
        found = rates(made)
        assert max(found) <= made.peak
        assert made.floor == min(found[made.num_warmup_steps :], default=0.0)


def test_a_warmup_as_long_as_training_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lr\.warmup_epochs=4"):
        lr.Linear(initial=0.1, warmup_epochs=4).schedule(20, 5)


def test_a_schedule_has_no_rate_outside_its_steps() -> None:
    with pytest.raises(IndexError):
        lr.constant(0.1, 3)(3)


def test_peak_and_floor_leave_the_warmup_out() -> None:
    found = lr.Stepped(initial=0.2, warmup_epochs=1, milestones=[0.5], gamma=0.5).schedule(20, 5)
    assert (found.peak, found.floor, found(0)) == (0.2, 0.1, 0.0)
    assert math.isclose(found(1), 0.04)


def test_every_schedule_file_has_its_option() -> None:
    files = {p.stem for p in Path(lr.__file__).with_name("schedule").glob("[!_]*.py")} - {"base"}
    assert files == set(OPTIONS)
