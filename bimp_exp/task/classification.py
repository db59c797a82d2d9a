"""Classification of images: cross-entropy and accuracy. Imports no PyTorch until something is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bimp_exp.task.base import Batch, build
from bimp_exp.types import Share

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Accuracy:
    """Share of the images that the largest logit classifies correctly. statistics: int64 [2], those and all images."""

    name: ClassVar[str] = "accuracy"
    signature: ClassVar[None] = None

    def new_statistics(self, device: torch.device) -> Tensor:
        """Zeros, int64 [2]."""
        import torch

        return torch.zeros(2, dtype=torch.int64, device=device)

    def add(self, statistics: Tensor, outputs: Tensor, batch: Batch) -> None:
        """outputs: logits [N, num_classes]."""
        statistics[0] += (outputs.argmax(1) == batch.targets).sum()
        statistics[1] += batch.size

    def value(self, statistics: Tensor) -> float:
        """Accuracy in [0, 1]."""
        correct, num = statistics.tolist()
        return float(correct / num)

    def details(self, statistics: Tensor) -> dict[str, float | None]:
        """None."""
        return {}


@dataclass(frozen=True)
class ClassAccuracy:
    """Mean over the classes that occur of the share of their images that is classified correctly (torchmetrics' macro average).

    statistics: int64 [2, num_classes], those and all images of every class.
    """

    num_classes: int
    name: ClassVar[str] = "accuracy"
    signature: ClassVar[None] = None

    def new_statistics(self, device: torch.device) -> Tensor:
        """Zeros, int64 [2, num_classes]."""
        import torch

        return torch.zeros(2, self.num_classes, dtype=torch.int64, device=device)

    def add(self, statistics: Tensor, outputs: Tensor, batch: Batch) -> None:
        """outputs: logits [N, num_classes]."""
        correct = (outputs.argmax(1) == batch.targets).to(statistics.dtype)
        statistics[0].index_add_(0, batch.targets, correct)
        statistics[1].index_add_(0, batch.targets, correct.new_ones(len(correct)))

    def value(self, statistics: Tensor) -> float:
        """Mean of the classes' accuracies, in [0, 1]."""
        correct, num = statistics.tolist()
        shares = [c / n for c, n in zip(correct, num, strict=True) if n]
        return float(sum(shares) / len(shares))

    def details(self, statistics: Tensor) -> dict[str, float | None]:
        """None."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Classification:
    """One of ``num_classes`` for every image of ``image_shape`` (channels, height, width).

    inputs: images [N, C, H, W]. targets: int64 [N]. outputs: logits [N, num_classes].

    label_smoothing: share of the target's probability that is spread evenly over all classes while training.
    mean_over_classes: of training and validation accuracy, which else count images.
    """

    name: ClassVar[str] = "classification"
    generates: ClassVar[bool] = False
    shows: ClassVar[bool] = False
    metric: ClassVar[Accuracy] = Accuracy()

    label_smoothing: Share
    image_shape: Sequence[int]
    num_classes: int
    mean_over_classes: bool = False

    @property
    def validation_metric(self) -> Accuracy | ClassAccuracy:
        """As the convention has it."""
        return ClassAccuracy(self.num_classes) if self.mean_over_classes else self.metric

    @property
    def training_metric(self) -> Accuracy | ClassAccuracy:
        """The same."""
        return self.validation_metric

    def build(self, model: Callable[..., nn.Module]) -> nn.Module:
        """``model(image_shape=..., num_classes=...)``, or with those of them that it has parameters for."""
        return build(model, image_shape=self.image_shape, num_classes=self.num_classes)

    def example(self, num: int, *, like: Tensor | None = None) -> Tensor:
        """Black images, [num, C, H, W]."""
        import torch

        shape = (num, *self.image_shape)
        return torch.zeros(shape) if like is None else like.new_zeros(shape)

    def loss(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
        """Mean cross-entropy."""
        from torch.nn import functional as F

        return F.cross_entropy(outputs.float(), batch.targets, label_smoothing=self.label_smoothing), batch.size

    def loss_sum(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
        """Sum of the cross-entropies."""
        from torch.nn import functional as F

        return F.cross_entropy(outputs.float(), batch.targets, reduction="sum"), batch.size

    def logits(self, outputs: Tensor) -> Tensor:
        """All of them."""
        return outputs

    def predict(self, model: nn.Module, batch: Batch, outputs: Tensor) -> Tensor:
        """The logits."""
        return outputs

    def show(self, batch: Batch, predicted: Tensor) -> list[str]:
        """Nothing."""
        return []
