"""Accuracy as the published code has it for training and validation images: the mean over classes."""

from __future__ import annotations

import torch

from bimp_exp.task.base import Batch
from bimp_exp.task.classification import Classification
from tests.conftest import composed

RIGHT = {0: (3, 4), 2: (1, 6)}  # class -> images classified correctly, all of them; no image of class 1


def batch() -> tuple[torch.Tensor, Batch]:
    """Logits that are right for so many images of each class, and the images' classes."""
    targets, outputs = [], []
    for number, (right, num) in RIGHT.items():
        for place in range(num):
            targets.append(number)
            outputs.append(torch.eye(3)[number if place < right else 1])
    return torch.stack(outputs), Batch(inputs=None, targets=torch.tensor(targets), size=len(targets))


def value(*, mean_over_classes: bool, split: str) -> float:
    task = Classification(label_smoothing=0, image_shape=(1, 2, 2), num_classes=3, mean_over_classes=mean_over_classes)
    metric = task.metric if split == "test" else task.validation_metric
    statistics = metric.new_statistics(torch.device("cpu"))
    outputs, items = batch()
    for part in (slice(0, 3), slice(3, 10)):  # however it is batched
        metric.add(statistics, outputs[part], Batch(inputs=None, targets=items.targets[part], size=len(outputs[part])))
    return metric.value(statistics)


def test_the_mean_over_the_classes_that_occur_or_the_share_of_all_images() -> None:
    assert value(mean_over_classes=False, split="validation") == 0.4
    assert value(mean_over_classes=True, split="validation") == (3 / 4 + 1 / 6) / 2
    assert value(mean_over_classes=True, split="test") == 0.4


def test_it_is_a_convention() -> None:
    assert composed()["task"]["mean_over_classes"] is False
    assert composed("conventions=paper")["task"]["mean_over_classes"] is True
