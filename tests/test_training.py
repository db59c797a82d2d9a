"""The training and the evaluation loop, on networks small enough to follow."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bimp_exp import lr
from bimp_exp.dataset.data import Split
from bimp_exp.errors import TrainingError
from bimp_exp.method.base import Method, MethodContext
from bimp_exp.optim import SGD
from bimp_exp.training.evaluation import evaluate
from bimp_exp.training.state import LoopState, get_rng_state
from tests.toys import CPU, RUNTIME, TASK, convolutional, data, linear, train


def bits(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_one_step_is_w_minus_rate_times_gradient() -> None:
    model, images = linear(), data(8)
    x, y, _ = images.epoch(seed=0, epoch=0, batch_size=8)[0]
    loss = F.cross_entropy(model(x), y)
    gradient = torch.autograd.grad(loss, model[1].weight)[0]
    expected = model[1].weight.detach() - 0.1 * gradient
    epochs = train(model, images, lr=0.1, steps=1)
    assert torch.allclose(model[1].weight, expected)
    assert epochs[0].losses == [pytest.approx(loss.item())]


def test_every_step_runs_at_the_rate_of_its_schedule() -> None:
    seen: list[float] = []
    train(linear(), data(20), lr=lr.linear(0.4, 4), progress=lambda done, n, loss, rate: seen.append(rate))
    assert seen == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_an_epoch_ends_with_a_smaller_batch_and_the_last_is_cut_short() -> None:
    sizes: list[int] = []
    epochs = train(linear(), data(20), steps=4, progress=lambda done, n, loss, rate: sizes.append(n))
    assert sizes == [8, 8, 4, 8]
    assert [(e.number, e.num_steps, e.num_items) for e in epochs] == [(1, 3, 20), (2, 1, 8)]


def test_every_image_is_seen_once_an_epoch_in_another_order() -> None:
    orders = [data(20).epoch(seed=0, epoch=e, batch_size=8).order for e in (0, 1)]
    assert all(sorted(order.tolist()) == list(range(20)) for order in orders if order is not None)
    assert not torch.equal(orders[0], orders[1])


def test_the_metric_of_an_epoch_is_that_of_all_its_images() -> None:
    """At rate 0 the network stays, so that each batch is judged by the same one; 12 of 20 images are a share of no batch."""
    model, images = linear(), data(20)
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([0.0, 1.0]))  # always class 1
    labels = (torch.arange(20) >= 8).long()
    images = dataclasses.replace(images, train=Split(images=images.train.images, labels=labels))
    (epoch,) = train(model, images, lr=0.0, steps=3)
    assert epoch.metric == 12 / 20


def test_at_rate_zero_weights_rest_but_momentum_moves() -> None:
    model = linear()
    optimizer = SGD(momentum=0.9, weight_decay=0.0, batch_size=8, clip_norm=None).build(model.parameters())
    before = bits(model)
    train(model, data(8), lr=0.0, steps=1, optimizer=optimizer)
    assert equal(before, bits(model))
    assert optimizer.state[model[1].weight]["momentum_buffer"].abs().sum() > 0


@pytest.mark.parametrize(("decay", "momentum", "nesterov"), [(0.0, 0.9, False), (1e-4, 0.9, True), (1e-4, 0.0, False)])
def test_nesterov_exactly_with_weight_decay(decay: float, momentum: float, nesterov: bool) -> None:
    optimizer = SGD(momentum=momentum, weight_decay=decay, batch_size=8, clip_norm=None).build(linear().parameters())
    assert optimizer.param_groups[0]["nesterov"] is nesterov
    assert optimizer.param_groups[0]["weight_decay"] == decay


def test_pruned_weights_are_zero_after_every_step_whatever_momentum_says() -> None:
    model, images = linear(side=3), data(40, side=3)
    optimizer = SGD(momentum=0.9, weight_decay=0.1, batch_size=8, clip_norm=None).build(model.parameters())
    train(model, images, lr=0.5, steps=5, optimizer=optimizer)  # fills the momentum of every weight
    weight = model[1].weight
    mask = torch.ones_like(weight, dtype=torch.bool)
    mask[0, :4] = False
    with torch.no_grad():
        weight.masked_fill_(~mask, 0.0)
    zeros: list[bool] = []

    class Watch(Method):
        def on_step(self, context: MethodContext, step: int, optimizer: torch.optim.Optimizer) -> None:
            zeros.append(bool((weight[~mask] == 0).all()))

    bias = model[1].bias.clone()
    train(model, images, lr=0.5, steps=7, optimizer=optimizer, masks={"1.weight": mask}, method=Watch())
    assert zeros == [True] * 7
    assert (weight[mask] != 0).all()
    assert not torch.equal(bias, model[1].bias)


def test_projection_gives_survivors_the_updates_of_a_masked_forward() -> None:
    images = data(16, side=3)
    mask = torch.arange(18).view(2, 9) % 3 != 0
    ours = linear(side=3)
    with torch.no_grad():
        ours[1].weight.masked_fill_(~mask, 0.0)
    train(ours, images, lr=0.3, steps=6, masks={"1.weight": mask}, optimizer=_sgd(ours))

    theirs = linear(side=3)
    optimizer = _sgd(theirs)
    for group in optimizer.param_groups:
        group["lr"] = 0.3
    for epoch in range(3):
        order = images.epoch(seed=0, epoch=epoch, batch_size=8)
        for x, y, _ in order:
            optimizer.zero_grad()
            F.cross_entropy(F.linear(x.flatten(1), theirs[1].weight * mask, theirs[1].bias), y).backward()
            optimizer.step()
    assert torch.allclose(ours[1].weight[mask], theirs[1].weight[mask], atol=1e-6)


def _sgd(model: nn.Module) -> torch.optim.SGD:
    return SGD(momentum=0.9, weight_decay=0.01, batch_size=8, clip_norm=None).build(model.parameters())


def test_same_seed_same_bits_with_augmentation_and_dropout() -> None:
    results = []
    for noise in (1, 2):
        torch.manual_seed(noise)  # the state of the global generator must not matter
        model = convolutional()
        train(model, data(20, augment=True), steps=6, seed=3, optimizer=_sgd(model))
        results.append(bits(model))
    assert equal(*results)
    other = convolutional()
    train(other, data(20, augment=True), steps=6, seed=4, optimizer=_sgd(other))
    assert not equal(results[0], bits(other))


def test_dropout_draws_from_another_seed_in_every_epoch_of_every_phase() -> None:
    seen: list[int] = []
    for seed in (3, 4):
        train(convolutional(), data(20), steps=6, seed=seed, progress=lambda *_: seen.append(torch.initial_seed()))
    assert len(set(seen)) == 4
    assert [seen.count(seed) for seed in set(seen)] == [3] * 4  # the steps of an epoch share one


def test_an_epoch_that_continues_draws_the_dropout_that_was_to_come() -> None:
    """Saved after the first of three steps; SGD without momentum, so that the network is all there is to save."""
    whole, at, saved = convolutional(), LoopState(), []
    train(whole, data(20), steps=3, state=at, after_step=lambda: saved.append((bits(whole), get_rng_state())))
    state, rng_state = saved[0]
    rest = convolutional()
    rest.load_state_dict(state)
    train(
        rest,
        data(20),
        steps=3,
        state=LoopState(num_done=1, losses=torch.zeros(3), statistics=torch.zeros(2), rng_state=rng_state),
    )
    assert equal(bits(rest), bits(whole))


def test_a_loss_that_is_not_a_number_stops_with_step_and_rate() -> None:
    model = linear()

    def poison(done: int, n: int, loss: torch.Tensor, rate: float) -> None:
        if done == 2:
            with torch.no_grad():
                model[1].weight.fill_(float("nan"))

    with pytest.raises(TrainingError, match=r"nan in step 3 of 4 \(epoch 1\), at learning rate 0\.2"):
        train(model, data(24), lr=lr.linear(0.4, 4), progress=poison)


def test_hooks_run_in_order_and_penalty_reaches_the_gradient_but_not_the_logged_loss() -> None:
    model, calls = linear(), []

    class Recorder(Method):
        def penalty(self, context: MethodContext) -> torch.Tensor:
            calls.append("penalty")
            return 100 * model[1].bias.sum()

        def on_gradients(self, context: MethodContext, step: int, optimizer: torch.optim.Optimizer) -> None:
            calls.append(f"gradients {step}")
            assert (model[1].bias.grad > 90).all()

        def on_step(self, context: MethodContext, step: int, optimizer: torch.optim.Optimizer) -> None:
            calls.append(f"step {step}")

    epochs = train(model, data(8), lr=0.0, steps=2, method=Recorder())
    assert calls == ["penalty", "gradients 0", "step 0", "penalty", "gradients 1", "step 1"]
    assert max(loss for e in epochs for loss in e.losses) < 10


def test_evaluation_changes_nothing_and_needs_no_training_mode() -> None:
    model, images = convolutional(), data(20)
    model.train()
    model[3].eval()
    state, modes = bits(model), [m.training for m in model.modules()]
    rng = torch.get_rng_state()
    score = evaluate(model, images.batches(images.test, 5), task=TASK, runtime=RUNTIME, device=CPU)
    again = evaluate(
        copy.deepcopy(model).eval(), images.batches(images.test, 12), task=TASK, runtime=RUNTIME, device=CPU
    )
    assert equal(state, bits(model))
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(rng, torch.get_rng_state())
    assert score.metric == again.metric
    assert score.loss == pytest.approx(again.loss)


def test_scores_by_hand() -> None:
    images = data(8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([1.0, 0.0]))  # always class 0: right for every second image
    score = evaluate(model, images.batches(images.test, 5), task=TASK, runtime=RUNTIME, device=CPU)
    assert score.metric == 0.5
    logs = torch.log_softmax(torch.tensor([1.0, 0.0], dtype=torch.float64), 0)
    assert score.loss == pytest.approx(-float(logs.mean()), rel=1e-6)


def test_train_mode_evaluation_re_estimates_batch_norm_and_nothing_else() -> None:
    model, images = convolutional(), data(20)
    before = bits(model)
    batches = images.epoch(seed=0, epoch=0, batch_size=8)
    evaluate(model, batches, task=TASK, runtime=RUNTIME, device=CPU, train_mode=True)
    changed = {name for name, value in bits(model).items() if not torch.equal(value, before[name])}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}


def test_bf16_computes_in_bf16_and_keeps_fp32_weights() -> None:
    model = linear()
    runtime: Any = dataclasses.replace(RUNTIME, precision="bf16")
    seen: list[torch.dtype] = []
    model[1].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    train(model, data(8), steps=1, runtime=runtime)
    assert seen == [torch.bfloat16]
    assert model[1].weight.dtype == torch.float32
