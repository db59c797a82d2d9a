"""The report on a pruning, measured on a model that a library user has pruned by whatever means."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from bimp_exp.method.gmp import GMP
from bimp_exp.pruning import weights as prune
from bimp_exp.pruning.report import PruneReport, snapshot
from tests import toys
from tests.conftest import ROOT


def network() -> nn.Module:
    """Prunable weights (3, 4) and (1, 2, 2), a bias of 12 and a batch-norm of weight 1 and bias 0."""
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1), nn.Conv1d(1, 1, 3, bias=False))
    values = {"0.weight": [[3.0, 4.0]], "0.bias": [12.0], "2.weight": [[[1.0, 2.0, 2.0]]]}
    model.load_state_dict({name: torch.tensor(value) for name, value in values.items()}, strict=False)
    return model


def keep(model: nn.Module, name: str, values: list[int]) -> None:
    weight = model.get_parameter(name)
    with torch.no_grad():
        weight.mul_(torch.tensor(values).view(weight.shape))


def test_norms_are_of_just_before_and_over_all_weights_and_biases() -> None:
    model = network()
    before = snapshot(model)
    keep(model, "0.weight", [0, 1])
    keep(model, "2.weight", [0, 0, 1])
    report = PruneReport.measure(before, model, retrain_epochs=45, epochs=90, train_metric_pruned=0.5)
    assert report.removed_norm == pytest.approx((9 + 1 + 4) ** 0.5)
    assert report.norm_prunable == pytest.approx((25 + 9) ** 0.5)
    assert report.norm_all == pytest.approx((25 + 9 + 144 + 1) ** 0.5)
    assert (report.fraction, report.d2) == (3 / 5, 0.5)
    assert (report.train_metric_dense, report.train_metric_pruned) == (None, 0.5)


def test_a_later_pruning_is_a_share_of_what_was_left() -> None:
    model = network()
    keep(model, "2.weight", [0, 0, 1])
    before = snapshot(model)
    assert PruneReport.measure(before, model, retrain_epochs=1, epochs=1).fraction == 0.0
    keep(model, "0.weight", [1, 0])
    report = PruneReport.measure(before, model, retrain_epochs=1, epochs=1)
    assert (report.fraction, report.removed_norm) == (1 / 3, 4.0)
    assert PruneReport.measure(before, model, retrain_epochs=1, epochs=1, fraction=0.5).fraction == 0.5  # as asked for


def test_torch_prune_is_measured_like_pruning_in_place() -> None:
    ours, theirs = network(), network()
    before = snapshot(ours)
    keep(ours, "0.weight", [0, 1])
    torch_prune.l1_unstructured(theirs[0], "weight", amount=1)
    kept = {"retrain_epochs": 1, "epochs": 2}
    assert PruneReport.measure(before, theirs, **kept) == PruneReport.measure(before, ours, **kept)


def test_a_snapshot_has_what_the_network_computes_with_and_is_a_copy() -> None:
    """GMP keeps stored weights; those it has pruned compute as 0."""
    method, model = GMP(mode="soft", interval=1, count_per_event=False), network()
    context = toys.method_context(model, sparsity=0.6, num_steps=2, steps_per_epoch=1)
    method.attach(context)
    method.on_step(context, 0, torch.optim.SGD(model.parameters(), lr=0.0))
    taken = snapshot(model)
    assert {name: weight.flatten().tolist() for name, weight in taken.items()} == {
        "0.weight": [3, 4],
        "2.weight": [0, 0, 0],
    }
    method.detach(context)
    keep(model, "0.weight", [0, 0])
    assert taken["0.weight"].tolist() == [[3, 4]]


def test_a_shared_weight_counts_once_and_every_weight_has_no_class_weights_of_a_loss() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2), nn.CrossEntropyLoss(weight=torch.ones(2)))
    model[2].weight = model[0].weight
    assert list(snapshot(model)) == ["0.weight"]
    assert list(snapshot(model, every_weight=True)) == ["0.weight", "1.weight"]
    assert list(prune.prunable(model, every_weight=True)) == ["0.weight", "1.weight"]


def test_a_schedule_needs_no_pytorch_for_a_report() -> None:
    code = "import sys, bimp_exp.pruning.report, bimp_exp.method.base; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
