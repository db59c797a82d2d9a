"""What a phase is stored under changes with all that can change its numbers, and with nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bimp_exp.lr import constant
from bimp_exp.run import keys as module
from bimp_exp.run import plan
from bimp_exp.run.keys import phase_keys
from tests.conftest import composed
from tests.toy_runs import FEW


def keys(*overrides: str, data: str = "digest", **facts: Any) -> list[str]:
    """Those of dense training and of two cycles, unless there is another budget."""
    few = [*FEW, "budget.cycles=2"]
    if any(override.startswith("budget=") for override in overrides):
        few = [each for each in few if not each.startswith("budget.")]
    cfg = composed(*few, *overrides)
    return phase_keys(cfg, plan.from_config(cfg), {"data": data, **facts})


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ("seed=1", 0),
        ("dataset.flip=true", 0),  # changes neither the images nor the number of steps
        ("model=resnet32", 0),
        ("optim.weight_decay=0", 0),
        ("lr=cosine", 0),
        ("budget.dense_epochs=3", 0),
        ("conventions.augment_validation=true", 0),
        ("runtime.precision=bf16", 0),  # of a recipe; of a phase, what is done decides (test_runtime.py)
        ("method=wr", 0),
        ("schedule=llr", 1),
        ("schedule.warmup=0", 1),
        ("selector=lamp", 1),
        ("sparsity=0.8", 1),
        ("budget.epochs=7", 2),  # split over the cycles, the rest to the last
        ("tracking=none", 3),
        ("store=own", 3),
        ("task.label_smoothing=0.1", 0),
        ("runtime.threads=2", 3),  # the number really used is among the facts of a run
    ],
)
def test_the_first_phase_with_another_key(change: str, first: int) -> None:
    """Three keys: 3 is none of them."""
    same = [a == b for a, b in zip(keys(), keys(change), strict=True)]
    assert same == [i < first for i in range(3)]


@pytest.mark.parametrize("method", ["gsm", "lc", "str", "cs"])
def test_a_pretrained_network_is_that_of_imp(method: str) -> None:
    """The dense phase of each seed is shared; the method, its goal and its selector decide from the second phase on."""
    imp = keys("budget=imp", "budget.epochs=9")
    pretrained = ["budget=pretrained", "budget.epochs=9", "budget.train_epochs=3", f"method={method}"]
    found = keys(*pretrained)
    assert found[0] == imp[0]
    assert not {*found[1:]} & {*imp}
    assert found[0] != keys(*pretrained, "seed=1")[0]
    for change, first in (("sparsity=0.8", 1), ("budget.train_epochs=4", 1), ("budget.finetune_epochs=3", 2)):
        other = keys(*pretrained, change)
        assert [a == b for a, b in zip(found, other, strict=True)] == [i < first for i in range(3)]


def test_other_images_have_other_keys() -> None:
    assert not {*keys(data="these")} & {*keys(data="those")}


def test_the_goal_of_a_rival_decides_from_the_start() -> None:
    rival = ["method=gmp", "budget.finetune_epochs=1"]
    for change in ("sparsity=0.8", "selector=lamp", "method.interval=1"):
        assert not {*keys(*rival)} & {*keys(*rival, change)}


def test_where_images_lie_and_who_decodes_them_is_in_no_key_but_how_they_are_decoded_is() -> None:
    large = "dataset=imagenet"
    assert keys(large) == keys(large, "dataset.num_workers=1") == keys(large, "dataset.root=elsewhere")
    for change in ("dataset.decoder=torchvision", "dataset.resize=300", "dataset.crop_scale=[0.5,1]"):
        assert not {*keys(large)} & {*keys(large, change)}


@pytest.mark.parametrize("key", ["cache=elsewhere", "download=true", "root=elsewhere"])
def test_where_the_files_of_cifar_lie_is_in_no_key(key: str) -> None:
    assert keys("dataset=cifar10", f"dataset.{key}") == keys("dataset=cifar10")


def test_schedules_with_the_same_rates_share_their_phases() -> None:
    """With the last rate from half of dense training on, the last epochs of it all have the smallest rate."""
    stepped = ["lr=stepped", "lr.milestones=[0.5]", "budget.epochs=6"]
    assert keys(*stepped, "schedule=ft") == keys(*stepped, "schedule=lrw")
    assert keys("schedule=ft")[1:] != keys("schedule=lrw")[1:]
    assert (
        keys("schedule=llr", "schedule.warmup=0")[1:]
        == keys("schedule=linear", "schedule.initial=0.1", "schedule.warmup=0")[1:]
    )


def test_the_peak_is_in_the_key_beside_the_rates() -> None:
    """It decides the damage d that a pruning reports; SLR's peak is that of the original, whatever its own rates are."""
    one = constant(0.1, 3)
    assert module._rates_hash(one) == module._rates_hash(constant(0.1, 3))
    assert module._rates_hash(one) != module._rates_hash(replace(one, peak=0.2))


def test_the_code_that_a_phase_reaches_is_in_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edited schedule leaves dense training as it is."""
    before, asked = keys(), list[tuple[str, ...]]()
    monkeypatch.setattr(module, "code_hash", lambda names: (asked.append(names), "edited")[1])
    assert not {*before} & {*keys()}
    dense, *cycles = asked
    assert {"bimp_exp.method.imp.IMP", "bimp_exp.dataset.digits.Digits"} <= {*dense}
    later = {"bimp_exp.selector.global_.Global", "bimp_exp.schedule.allr.ALLR"}
    assert not later & {*dense}
    assert all({*dense} | later == {*names} for names in cycles)


def test_how_far_weight_rewinding_goes_back_is_in_the_key_of_dense_training() -> None:
    """Of no other method: what dense training keeps depends on it."""
    for method, shared in (("wr", False), ("imp", True)):
        shorter, longer = (
            keys(f"method={method}", "schedule=lrw", f"budget.retrain_epochs={epochs}", "budget.dense_epochs=2")
            for epochs in (1, 2)
        )
        assert (shorter[0] == longer[0]) == shared


def test_another_algorithm_has_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys()
    monkeypatch.setattr(module, "ALGORITHM", module.ALGORITHM + 1)
    assert not {*before} & {*keys()}
