"""The switches of the methods, each on one small layer whose numbers a reader can check."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bimp_exp.errors import ConfigError
from bimp_exp.method.base import Method, MethodContext
from bimp_exp.method.cs import CS
from bimp_exp.method.dnw import DNW
from bimp_exp.method.dpf import DPF
from bimp_exp.method.dst import DST
from bimp_exp.method.gmp import GMP
from bimp_exp.method.lc_lagrangian import LCLagrangian
from bimp_exp.pruning import weights as prune
from bimp_exp.selector.base import Selector
from bimp_exp.selector.global_ import Global
from bimp_exp.selector.uniform import Uniform
from tests import toys


def on_vector(
    method: Method, values: list[float], sparsity: float, *, epochs: int = 1, selector: Selector | None = None
) -> tuple[nn.Parameter, MethodContext]:
    """The weight of one layer with ``values``, ``method`` attached at one step an epoch."""
    model = nn.Sequential(nn.Linear(len(values), 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(values))
    context = toys.method_context(
        model, selector=selector or Global(), sparsity=sparsity, num_steps=epochs, steps_per_epoch=1
    )
    method.check(context)
    method.attach(context)
    return context.weights["0.weight"], context


@pytest.mark.parametrize(("per_event", "num_left"), [(False, 2), (True, 3)])
def test_hard_gmp_rounds_in_all_or_at_each_event(per_event: bool, num_left: int) -> None:
    """12 weights, S = 0.8 in K = 2 events: 0.7 * 12 = 8.4 and 0.8 * 12 = 9.6, or 8 and a third of the 4 that are left."""
    method = GMP(mode="hard", interval=3, count_per_event=per_event)
    weight, context = on_vector(method, [0.1 * i for i in range(1, 13)], 0.8, epochs=10)
    optimizer = torch.optim.SGD([weight], lr=0.0)
    for step in range(10):
        method.on_step(context, step, optimizer)
        method.on_step(context, step, optimizer)
    method.detach(context)
    assert int(weight.count_nonzero()) == num_left
    assert method.slack(context) >= num_left - 2


def test_what_gmp_has_pruned_computes_as_0_and_learns_nothing_while_it_decays() -> None:
    """Half of 4 weights goes at the first event; the loss is 3 times their sum, and the rate of decay 0.5 of 1."""
    method = GMP(mode="soft", interval=1, count_per_event=False)
    weight, context = on_vector(method, [1.0, -2.0, 3.0, 4.0], 0.5, epochs=2)
    model, optimizer = context.model, torch.optim.SGD([weight], lr=1.0, weight_decay=0.5)
    method.on_step(context, 0, optimizer)
    assert model(torch.ones(4).double()).item() == 7
    (3 * model(torch.ones(4).double())).sum().backward()
    method.on_gradients(context, 1, optimizer)
    assert weight.grad is not None
    assert weight.grad.flatten().tolist() == [0, 0, 3, 3]
    optimizer.step()
    method.on_step(context, 1, optimizer)
    assert weight.flatten().tolist() == [0.5, -1, 1.5 - 3, 2 - 3]
    assert model[0].weight.flatten().tolist() == [0, 0, -1.5, -1]  # type: ignore[index]


@pytest.mark.parametrize(("strict", "kept"), [(False, [0, 1, 1, 0]), (True, [0, 0, 0, 0])])
def test_a_strict_threshold_takes_ties_with_it(strict: bool, kept: list[int]) -> None:
    method = DNW(strict_threshold=strict)
    _, context = on_vector(method, [0.3, -0.3, 0.3, 0.1], 0.5)
    assert method.masks(context)["0.weight"].flatten().int().tolist() == kept


@pytest.mark.parametrize(("strict", "sparsity", "num_pruned"), [(False, 0.29, 29), (True, 0.29, 28), (True, 0.0, 0)])
def test_a_strict_threshold_truncates_the_count(strict: bool, sparsity: float, num_pruned: int) -> None:
    method = DNW(strict_threshold=strict)
    _, context = on_vector(method, [float(i) for i in range(1, 101)], sparsity)
    assert prune.num_pruned(method.masks(context)) == num_pruned


def test_a_strict_threshold_is_global() -> None:
    with pytest.raises(ConfigError, match=r"^method\.strict_threshold=true .* selector must be global"):
        on_vector(DNW(strict_threshold=True), [1.0, 2.0], 0.5, selector=Uniform())


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            CS(initial=-81.0, final_beta=1.0, strength=0.0, final="trained", double_weight_decay=False),
            "method.initial=-81 must be at least -80: 1 / sigmoid(s0) is a factor",
        ),
        (
            LCLagrangian(initial_mu=1.0, growth=1e10, first_epochs=1, epochs=1),
            "method.growth=1e+10 makes of method.initial_mu=1 about e^92 in 4 more L-steps: mu must stay between e^-80 and e^80",
        ),
        (
            LCLagrangian(initial_mu=1e-10, growth=1e-10, first_epochs=2, epochs=1),
            "method.growth=1e-10 makes of method.initial_mu=1e-10 about e^-92 in 3 more L-steps",
        ),
        (
            GMP(mode="hard", interval=3, count_per_event=False),
            "method.interval=3 must be at most half of the 5 epochs of training",
        ),
        (DPF(interval=3, refresh=1), "method.interval=3 must be at most half of the 5 epochs of training"),
    ],
)
def test_what_cannot_end_well_is_refused_before_it_is_attached(method: Method, message: str) -> None:
    """Five epochs of one step: four more L-steps, ln 1e10 = 23.03."""
    with pytest.raises(ConfigError) as refused:
        on_vector(method, [1.0, 2.0], 0.5, epochs=5)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(("final", "expected"), [("trained", -0.258263), ("ticket", -0.4)])
def test_cs_ends_with_what_was_trained_or_with_a_hard_mask(final: str, expected: float) -> None:
    """s0 = 0, so c = 2; w = (0.5, -0.2), s = (-0.1, 0.3), beta = 2: 2 * -0.2 * sigmoid(0.6), or 2 * -0.2."""
    method = CS(initial=0.0, final_beta=2.0, strength=0.0, final=final, double_weight_decay=False)  # type: ignore[arg-type]
    weight, context = on_vector(method, [0.5, -0.2], 0.5)
    with torch.no_grad():
        context.modules["0.weight"].get_parameter("own").copy_(torch.tensor([[-0.1, 0.3]]))
    method.on_step(context, 0, torch.optim.SGD([weight], lr=0.0))
    method.detach(context)
    assert weight.flatten().tolist() == pytest.approx([0.0, expected], abs=1e-6)


def test_a_nearly_empty_layer_of_dst_starts_anew() -> None:
    """1 of 100 weights above the thresholds is too few, 2 are enough."""
    method = DST(strength=0.0, double_weight_decay=False)
    weight, context = on_vector(method, [2.0] + [0.5] * 99, 0.5)
    thresholds = context.modules["0.weight"].get_parameter("own")
    for second, expected in ((0.5, 0.0), (2.0, 1.0)):
        with torch.no_grad():
            weight[0, 1] = second
            thresholds.fill_(1.0)
        method.on_step(context, 0, torch.optim.SGD([weight], lr=0.0))
        assert thresholds.tolist() == [expected]
