"""Every way to compute faster against ``runtime=plain``: fp32, eager, contiguous, a loop over the parameters.

A hundred steps, of which every second has a smaller batch, of each method of ``conf/method`` on a small network. Where the
arithmetic is the same, so are the bits. Elsewhere roundings differ, and 100 steps let them grow.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from bimp_exp import prune
from bimp_exp.lr import linear
from bimp_exp.method.base import Setting
from bimp_exp.optim import SGD
from bimp_exp.runtime import Runtime
from bimp_exp.selector.base import Cut
from bimp_exp.selector.global_ import Global
from bimp_exp.training import evaluate
from tests import toys
from tests.conftest import ROOT
from tests.toy_runs import parts

METHODS = sorted(path.stem for path in (ROOT / "conf" / "method").glob("*.yaml"))
COMPILED = METHODS if os.environ.get("BIMP_COMPILE") == "all" else ["imp", "str"]  # compiling takes its time
STEPS = 100
PLAIN: Runtime = instantiate(parts("runtime", "plain")["runtime"])


def network() -> nn.Module:
    """Two convolutions with batch-norm, 504 + 80 prunable weights; the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a training came to: losses, weights by name as they are in a result, and the score on the test images."""

    losses: Tensor
    weights: dict[str, Tensor]
    test_loss: float

    @property
    def num_zeros(self) -> int:
        return sum(int((weight == 0).sum()) for weight in self.weights.values())


def outcome(name: str, runtime: Runtime) -> Outcome:
    method = instantiate(parts("method", name)["method"])
    images = dataclasses.replace(
        toys.data(24, side=8, num_classes=4, augment=True), memory_format=runtime.memory_format
    )
    model = network().to(memory_format=runtime.memory_format)
    weights, masks = prune.prunable(model), {}
    method.attach(
        Setting(
            model=model, weights=weights, selector=Global(), sparsity=0.5, weight_decay=5e-4,
            num_steps=STEPS, steps_per_epoch=2, retraining=(STEPS,),
        )
    )  # fmt: skip
    if method.prunes == "between phases":  # the hooks of a cycle do nothing, its masks hold
        masks = Global()(weights, {n: torch.ones_like(w, dtype=torch.bool) for n, w in weights.items()}, HALF)
        prune.apply(weights, masks)
    optimizer = SGD(momentum=0.9, weight_decay=5e-4, batch_size=16).build(
        model.parameters(), method.undecayed(), update=runtime.resolved(toys.CPU)["update"]
    )
    epochs = toys.train(
        model, images, lr=linear(0.05, STEPS), steps=STEPS, batch_size=16, optimizer=optimizer, method=method,
        runtime=runtime, masked=[(weights[n], mask) for n, mask in masks.items()],
    )  # fmt: skip
    if method.prunes == "while training":
        method.detach()
    assert model.state_dict().keys() == network().state_dict().keys()
    score = evaluate(model, images.batches(images.test, 8), runtime=runtime, device=toys.CPU)
    losses = torch.tensor([loss for epoch in epochs for loss in epoch.losses])
    return Outcome(losses=losses, weights={n: w.detach().clone() for n, w in weights.items()}, test_loss=score.loss)


HALF = Cut(fraction=0.5, num_pruned=(72 + 576 + 32) // 2)


@cache
def plain(method: str) -> Outcome:
    return outcome(method, PLAIN)


def gaps(method: str, **changes: Any) -> tuple[float, float, float]:
    """The largest difference of a loss and of a weight to the plain way, and by how many zeros they differ."""
    ours, theirs = outcome(method, dataclasses.replace(PLAIN, **changes)), plain(method)
    loss = max(float((ours.losses - theirs.losses).abs().max()), abs(ours.test_loss - theirs.test_loss))
    weight = max(float((w - theirs.weights[name]).abs().max()) for name, w in ours.weights.items())
    return loss, weight, abs(ours.num_zeros - theirs.num_zeros)


if __name__ == "__main__":
    for m in METHODS:
        print(m, plain(m).losses[[0, 50, 99]], plain(m).num_zeros)
        for c in (
            dict(update="foreach"),
            dict(update="fused"),
            dict(channels_last=True),
            dict(precision="bf16"),
            dict(precision="bf16", channels_last=True, update="fused"),
        ):
            print("   ", c, "%.2g %.2g %d" % gaps(m, **c))
