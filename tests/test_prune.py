"""What a pruning does to a network and what the retraining schedule is told of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bimp_exp import lr
from bimp_exp.budget import IMP
from bimp_exp.pruning import weights as prune
from bimp_exp.pruning.report import PruneReport
from bimp_exp.selector.base import PruningTarget
from bimp_exp.selector.global_ import Global
from tests.conftest import golden
from tests.test_schedules import schedule


@pytest.mark.parametrize("case", golden("allr_factors", kind="allr_factor"))
def test_golden_allr(case: dict[str, Any]) -> None:
    inputs, expected = case["inputs"], case["expected"]
    weights = {name: torch.tensor(w, dtype=torch.float64) for name, w in inputs["prunable"].items()}
    others = [torch.tensor(w, dtype=torch.float64) for w in inputs["not_prunable"].values()]
    fraction = inputs["fraction_of_remaining_pruned"]
    total_pruned = round(fraction * sum(w.numel() for w in weights.values()))
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    masks = Global()(weights, masks, PruningTarget(fraction_of_remaining=fraction, total_pruned=total_pruned))
    report = PruneReport(
        fraction=fraction,
        removed_norm=prune.norm(w[~masks[name]] for name, w in weights.items()),
        norm_all=prune.norm([*weights.values(), *others]),
        norm_prunable=prune.norm(weights.values()),
        length_ratio=inputs["retrain_epochs"] / inputs["train_epochs"],
        train_metric_dense=inputs["train_accuracy_dense"],
        train_metric_pruned=inputs["train_accuracy_pruned"],
    )
    close = lambda value: pytest.approx(value, abs=1e-9)  # noqa: E731
    assert total_pruned == expected["n_pruned"]
    assert report.removed_norm == close(expected["norm_of_removed"])
    assert report.d1("all") == close(expected["d1_norm_over_all_weights_and_biases"])
    assert report.d1("prunable") == close(expected["d1_norm_over_prunable_only"])
    assert report.d2 == close(expected["d2"])
    for name, key in (
        ("allr", "lr_init_ALLR"),
        ("allr_d1", "lr_init_ALLRd1"),
        ("allr_d2", "lr_init_ALLRd2"),
        ("acc_allr", "lr_init_AccALLR"),
        ("llr", "lr_init_LLR"),
    ):
        assert schedule(name)(lr.constant(inputs["max_lr"], 40), 40, report).peak == close(expected[key])


def test_the_norm_is_over_weights_and_biases_with_batch_norm() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(2.0)
    weights = prune.prunable(model)
    assert prune.norm(prune.other_weights_and_biases(model, weights)) == pytest.approx(
        24**0.5
    )  # 2 + 2 + 2 entries of 2
    assert prune.norm(weights.values()) == pytest.approx(16**0.5)
    assert prune.norm([]) == 0.0


@pytest.mark.parametrize("case", golden("methods", kind="imp_toy"))
def test_golden_imp_toy(case: dict[str, Any]) -> None:
    inputs = case["inputs"]
    model = nn.ModuleList([nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False)]).double()
    weights = prune.prunable(model)
    with torch.no_grad():
        for weight, values in zip(weights.values(), inputs["layers"], strict=True):
            weight.copy_(torch.tensor(values))
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    phases = IMP(finetune_epochs=0, epochs=1, retrain_epochs=1, retrain_fraction=None, cycles=inputs["cycles"]).phases(
        inputs["target_sparsity"]
    )[1:]
    pruned = 0
    for phase, deltas, expected in zip(
        phases, inputs["added_to_weights_during_retraining_of_cycle"], case["expected"]["cycles"], strict=True
    ):
        assert phase.fraction == pytest.approx(expected["fraction_of_remaining"])
        pruned = prune.target_count(phase, 8, pruned, per_cycle=False)
        masks = Global()(weights, masks, PruningTarget(fraction_of_remaining=phase.fraction, total_pruned=pruned))
        prune.apply(weights, masks)
        with torch.no_grad():
            for weight, delta in zip(weights.values(), deltas, strict=True):
                weight.add_(torch.tensor(delta))
        prune.apply(weights, masks)
        assert [m.flatten().int().tolist() for m in masks.values()] == expected["masks"]
        assert sum(int((~m).sum()) for m in masks.values()) == expected["zeros"]
        for weight, values in zip(weights.values(), expected["weights_after_retraining"], strict=True):
            assert weight.flatten().tolist() == pytest.approx(values)
