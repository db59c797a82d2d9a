"""Training, pruning and measuring where tensors are not on the CPU: the same bits, no waiting inside a step, few kernels.

A stand-in for a GPU (``tests.second_device``), so this says nothing of what a GPU's own kernels do.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from bimp_exp.dataset import data
from bimp_exp.dataset.data import ImageData, Split
from bimp_exp.lr import linear
from bimp_exp.model.resnet_cifar import ResNetCifar
from bimp_exp.optim import SGD
from bimp_exp.pruning import weights as prune
from bimp_exp.runtime import Runtime
from bimp_exp.selector.base import PruningTarget
from bimp_exp.selector.global_ import Global
from tests import toy_runs, toys
from tests.second_device import There, num_kernels, num_waits, second_device
from tests.test_combinations import METHODS, SELECTORS
from tests.toy_runs import parts

STEPS_PER_EPOCH = 8
STEPS = 5 * STEPS_PER_EPOCH
RUNTIME = dataclasses.replace(toys.RUNTIME, update="foreach", channels_last=True)


def moved(images: ImageData, device: torch.device) -> ImageData:
    there = {
        name: Split(images=split.images.to(device), labels=split.labels.to(device))
        for name, split in (("train", images.train), ("validation", images.validation), ("test", images.test))
    }
    return dataclasses.replace(images, **there)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Elsewhere(toy_runs.Pixels):
    """The same data on whatever device is asked for."""

    def load(self, device: torch.device, **how: Any) -> ImageData:
        return moved(super().load(device, **how), device)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuntimeOn(Runtime):
    """A runtime whose device is ``where``."""

    where: torch.device

    def check(self) -> torch.device:
        super().check()
        return self.where


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logged(toy_runs.Nowhere):
    """It keeps the lines of metrics.jsonl, but for times."""

    lines: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def append(self, point: dict[str, Any]) -> None:
        self.lines.append(untimed(point))


def result(method: str, selector: str, device: torch.device) -> list[Any]:
    """Of a toy run on ``device``: its figures and all that it logged, but for times."""
    runtime, writer = RuntimeOn(**vars(RUNTIME), where=device), Logged()
    made = toy_runs.experiment(method, selector, dataset=Elsewhere(), runtime=runtime)
    found = toy_runs.run(made, writer=writer)
    phases = [(phase["metrics"], untimed(phase["pruning"] or {})) for phase in found["phases"]]
    assert any("train_loss" in point for point in writer.lines)
    return [found["final"], found["attested"], found["learning_rates"], phases, writer.lines]


def untimed(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if "second" not in name}


@pytest.mark.parametrize(
    ("method", "selector"), [*((m, "global") for m in METHODS), *(("imp", s) for s in SELECTORS if s != "global")]
)
def test_a_run_has_the_same_bits(method: str, selector: str) -> None:
    here = result(method, selector, toys.CPU)
    with second_device() as device:
        there = result(method, selector, device)
    assert there == here


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps:
    """What training came to: losses; for each step how often the host waited since the step before, and kernels launched."""

    losses: list[float]
    waits: list[int]
    kernels: list[int]


def trained(method: str, device: torch.device, *, depth: int = 8) -> Steps:
    """A small ResNet by a method that ends with half of the weights, or has lost half of them before."""
    one = toys.data(3 * STEPS_PER_EPOCH, side=8, num_classes=4, augment=True)
    coloured = dataclasses.replace(one.train, images=one.train.images.repeat(1, 3, 1, 1))
    images = dataclasses.replace(
        one, train=coloured, mean=(0.5,) * 3, std=(0.25,) * 3, memory_format=RUNTIME.memory_format
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ResNetCifar(depth, image_shape=(3, 8, 8), num_classes=4)
    model = model.to(device).to(memory_format=RUNTIME.memory_format)
    weights = prune.prunable(model)
    how = instantiate(parts("method", method)["method"])
    context = toys.method_context(
        model, weight_decay=5e-4, num_steps=STEPS, steps_per_epoch=STEPS_PER_EPOCH, retraining=(STEPS,)
    )
    how.attach(context)
    masks = {}
    if how.prunes == "between phases":
        masks = Global()(
            weights, context.all_kept, PruningTarget(fraction_of_remaining=0.5, total_pruned=context.num_pruned)
        )
        prune.apply(weights, masks)
    optimizer = SGD(momentum=0.9, weight_decay=5e-4, batch_size=3, clip_norm=None).build(
        model.parameters(), how.parameters_without_weight_decay(context), update="foreach"
    )
    counts: list[tuple[int, int]] = []
    epochs = toys.train(
        model, moved(images, device), lr=linear(0.05, STEPS), optimizer=optimizer, method=how, context=context,
        runtime=RUNTIME, device=device, batch_size=3, masks=masks,
        progress=lambda done, n, loss, rate: counts.append((num_waits(), num_kernels())),
    )  # fmt: skip
    waits, kernels = zip(*counts, strict=True)
    since = lambda values: [b - a for a, b in pairwise(values)]  # noqa: E731
    losses = [loss for epoch in epochs for loss in epoch.losses]
    return Steps(losses=losses, waits=since(waits), kernels=since(kernels))


def inside(values: list[int]) -> list[int]:
    """Of the steps that do not begin an epoch: at its end, the losses are read."""
    return [value for i, value in enumerate(values, start=1) if i % STEPS_PER_EPOCH]


@pytest.mark.parametrize("method", METHODS)
def test_the_host_waits_for_no_step(method: str) -> None:
    """But at the events of gradual pruning, for what is gone already; an epoch ends with two values."""
    with second_device() as device:
        there = trained(method, device)
    assert there.losses == trained(method, toys.CPU).losses
    assert sum(wait > 0 for wait in inside(there.waits)) <= 1
    assert max(there.waits) <= 2


MOST = {
    "imp": 1,
    "gmp": 4,
    "gsm": 30,
    "lc": 30,
    "lc_lagrangian": 3,
    "dpf": 3,
    "dnw": 30,
    "str": 50,
    "cs": 43,
    "dst": 78,
}


@pytest.mark.parametrize("method", MOST)
def test_a_method_launches_few_kernels_more_than_dense_training(method: str) -> None:
    """However many layers there are: a step is a GPU's wait for launches, so a few for each layer would decide its speed."""
    with second_device() as device:
        for depth in (8, 20):
            dense, ours = (median(inside(trained(name, device, depth=depth).kernels)) for name in ("dense", method))
            assert ours - dense <= MOST[method], depth


