"""Images with one label each: what is verified of them, and the families whose images all fit into memory.

A family says only where its images come from (``read``). Imports no PyTorch: the planner uses it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bimp_exp.dataset.base import Dataset
from bimp_exp.errors import ConfigError, DataError
from bimp_exp.types import Count, Natural, NonNegative, Positive, Share

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from bimp_exp.dataset.data import ImageData


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images uint8 [N, C, H, W] and their classes: int64 [N], or for segmentation uint8 [N, H, W]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Training and test images before any split; ``identity`` is equal only for equal content."""

    train: Images
    test: Images
    identity: str


@dataclass(frozen=True, kw_only=True)
class LabelledImages(Dataset):
    """Base of the families for classification.

    flip: whether training images are flipped with probability 1/2.
    """

    image_shape: list[Count]  # channels, height, width
    num_classes: Count
    num_train_images: Count  # in the source, before subset and split
    num_test_images: Count
    mean: list[Share]  # one per channel, of pixels in [0, 1]
    std: list[Positive]
    flip: bool

    @property
    def num_train_items(self) -> int:
        return self.num_train_images

    @property
    def facts(self) -> dict[str, Any]:
        return {"image_shape": tuple(self.image_shape), "num_classes": self.num_classes}

    def check(self) -> None:
        if len(self.image_shape) != 3:
            raise ConfigError(f"dataset.image_shape={list(self.image_shape)} must be [channels, height, width]")
        channels = self.image_shape[0]
        for key, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != channels:
                raise ConfigError(f"dataset.{key} must have {channels} values, one per channel, not {len(values)}")
        super().check()

    @property
    def _most_items(self) -> str:
        return f"dataset.num_train_images={self.num_train_images}"

    def _verify_labels(self, part: str, labels: NDArray[np.integer[Any]], key: str) -> None:
        """Raise DataError where the number of images or a class is not as configured."""
        count, stated = len(labels), getattr(self, key)
        if count != stated:
            raise DataError(f"{self._origin()}: {count} {part} images, but dataset.{key}={stated}")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= self.num_classes:
            raise DataError(
                f"{self._origin()}: {part} label {low if low < 0 else high} is not in "
                f"0..{self.num_classes - 1} (dataset.num_classes={self.num_classes})"
            )
        present = len(set(labels.tolist()))
        if part == "training" and present < self.num_classes:
            raise DataError(
                f"{self._origin()}: only {present} classes are among the training images, "
                f"but dataset.num_classes={self.num_classes}"
            )

    def _origin(self) -> str:
        """The source, as an error names it."""
        return f"the {type(self).__name__.lower()} data"


@dataclass(frozen=True, kw_only=True)
class InMemory(LabelledImages):
    """Base of the families whose images are all of one size and fit into the memory of the device."""

    crop_padding: Natural  # pixels
    rotation: NonNegative  # degrees

    def check(self) -> None:
        super().check()
        shorter = min(self.image_shape[1:])
        if self.crop_padding >= shorter:
            raise ConfigError(
                f"dataset.crop_padding={self.crop_padding} must be less than {shorter}, the image's shorter side"
            )
        if self.rotation > 180:
            raise ConfigError(f"dataset.rotation={self.rotation} must be in [0, 180] degrees")

    def read(self) -> Source:
        """The images of the source, unsplit; DataError where they cannot be read."""
        raise NotImplementedError

    def load(
        self,
        device: torch.device,
        *,
        augment_validation: bool = False,
        memory_format: torch.memory_format | None = None,
    ) -> ImageData:
        import torch

        from bimp_exp.dataset.augment import Augmentation
        from bimp_exp.dataset.data import ImageData, Split

        source, order = self.source(), self._used()
        images, labels = torch.from_numpy(source.train.images), torch.from_numpy(source.train.labels)

        def part(index: torch.Tensor) -> Split:
            return Split(images=images[index].to(device), labels=labels[index].to(device))

        return ImageData(
            train=part(order[: self.num_fit_items]),
            validation=part(order[self.num_fit_items :]),
            test=Split(
                images=torch.from_numpy(source.test.images).to(device),
                labels=torch.from_numpy(source.test.labels).to(device),
            ),
            num_classes=self.num_classes,
            fingerprint=self._fingerprint(source.identity),
            mean=tuple(self.mean),
            std=tuple(self.std),
            augmentation=Augmentation(crop_padding=self.crop_padding, flip=self.flip, rotation=self.rotation),
            validation_seed=self.split_seed if augment_validation else None,
            memory_format=torch.contiguous_format if memory_format is None else memory_format,
        )

    def source(self) -> Source:
        self.check()
        self.check_files()
        source = self.read()
        self._verify(source)
        return source

    def _verify(self, source: Source) -> None:
        """Raise DataError where shapes, counts or classes are not as configured."""
        for part, data, key in (
            ("training", source.train, "num_train_images"),
            ("test", source.test, "num_test_images"),
        ):
            if list(data.images.shape[1:]) != list(self.image_shape):
                raise DataError(
                    f"{self._origin()}: {part} images have the shape {list(data.images.shape[1:])}, "
                    f"but dataset.image_shape={list(self.image_shape)}"
                )
            self._verify_labels(part, data.labels, key)


def identify(*parts: Images) -> str:
    """A sha256 over arrays: equal only for equal shapes and values."""
    digest = hashlib.sha256()
    for part in parts:
        for array in (part.images, part.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
