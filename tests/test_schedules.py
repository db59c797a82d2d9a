"""Learning rates of dense training and of every retraining schedule, per step."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import nn

from bimp_exp import lr
from bimp_exp.errors import ConfigError
from bimp_exp.pruning.report import snapshot
from bimp_exp.run import plan
from bimp_exp.schedule._rates import compress, tail
from bimp_exp.schedule.base import PruneReport, Retraining
from tests.conftest import ROOT, composed, golden

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


@pytest.mark.parametrize("case", golden("lr_schedules", kind="dense_lr"))
def test_golden_dense(case: dict[str, Any]) -> None:
    assert dense(case["inputs"]["dense"]).rates() == pytest.approx(case["expected"]["lr_per_iteration"], abs=1e-9)


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
    assert found.rates() == pytest.approx(expected[key], abs=1e-9)


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
        assert found.rates() == pytest.approx(expected, abs=1e-9)


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
    assert schedule(name)(ORIGINAL, 5, report()).rates() == pytest.approx(expected)


@pytest.mark.parametrize("name", [n for n in OPTIONS if n not in ("ft", "lrw")])
def test_a_warm_cycle_starts_at_rate_zero_and_peaks_after_a_tenth(name: str) -> None:
    found = schedule(name)(ORIGINAL, 40, report(d1=0.5))
    assert found(0) == 0.0
    assert found(2) == pytest.approx(found(4) / 2)  # half a cosine is at half its height in the middle
    assert found(4) == pytest.approx(found.peak)


def test_lrw_replays_all_of_dense_training_but_no_more() -> None:
    assert schedule("lrw")(ORIGINAL, 100, report()).rates() == ORIGINAL.rates()
    with pytest.raises(ConfigError, match=r"budget\.retrain_epochs"):
        schedule("lrw")(ORIGINAL, 101, report())


def test_llr_without_warmup_starts_at_the_peak_at_once() -> None:
    assert schedule("llr", warmup=0.0)(ORIGINAL, 20, report())(0) == 0.1


def test_the_index_of_slr_is_exact_where_floating_point_is_one_too_low() -> None:
    original = lr.Schedule(60, lambda i: 1.0 + i, 60.0, 1.0)
    assert compress(original, 22)(11) == 31.0  # 11 * 60 / 22 = 30 exactly
    assert compress(original, 22, index_in_floating_point=True)(11) == 30.0  # int(11 * (60 / 22)) = 29


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
    assert len(found.rates()) == n
    assert all(0 <= rate <= ORIGINAL.peak + 1e-12 for rate in found.rates())
    assert found.peak == pytest.approx(max(found.rates())) or found.num_warmup_steps
    assert max(found.rates()) <= found.peak + 1e-12
    assert found.floor == pytest.approx(min(found.rates()[found.num_warmup_steps :]))


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
    found = made.rates()
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
    for made in (stepped, tail(stepped, min(rewound, steps))):
        found = made.rates()
        assert made.peak == max(found)
        assert made.floor == min(found[made.num_warmup_steps :], default=0.0)


@pytest.mark.parametrize("case", golden("methods", kind="gmp_cyclic_lr"))
def test_golden_cyclic(case: dict[str, Any]) -> None:
    i = case["inputs"]
    original = lr.Cyclic(initial=i["initial_lr"], warmup_epochs=0, cycle_epochs=i["pruning_interval"])
    found = original.schedule(i["epochs"] * i["iterations_per_epoch"], i["iterations_per_epoch"]).rates()
    assert found == pytest.approx(case["expected"]["lr_per_iteration"], abs=1e-9)


def test_cycles_are_counted_from_the_start_of_training_also_after_a_warmup() -> None:
    """So that they restart where GMP prunes: cycles of 4 steps, 2 of warm-up, and a last cycle that is cut short."""
    made = lr.Cyclic(initial=0.4, warmup_epochs=1, cycle_epochs=2).schedule(10, 2)
    assert made.rates() == pytest.approx([0, 0.2, 0.2, 0.1, 0.4, 0.3, 0.2, 0.1, 0.4, 0.3])
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
    assert schedule(name)(CYCLIC, 5, report()).rates() == pytest.approx(expected)


@pytest.mark.parametrize("paper", [False, True])
@given(n=st.integers(1, 120), steps=st.integers(21, 60), cycle=st.integers(1, 6), warmup=st.integers(0, 4))
def test_peak_and_floor_after_cycles_are_those_of_all_steps(
    paper: bool, n: int, steps: int, cycle: int, warmup: int
) -> None:
    original = lr.Cyclic(initial=0.1, warmup_epochs=warmup, cycle_epochs=cycle).schedule(steps, 5)
    found = original.rates()
    assert original.peak == max(found)
    assert original.floor == min(found[original.num_warmup_steps :])
    for made in (schedule("slr", paper, warmup=0.0)(original, n, report()), tail(original, min(n, steps))):
        found = made.rates()
        assert max(found) <= made.peak
        assert made.floor == min(found[made.num_warmup_steps :], default=0.0)


def sgd() -> torch.optim.SGD:
    """Two parameter groups, with rates that a schedule replaces."""
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    return torch.optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.7}], lr=0.3)


def used_rates(
    optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler, n: int
) -> list[list[float]]:
    """The rates of the parameter groups in every one of ``n`` steps of a loop as PyTorch's documentation has it."""
    seen = []
    for _ in range(n):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("name", OPTIONS)