def test_batches_have_the_same_bits_however_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "AT_ONCE", 7)  # two of three images
    images = toys.data(20, side=8, num_classes=4, augment=True)
    here = images.epoch(seed=1, epoch=2, batch_size=3)
    with second_device() as device:
        there = moved(images, device).epoch(seed=1, epoch=2, batch_size=3)
        for index in (0, 1, 2, 6, 3, 0):  # the last has two
            ours, theirs = there[index], here[index]
            assert torch.equal(ours.inputs.cpu(), theirs.inputs)
            assert torch.equal(ours.targets.cpu(), theirs.targets)
        with pytest.raises(IndexError):
            there[7]


def test_tensors_of_the_two_devices_do_not_mix() -> None:
    """The stand-in itself: it refuses, and counts, what this file relies on."""
    with second_device() as device:
        here, there = torch.ones(2), torch.ones(2, device=device)
        assert isinstance(there, There)
        with pytest.raises(RuntimeError, match="same device"):
            here + there
        waits, kernels = num_waits(), num_kernels()
        assert (there * 2).sum().item() == 4
        assert (num_waits() - waits, num_kernels() - kernels) == (1, 3)
        torch.set_deterministic_debug_mode("error")
        try:
            with pytest.raises(RuntimeError, match="deterministic"):
                there.kthvalue(1)
        finally:
            torch.set_deterministic_debug_mode("default")
