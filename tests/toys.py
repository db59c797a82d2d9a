"""Small data and networks whose numbers a reader can follow."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bimp_exp.dataset.augment import Augmentation
from bimp_exp.dataset.data import ImageData, Split
from bimp_exp.lr import Schedule, constant
from bimp_exp.method.base import MethodContext
from bimp_exp.method.dense import Dense
from bimp_exp.optim import SGD
from bimp_exp.pruning.weights import prunable
from bimp_exp.runtime import Runtime
from bimp_exp.selector.global_ import Global
from bimp_exp.task.classification import Classification
from bimp_exp.training.loop import fit
from bimp_exp.training.state import EpochMetrics, LoopState, Network

CPU = torch.device("cpu")
TASK = Classification(label_smoothing=0.0, image_shape=(1, 2, 2), num_classes=2)
RUNTIME = Runtime(
    device="cpu",
    threads=None,
    precision="fp32",
    compile="off",
    update="loop",
    deterministic=True,
    channels_last=False,
    keep_memory=False,
)


def data(num_train: int = 20, *, side: int = 2, num_classes: int = 2, augment: bool = False) -> ImageData:
    """Random images of ``num_classes`` classes; the brighter the higher the class."""
    generator = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        labels = torch.arange(n) % num_classes
        noise = torch.randint(0, 60, (n, 1, side, side), generator=generator)
        return Split(
            images=(noise + labels.view(-1, 1, 1, 1) * 180 // (num_classes - 1)).to(torch.uint8), labels=labels
        )

    return ImageData(
        train=split(num_train), validation=split(8), test=split(12), num_classes=num_classes, fingerprint="toy",
        mean=(0.5,), std=(0.25,), augmentation=Augmentation(crop_padding=int(augment), flip=augment, rotation=0),
    )  # fmt: skip


def linear(side: int = 2, num_classes: int = 2) -> nn.Module:
    """Softmax regression, with the same weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(side * side, num_classes))


def convolutional() -> nn.Module:
    """A convolution with batch-norm and dropout before a classifier, with the same weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 2, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(4, 2)
        )


def train(
    model: nn.Module, images: ImageData, *, lr: Schedule | float = 0.1, steps: int = 4, **changes: Any
) -> list[EpochMetrics]:
    """fit() with batches of 8, plain SGD and no masks unless told otherwise."""
    optimizer = changes.pop("optimizer", None) or SGD(
        momentum=0.0, weight_decay=0.0, batch_size=8, clip_norm=None
    ).build(model.parameters())
    net = Network(model=model, weights=prunable(model), optimizer=optimizer, masks=changes.pop("masks", {}))
    settings: dict[str, Any] = {
        "method": Dense(), "context": method_context(model), "task": TASK, "runtime": RUNTIME, "batch_size": 8, "seed": 0,
        "clip_norm": None,
        "device": CPU, "progress": lambda done, n, loss, rate: None, "state": LoopState(), "after_step": lambda: None,
    }  # fmt: skip
    schedule = lr if isinstance(lr, Schedule) else constant(lr, steps)
    return list(fit(net, images, schedule, **(settings | changes)))


def method_context(model: nn.Module, **changes: Any) -> MethodContext:
    """Of a plain model, at half sparsity: four steps in one epoch, unless told otherwise."""
    usual: dict[str, Any] = {
        "model": model, "weights": prunable(model), "selector": Global(), "sparsity": 0.5, "weight_decay": 0.0, "num_steps": 4,
        "steps_per_epoch": 4,
    }  # fmt: skip
    return MethodContext(**(usual | changes))
