"""Semantic segmentation: cross-entropy over pixels, and the mean intersection over union (mIoU).

Imports no PyTorch until something is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from bimp_exp.errors import DataError
from bimp_exp.task.base import Batch, build
from bimp_exp.types import NonNegative, Share

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

IGNORED = 255  # target of a pixel that counts neither in the loss nor in the metric


@dataclass(frozen=True)
class MeanIoU:
    """Mean over classes of intersection / union, from one confusion matrix over all pixels of all images.

    A class counts if it is the target or the prediction of any pixel; of several largest logits the lowest class is predicted.
    statistics: int64 [K, K], rows are targets, columns predictions; pixels with the target IGNORED are left out.
    """

    class_names: Sequence[str]
    name: ClassVar[str] = "mIoU"
    signature: ClassVar[None] = None

    def new_statistics(self, device: torch.device) -> Tensor:
        """Zeros, int64 [K, K]."""
        import torch

        return torch.zeros(len(self.class_names), len(self.class_names), dtype=torch.int64, device=device)

    def add(self, statistics: Tensor, outputs: Any, batch: Batch) -> None:
        """outputs: logits [N, K, H, W], or a mapping with these as ``out``."""
        import torch

        num_classes = len(statistics)
        predicted, targets = resized(outputs, batch.targets).argmax(1).flatten(), batch.targets.flatten()
        # One more row takes the ignored pixels: to leave them out here, the host would have to wait for their number.
        rows = torch.where(targets == IGNORED, num_classes, targets)
        counts = occurrences(rows * num_classes + predicted, (num_classes + 1) * num_classes)
        statistics += counts[: num_classes**2].view_as(statistics)

    def value(self, statistics: Tensor) -> float:
        """In [0, 1]; DataError where no pixel has a target, since there is no such number then."""
        known = [iou for iou in self._ious(statistics) if iou is not None]
        if not known:
            raise DataError("no pixel of the images has a target, so that there is no mean IoU")
        return sum(known) / len(known)

    def details(self, statistics: Tensor) -> dict[str, float | None]:
        """The share of the pixels that are right, and the intersection over union of each class."""
        right, num = int(statistics.diagonal().sum()), int(statistics.sum())
        ious = zip(self.class_names, self._ious(statistics), strict=True)
        return {"pixel_accuracy": right / num if num else None, **{f"iou_{name}": iou for name, iou in ious}}

    def _ious(self, statistics: Tensor) -> list[float | None]:
        matrix = statistics.cpu()
        both = matrix.diagonal()
        union = matrix.sum(0) + matrix.sum(1) - both
        return [one / all_ if all_ else None for one, all_ in zip(both.tolist(), union.tolist(), strict=True)]


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """A class for every pixel.

    inputs: images [N, C, H, W]. targets: int64 [N, H', W'], IGNORED where a pixel has none. outputs: logits [N, K, H, W], or a
    mapping with these as ``out`` and, in train mode, those of an auxiliary head as ``aux``, as torchvision's networks have it.

    aux_weight: of the loss of the auxiliary head, where the network has one.
    class_names: of all K classes.
    image_shape: (channels, height, width) of the images that multiply-adds are counted for; others may have other sizes.
    """

    name: ClassVar[str] = "segmentation"
    generates: ClassVar[bool] = False
    shows: ClassVar[bool] = True

    aux_weight: NonNegative
    label_smoothing: Share
    image_shape: Sequence[int]
    class_names: Sequence[str]

    @cached_property
    def metric(self) -> MeanIoU:
        """Of all pixels with a target."""
        return MeanIoU(self.class_names)

    @property
    def validation_metric(self) -> MeanIoU:
        """The same."""
        return self.metric

    @property
    def training_metric(self) -> MeanIoU:
        """The same."""
        return self.metric

    def build(self, model: Callable[..., nn.Module]) -> nn.Module:
        """``model(image_shape=..., num_classes=...)``, or with those of them that it has parameters for."""
        return build(model, image_shape=self.image_shape, num_classes=len(self.class_names))

    def example(self, num: int, *, like: Tensor | None = None) -> Tensor:
        """Black images, [num, C, H, W]."""
        import torch

        shape = (num, *self.image_shape)
        return torch.zeros(shape) if like is None else like.new_zeros(shape)

    def loss(self, outputs: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy over the pixels with a target, plus ``aux_weight`` times that of the auxiliary head."""
        total, num = self._cross_entropy(resized(outputs, batch.targets), batch.targets, self.label_smoothing)
        if isinstance(outputs, Mapping) and "aux" in outputs:
            aux = self._cross_entropy(outputs["aux"], batch.targets, self.label_smoothing)[0]
            total = total + self.aux_weight * aux
        return total / num.clamp(min=1), num

    def loss_sum(self, outputs: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Without the auxiliary head."""
        return self._cross_entropy(resized(outputs, batch.targets), batch.targets, 0.0)

    def logits(self, outputs: Any) -> Tensor:
        """Without those of an auxiliary head."""
        return logits(outputs)

    def predict(self, model: nn.Module, batch: Batch, outputs: Any) -> Tensor:
        """The logits, of the targets' size."""
        return resized(outputs, batch.targets)

    def show(self, batch: Batch, predicted: Tensor) -> list[dict[str, Any]]:
        """image: float [C, H, W] as the network sees it. target, predicted: uint8 [H, W]."""
        classes = predicted.argmax(1).byte().cpu()
        parts = zip(batch.inputs.cpu(), batch.targets.byte().cpu(), classes, strict=True)
        return [{"image": image, "target": target, "predicted": one} for image, target, one in parts]

    def _cross_entropy(self, given: Tensor, targets: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
        """Sum, and number of the pixels with a target."""
        from torch.nn import functional as F

        # Flat: the kernel for images is not deterministic on a GPU.
        flat = given.float().movedim(1, -1).flatten(0, -2)
        total = F.cross_entropy(
            flat, targets.flatten(), ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing
        )
        return total, (targets != IGNORED).sum()


def logits(outputs: Any) -> Tensor:
    """[N, K, H, W] of what a network gives."""
    given: Tensor = outputs["out"] if isinstance(outputs, Mapping) else outputs
    return given


def resized(outputs: Any, targets: Tensor) -> Tensor:
    """The logits, enlarged or reduced to the targets' size (bilinear)."""
    from torch.nn import functional as F

    given = logits(outputs)
    size = targets.shape[-2:]
    return given if given.shape[-2:] == size else F.interpolate(given, size=size, mode="bilinear", align_corners=False)


def occurrences(numbers: Tensor, num: int, *, by_sorting: bool | None = None) -> Tensor:
    """How often each of 0 .. num - 1 is among ``numbers``, int64 [num].

    by_sorting: None for the faster way. On a GPU the host would wait for ``bincount``, and deterministic additions to few places
    come one after the other where most pixels are of one class; sorting does neither.
    """
    import torch

    if not (numbers.is_cuda if by_sorting is None else by_sorting):
        return torch.bincount(numbers, minlength=num)
    ordered = numbers.int().sort().values
    return torch.searchsorted(ordered, torch.arange(num + 1, dtype=torch.int32, device=numbers.device)).diff()
