"""What must hold between methods and for all of them: equalities bit for bit, and continuing where a run stopped."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.nn import functional as F

from bimp_exp.method.base import Method
from bimp_exp.method.dnw import DNW
from bimp_exp.method.dpf import DPF
from bimp_exp.method.dst import DST
from bimp_exp.method.str import STR
from bimp_exp.pruning import weights as prune
from tests import toys
from tests.conftest import ROOT, composed

METHODS = sorted(path.stem for path in (ROOT / "conf" / "method").glob("*.yaml"))
STEPS_PER_EPOCH = 2


class Run:
    """A convolutional toy with ``method``, trained by the steps of ``bimp_exp.training.loop``; a batch is drawn from its step."""

    def __init__(
        self, method: Method, num_steps: int, *, sparsity: float = 0.5, model: nn.Module | None = None
    ) -> None:
        self.model, self.method = model or toys.convolutional(), method
        self.weights = prune.prunable(self.model)
        self.context = toys.method_context(
            self.model,
            sparsity=sparsity,
            weight_decay=0.01,
            num_steps=num_steps,
            steps_per_epoch=STEPS_PER_EPOCH,
            retraining=(8, 3),
        )
        method.attach(self.context)
        self.optimizer = toys.SGD(momentum=0.9, weight_decay=0.01, batch_size=8, clip_norm=None).build(
            self.model.parameters(), method.parameters_without_weight_decay(self.context)
        )

    def backward(self, step: int) -> None:
        """Gradients of the batch of ``step``."""
        torch.manual_seed(step)  # of dropout too
        images, labels = torch.randn(8, 1, 2, 2), torch.randint(0, 2, (8,))
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(F.cross_entropy(self.model(images), labels) + self.method.penalty(self.context))

    def train(self, steps: range) -> None:
        """Take ``steps``."""
        for step in steps:
            for group in self.optimizer.param_groups:
                group["lr"] = 0.1 / (1 + step)
            self.backward(step)
            self.method.on_gradients(self.context, step, self.optimizer)
            self.optimizer.step()
            self.method.on_step(self.context, step, self.optimizer)

    def saved(self) -> dict[str, Any]:
        """All that a run would keep."""
        parts = {
            "model": self.model.state_dict(),
            "method": self.context.state,
            "optimizer": self.optimizer.state_dict(),
        }
        return copy.deepcopy(parts)

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from there."""
        self.model.load_state_dict(saved["model"])
        self.context.state.update(saved["method"])
        self.optimizer.load_state_dict(saved["optimizer"])


def equal(a: Any, b: Any) -> bool:
    """Bit for bit, also within dictionaries and lists."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.mark.parametrize("conventions", ["clean", "paper"])
@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_stops_and_continues_comes_to_the_same_bits(name: str, conventions: str) -> None:
    """One method object serves three runs, so nothing that changes can hide in it. DPF's masks change at steps 8 and 16."""
    config = composed(f"method={name}", "budget=dense", f"conventions={conventions}")
    method = instantiate(config["method"])
    make = lambda: Run(method, 20)  # noqa: E731
    whole, half, rest = make(), make(), make()
    whole.train(range(20))
    half.train(range(7))
    rest.load(half.saved())
    rest.train(range(7, 20))
    assert equal(rest.saved(), whole.saved())
    assert not equal(half.saved()["model"], whole.saved()["model"])
    rest.method.detach(rest.context)
    whole.method.detach(whole.context)
    assert equal(rest.model.state_dict(), whole.model.state_dict())
    assert vars(method) == {key: value for key, value in config["method"].items() if key != "_target_"}
    for key in vars(method):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(method, key, None)


@pytest.mark.parametrize("method", [STR(initial=0.0), DST(strength=0.1, double_weight_decay=False)])
def test_one_method_object_serves_networks_of_other_sizes_in_turn(method: Method) -> None:
    together, alone = ([Run(method, 4), Run(method, 4, model=toys.linear())] for _ in range(2))
    for step in range(4):
        for run in together:
            run.train(range(step, step + 1))
    for run, same in zip(together, alone, strict=True):
        same.train(range(4))
        assert equal(run.saved(), same.saved())


def test_dnw_is_dpf_with_a_new_mask_after_every_step() -> None:
    dnw, dpf = Run(DNW(strict_threshold=False), 24), Run(DPF(interval=None, refresh=1), 24)
    for step in range(24):
        for run in (dnw, dpf):
            run.train(range(step, step + 1))
        assert equal(dnw.saved(), dpf.saved())
    for run in (dnw, dpf):
        run.method.detach(run.context)
    assert equal(dnw.model.state_dict(), dpf.model.state_dict())


def test_dpf_is_swapping_the_weights_for_masked_ones_and_back() -> None:
    """The published code's way by hand: mask the weights in place, forward, backward, restore, step on the dense weights."""
    method = DPF(interval=None, refresh=4)
    dpf = Run(method, 24)
    plain = Run(Method(), 24)
    masks = choose(plain.weights)
    for step in range(24):
        dpf.train(range(step, step + 1))
        for group in plain.optimizer.param_groups:
            group["lr"] = 0.1 / (1 + step)
        dense = {name: weight.detach().clone() for name, weight in plain.weights.items()}
        prune.apply(plain.weights, masks)
        plain.backward(step)
        with torch.no_grad():
            for name, weight in plain.weights.items():
                weight.copy_(dense[name])
        plain.optimizer.step()
        if (step + 1) % 4 == 0:
            masks = choose(plain.weights)
        assert all(torch.equal(plain.weights[name], dpf.weights[name]) for name in plain.weights)
        assert equal(masks, method.masks(dpf.context))


def choose(weights: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """The larger half of all |w|; no two are equal here."""
    every = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
    threshold = every.sort().values[len(every) // 2 - 1]
    return {name: weight.detach().abs() > threshold for name, weight in weights.items()}
