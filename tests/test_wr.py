"""Weight rewinding: what is remembered when, what comes back, and what cannot be."""

from __future__ import annotations

import pytest
import torch

from bimp_exp.errors import ConfigError
from bimp_exp.method.base import MethodContext
from bimp_exp.method.wr import WR
from bimp_exp.optim import SGD
from tests import toys


def trained(
    retraining: tuple[int, ...],
) -> tuple[WR, MethodContext, torch.optim.Optimizer, list[dict[str, torch.Tensor]]]:
    """A convolutional toy trained for six steps, and its state before the first and after each step."""
    model = toys.convolutional()
    history = []

    class Watched(WR):
        def on_step(self, context: MethodContext, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().on_step(context, step, optimizer)
            history.append({name: value.clone() for name, value in model.state_dict().items()})

    method = Watched()
    history.append({name: value.clone() for name, value in model.state_dict().items()})
    context = toys.method_context(model, weight_decay=0.01, num_steps=6, steps_per_epoch=3, retraining=retraining)
    method.attach(context)
    optimizer = SGD(momentum=0.9, weight_decay=0.01, batch_size=8, clip_norm=None).build(model.parameters())
    toys.train(model, toys.data(), steps=6, method=method, context=context, optimizer=optimizer)
    return method, context, optimizer, history


@pytest.mark.parametrize("num_steps", [6, 4, 1, 0])
def test_a_cycle_starts_from_where_the_network_was_as_many_steps_before_the_end(num_steps: int) -> None:
    method, context, optimizer, history = trained((4, 1, 6, 0, 4))
    parameters = [id(p) for p in context.model.parameters()]
    assert optimizer.state
    assert not torch.equal(history[-1]["1.running_mean"], history[3]["1.running_mean"])
    with torch.no_grad():
        for p in context.model.parameters():
            p.zero_()
    method.on_cycle(context, num_steps, optimizer)
    wanted = history[6 - num_steps]
    assert all(
        torch.equal(value, wanted[name]) for name, value in context.model.state_dict().items()
    )  # batch-norm's too
    assert [id(p) for p in context.model.parameters()] == parameters  # the optimiser and the masks still hold them
    assert not optimizer.state  # no momentum


def test_only_what_a_cycle_goes_back_to_is_kept() -> None:
    _, context, _, _ = trained((4, 1, 4))
    assert len(context.state) == 2 * len(context.model.state_dict())


def test_going_back_twice_comes_to_the_same() -> None:
    method, context, optimizer, history = trained((2,))
    for _ in range(2):
        method.on_cycle(context, 2, optimizer)
        with torch.no_grad():
            for p in context.model.parameters():
                p.add_(1.0)
    method.on_cycle(context, 2, optimizer)
    assert all(torch.equal(value, history[4][name]) for name, value in context.model.state_dict().items())


@pytest.mark.parametrize(
    ("num_steps", "retraining", "message"),
    [
        (6, (6, 7), r"^budget\.retrain_epochs: method=wr rewinds 7 steps but dense training has only 6"),
        (0, (3,), r"^dense_checkpoint must be null for method=wr"),
    ],
)
def test_what_lies_before_dense_training_cannot_be_gone_back_to(
    num_steps: int, retraining: tuple[int, ...], message: str
) -> None:
    context = toys.method_context(toys.linear(), num_steps=num_steps, steps_per_epoch=3, retraining=retraining)
    with pytest.raises(ConfigError, match=message):
        WR().check(context)
