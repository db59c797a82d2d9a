"""Clipping of gradients and label smoothing: golden cases, pruned weights, what a run reports, and resuming."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from bimp_exp.optim import SGD, clip
from bimp_exp.pruning.weights import prunable
from bimp_exp.task.base import Batch
from bimp_exp.task.classification import Classification
from bimp_exp.training.state import Clipping, LoopState
from tests import toy_runs, toys
from tests.conftest import golden

Case = dict[str, Any]


@pytest.mark.parametrize("case", golden("tasks", kind="gradient_clipping"))
def test_golden_clipping(case: Case) -> None:
    given, expected = case["inputs"], case["expected"]
    parameters = [nn.Parameter(torch.zeros(len(g), dtype=torch.float64)) for g in given["gradients"]]
    for parameter, gradient in zip(parameters, given["gradients"], strict=True):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
    statistics = torch.zeros(2, dtype=torch.float64)
    clip(torch.optim.SGD(parameters, lr=0.1), given["max_norm"], statistics)
    for parameter, gradient in zip(parameters, expected["clipped"], strict=True):
        assert parameter.grad is not None
        assert parameter.grad.tolist() == pytest.approx(gradient, rel=1e-9)
    assert statistics.tolist() == [float(expected["total_norm"] > 1), pytest.approx(expected["total_norm"], rel=1e-9)]


@pytest.mark.parametrize("case", golden("tasks", kind="label_smoothing_loss"))
def test_golden_label_smoothing(case: Case) -> None:
    given, expected = case["inputs"], case["expected"]
    outputs = torch.tensor(given["logits"], requires_grad=True)
    task = Classification(
        label_smoothing=given["label_smoothing"], image_shape=(1, 1, 1), num_classes=len(given["logits"][0])
    )
    batch = Batch(None, torch.tensor(given["targets"]), len(given["targets"]))
    loss, _ = task.loss(outputs, batch)
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-6)
    assert outputs.grad is not None
    for found, wanted in zip(outputs.grad.tolist(), expected["gradient"], strict=True):
        assert found == pytest.approx(wanted, rel=1e-5)
    total, num = task.loss_sum(outputs, batch)  # an evaluation knows no smoothing
    assert total.item() / num == pytest.approx(expected["info_only_unsmoothed_loss"], rel=1e-6)


def optimizer(model: nn.Module) -> torch.optim.SGD:
    return SGD(momentum=0.0, weight_decay=0.0, batch_size=8, clip_norm=None).build(model.parameters())


def test_gradients_of_pruned_weights_have_no_part_in_the_norm() -> None:
    """One step at rate 1 moves the others by the gradient that is left, scaled to the norm."""
    model = toys.linear()
    masks = {"1.weight": torch.tensor([[True, False, False, False], [True, True, False, False]])}
    with torch.no_grad():
        model.get_parameter("1.weight").mul_(masks["1.weight"])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    exact = copy.deepcopy(model)
    toys.train(exact, toys.data(8), lr=1.0, steps=1, masks=masks, optimizer=optimizer(exact))
    moved = {name: before[name] - p.detach() for name, p in exact.named_parameters()}  # pruned ones stay at 0
    norm = torch.cat([m.flatten() for m in moved.values()]).norm()
    (epoch,) = toys.train(
        model, toys.data(8), lr=1.0, steps=1, masks=masks, optimizer=optimizer(model), clip_norm=float(norm) / 4
    )
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(before[name] - parameter.detach(), moved[name] / 4, rtol=1e-4, atol=1e-6)
    assert epoch.clipping == Clipping(num_steps=1, largest_norm=pytest.approx(float(norm), rel=1e-5))


def test_a_norm_that_is_never_reached_changes_no_bit() -> None:
    plain, clipped = toys.convolutional(), toys.convolutional()
    toys.train(plain, toys.data(), steps=6, optimizer=optimizer(plain))
    *_, last = toys.train(clipped, toys.data(), steps=6, optimizer=optimizer(clipped), clip_norm=1e30)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), clipped.parameters(), strict=True))
    assert last.clipping is not None
    assert last.clipping.num_steps == 0
    assert last.clipping.largest_norm > 0


def test_a_phase_that_goes_on_inside_an_epoch_counts_its_clipped_steps_once() -> None:
    def train(model: nn.Module, state: LoopState, **changes: Any) -> list[Clipping | None]:
        epochs = toys.train(
            model, toys.data(), steps=6, optimizer=optimizer(model), clip_norm=0.5, state=state, **changes
        )
        return [epoch.clipping for epoch in epochs]

    saved: list[tuple[dict[str, Any], dict[str, Any]]] = []
    state, model = LoopState(), toys.linear()
    whole = train(
        model, state, after_step=lambda: saved.append(copy.deepcopy((state.dump(), dict(model.state_dict()))))
    )
    assert any(clipping and clipping.num_steps for clipping in whole)
    dumped, weights = saved[0]  # one step into the first epoch of three
    again = toys.linear()
    again.load_state_dict(weights)
    assert train(again, LoopState.load(dumped)) == whole
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_run_reports_clipping_where_it_clips_and_nothing_else_changes() -> None:
    plain = toy_runs.experiment("imp")
    (before, after), results = (0, 1), [toy_runs.run(plain)]
    results.append(toy_runs.run(dataclasses.replace(plain, optim=dataclasses.replace(plain.optim, clip_norm=1e-3))))
    for without, clipped in zip(results[before]["phases"], results[after]["phases"], strict=True):
        assert clipped.keys() - without.keys() == {"clipped_steps", "largest_gradient_norm"}
        assert clipped["clipped_steps"] == 1
        assert clipped["largest_gradient_norm"] > 1e-3
    dense = toy_runs.run(dataclasses.replace(plain, optim=dataclasses.replace(plain.optim, clip_norm=1e30)))
    assert dense["phases"][0]["clipped_steps"] == 0
    assert dense["phases"][0]["metrics"] == results[before]["phases"][0]["metrics"]


def test_every_trained_parameter_counts_those_of_a_method_too() -> None:
    """STR adds a parameter to each layer, which the optimiser holds."""
    made = toy_runs.experiment("str")
    model = toys.linear()
    context = toys.method_context(model)
    made.method.attach(context)
    trained = list(model.parameters())
    assert len(trained) == len(prunable(toys.linear())) + 2  # bias and s
    for parameter in trained:
        parameter.grad = torch.ones_like(parameter)
    statistics = torch.zeros(2, dtype=torch.float64)
    clip(optimizer(model), 1.0, statistics)
    assert statistics[1].item() == pytest.approx(sum(p.numel() for p in trained) ** 0.5)
