"""The augmented-Lagrangian form of LC: its golden sequence of C-steps, its L-steps, and what it leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bimp_exp.method.base import MethodContext
from bimp_exp.method.lc_lagrangian import LCLagrangian
from tests import toys
from tests.conftest import golden

NAME = "0.weight"


def attached(
    method: LCLagrangian, values: list[float], kept: int, num_steps: int
) -> tuple[nn.Parameter, MethodContext]:
    """The weight of one layer with ``values``, of which ``kept`` are to stay; one step an epoch."""
    model = nn.Sequential(nn.Linear(len(values), 1, bias=False)).double()
    weight = model[0].weight
    assert isinstance(weight, nn.Parameter)
    with torch.no_grad():
        weight.copy_(torch.tensor(values))
    context = toys.method_context(model, sparsity=1 - kept / len(values), num_steps=num_steps, steps_per_epoch=1)
    method.attach(context)
    return weight, context


def close(found: Tensor, expected: Any) -> None:
    assert found.detach().flatten().tolist() == pytest.approx(expected, abs=5e-8)


@pytest.mark.parametrize("case", golden("methods", kind="lc_original"))
def test_golden_sequence(case: dict[str, Any]) -> None:
    inputs, (start, *cycles) = case["inputs"], case["expected"]["sequence"]
    first, second, _ = inputs["mu_schedule"]
    method = LCLagrangian(initial_mu=first, growth=second / first, first_epochs=1, epochs=1)
    weight, context = attached(method, inputs["w0"], inputs["kappa"], num_steps=3)
    optimizer = torch.optim.SGD([weight], lr=0.0)
    close(context.state[f"delta {NAME}"], start["delta"])
    for step, (cycle, values) in enumerate(zip(cycles, inputs["w_after_each_L_step"], strict=True)):
        mu = method.mu(context, step)
        assert mu == pytest.approx(cycle["mu"])
        with torch.no_grad():
            weight.copy_(torch.tensor(values))
        weight.grad = torch.zeros_like(weight)
        method.on_gradients(context, step, optimizer)
        close(weight.grad, [mu * (w - t) for w, t in zip(values, cycle["target_used_in_L_step"], strict=True)])
        assert float(weight.grad.square().sum()) / (2 * mu) == pytest.approx(cycle["penalty_at_end_of_L_step"])
        method.on_step(context, step, optimizer)
        method.on_step(context, step, optimizer)  # a second C-step would move lambda again
        close(context.state[f"delta {NAME}"], cycle["delta_after_C_step"])
        close(context.state[f"multiplier {NAME}"], cycle["lambda_after"])
    method.detach(context)
    close(weight, cycles[-1]["delta_after_C_step"])


def test_l_steps_last_as_long_as_they_should() -> None:
    """3 epochs, then 2 and 2; the last C-step comes with the end of training, in the middle of an L-step."""
    method = LCLagrangian(initial_mu=1.0, growth=2.0, first_epochs=3, epochs=2)
    weight, context = attached(method, [2.0, 1.0], 1, num_steps=8)
    optimizer = torch.optim.SGD([weight], lr=0.0)
    assert [method.mu(context, step) for step in range(8)] == [1, 1, 1, 2, 2, 4, 4, 8]
    changed = []
    for step in range(8):
        before = context.state[f"multiplier {NAME}"].clone()
        method.on_step(context, step, optimizer)
        if not torch.equal(before, context.state[f"multiplier {NAME}"]):
            changed.append(step)
    assert changed == [2, 4, 6, 7]


def test_what_was_compressed_away_is_drawn_to_zero_and_the_rest_is_free() -> None:
    """Without a loss: W = (2, 1) at rate 0.1 and mu = 1 keeps 2, where Delta is, and has 0.9 of 1 left."""
    method = LCLagrangian(initial_mu=1.0, growth=1.0, first_epochs=1, epochs=1)
    weight, context = attached(method, [2.0, 1.0], 1, num_steps=1)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    weight.grad = torch.zeros_like(weight)
    method.on_gradients(context, 0, optimizer)
    optimizer.step()
    close(weight, [2.0, 0.9])
    method.detach(context)
    close(weight, [2.0, 0.0])