def test_as_a_scheduler_of_pytorch_every_group_has_the_same_rates(name: str) -> None:
    about = report(d1=0.4, drop=0.3)
    made, optimizer = schedule(name), sgd()
    scheduler = made.lr_scheduler(optimizer, original=ORIGINAL, num_steps=23, report=about)
    assert used_rates(optimizer, scheduler, 23) == [[rate, rate] for rate in made(ORIGINAL, 23, about).rates()]


def test_schedulers_of_several_cycles_follow_each_other_on_one_optimizer() -> None:
    """An earlier scheduler leaves its base rate in the groups, which a LambdaLR would multiply with."""
    optimizer = sgd()
    dense_steps = used_rates(optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 3), 5)
    assert dense_steps[0] == [0.3, 0.7]
    for n in (7, 12):
        rates = schedule("allr")(ORIGINAL, n, report(d1=0.4))
        assert used_rates(optimizer, rates.lr_scheduler(optimizer), n) == [[rate, rate] for rate in rates.rates()]


def test_a_scheduler_repeats_its_last_rate_once_and_ends() -> None:
    optimizer = sgd()
    scheduler = lr.linear(1.0, 4).lr_scheduler(optimizer)
    used_rates(optimizer, scheduler, 4)
    assert scheduler.get_last_lr() == [0.25, 0.25]
    with pytest.raises(IndexError, match="step 5 of a schedule of 4 steps"):
        scheduler.step()


NOT_ADAPTIVE = {"allr_d2", "clr", "constant", "cosine", "ft", "linear", "llr", "lrw", "slr", "stepped"}


@pytest.mark.parametrize("name", OPTIONS)
@given(
    n=st.integers(1, 60),
    d1=st.tuples(st.floats(0, 2), st.floats(0, 2)),
    drop=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_rates_depend_on_the_pruning_only_where_a_schedule_says_so(
    name: str, n: int, d1: tuple[float, float], drop: tuple[float, float]
) -> None:
    made = schedule(name)
    assert made.adaptive == (name not in NOT_ADAPTIVE)
    one, other = (made(ORIGINAL, n, report(d1=d, drop=a)).rates() for d, a in zip(d1, drop, strict=True))
    assert made.adaptive or one == other


@pytest.mark.parametrize("name", sorted({*OPTIONS} - NOT_ADAPTIVE))
def test_an_adaptive_schedule_tells_a_harsh_pruning_from_a_mild_one(name: str) -> None:
    mild, harsh = report(d1=0.3, drop=0.3), report(d1=0.6, drop=0.6)
    assert max(schedule(name)(ORIGINAL, 20, harsh).rates()) == pytest.approx(
        2 * max(schedule(name)(ORIGINAL, 20, mild).rates())
    )


def test_of_all_schedules_acc_allr_alone_needs_the_training_metric_after_pruning() -> None:
    assert {name for name in OPTIONS if schedule(name).extra_pass} == {"acc_allr"}


def test_a_schedule_of_ones_own_counts_as_adaptive_and_needs_no_extra_pass() -> None:
    class Own(Retraining):
        def __call__(self, original: lr.Schedule, num_steps: int, report: PruneReport) -> lr.Schedule:
            return lr.constant(report.removed_norm, num_steps)

    assert (Own().adaptive, Own().extra_pass) == (True, False)


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


def test_acc_allr_refuses_a_report_without_the_metrics_that_it_needs() -> None:
    """A default of 1.0 would have meant: no damage."""
    layer = torch.nn.Linear(2, 1)
    report = PruneReport.measure(snapshot(layer), layer, retrain_epochs=1, epochs=2)
    with pytest.raises(ConfigError, match="train_metric_dense"):
        schedule("acc_allr")(lr.linear(0.1, 10), 10, report)


@pytest.mark.parametrize(("reference", "peak"), [("null", 0.05), ("20", 0.025), ("4", 0.1)])
def test_d2_compares_with_dense_training_or_with_the_epochs_given(reference: str, peak: float) -> None:
    config = composed(
        "budget=imp",
        "budget.epochs=10",
        "budget.retrain_epochs=5",
        "schedule=allr_d2",
        f"schedule.reference_epochs={reference}",
    )
    assert plan.from_config(config).phases[1].start == (peak, peak)
