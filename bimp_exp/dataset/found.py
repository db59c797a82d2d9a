"""Base of the families whose sizes, numbers, classes, mean and standard deviation are read from the data, not typed.

A key that is null is read; one that is not is compared with the data. Imports no PyTorch: the planner uses it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bimp_exp.dataset.base import Dataset
from bimp_exp.dataset.images import InMemory, Source
from bimp_exp.errors import ConfigError, DataError
from bimp_exp.types import Count, Natural, NonNegative, Positive, Share

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from bimp_exp.dataset.data import ImageData

AT_ONCE = 1000  # images whose pixels are added up at a time


@dataclass(frozen=True, kw_only=True)
class FoundImages(Dataset):
    """A family says how many images there are (``counts``) and gives them (``read``); all are of one size and fit into memory.

    image_shape: channels, height, width. mean, std: one per channel, of pixels in [0, 1]; null: of all training images.
    """

    image_shape: list[Count] | None
    num_classes: Count | None
    num_train_images: Count | None  # before subset and split
    num_test_images: Count | None
    mean: list[Share] | None
    std: list[Positive] | None
    crop_padding: Natural  # pixels
    flip: bool
    rotation: NonNegative  # degrees

    def counts(self) -> tuple[int, int]:
        """Training and test images; decodes none."""
        raise NotImplementedError

    def read(self) -> Source:
        """All images, unsplit; DataError where they cannot be read."""
        raise NotImplementedError

    @property
    def class_names(self) -> list[str] | None:
        """Of all classes; None where the data have no names for them."""
        return None

    @property
    def num_train_items(self) -> int:
        return self.counts()[0]

    @property
    def facts(self) -> dict[str, Any]:
        return {"image_shape": tuple(self._content.train.images.shape[1:]), "num_classes": self._num_classes}

    @property
    def found(self) -> dict[str, Any]:
        known = self._known
        names = ("image_shape", "num_classes", "num_train_images", "num_test_images", "mean", "std")
        named = {} if self.class_names is None else {"class_names": self.class_names}
        return {name: getattr(known, name) for name in names} | named

    def check(self) -> None:
        """Raise ConfigError for a shape of another kind; what depends on the data is compared with them later."""
        if self.image_shape is not None and len(self.image_shape) != 3:
            raise ConfigError(f"dataset.image_shape={list(self.image_shape)} must be [channels, height, width]")

    def source(self) -> Source:
        self.check()
        self.check_files()
        return self._known.source()

    def load(
        self,
        device: torch.device,
        *,
        augment_validation: bool = False,
        memory_format: torch.memory_format | None = None,
    ) -> ImageData:
        return self._known.load(device, augment_validation=augment_validation, memory_format=memory_format)

    def origin(self) -> str:
        """The source, as an error names it."""
        raise NotImplementedError

    @property
    def _most_items(self) -> str:
        return f"{self.num_train_items}, the training images in {self.origin()}"

    @cached_property
    def _content(self) -> Source:
        return self.read()

    @cached_property
    def _num_classes(self) -> int:
        """As configured, or that of the labels; DataError unless these are 0, 1, ..."""
        import numpy as np

        if self.num_classes is not None:
            return self.num_classes
        present = np.unique(self._content.train.labels).tolist()
        if present != list(range(len(present))):
            raise DataError(
                f"{self.origin()}: training labels must be 0, 1, 2, ... without a gap, but the {len(present)} that are there go "
                f"from {present[0]} to {present[-1]}"
            )
        if len(present) == 1:
            raise DataError(f"{self.origin()}: all training images are of one class, so that there is nothing to learn")
        return len(present)

    @cached_property
    def _known(self) -> _Known:
        content = self._content
        num_classes, shape = self._num_classes, [int(side) for side in content.train.images.shape[1:]]
        mean, std = self.mean, self.std
        if mean is None or std is None:
            found_mean, found_std = statistics(content.train.images)
            mean, std = mean or found_mean, std or found_std
            if 0 in std:
                raise DataError(
                    f"{self.origin()}: all training images are the same in channel {std.index(0)}; dataset.std=[...] gives the "
                    "number that pixels are divided by"
                )
        return _Known(
            subset=self.subset,
            validation_fraction=self.validation_fraction,
            split_seed=self.split_seed,
            image_shape=shape if self.image_shape is None else self.image_shape,
            num_classes=num_classes,
            num_train_images=self.num_train_images or len(content.train.labels),
            num_test_images=self.num_test_images or len(content.test.labels),
            mean=mean,
            std=std,
            flip=self.flip,
            crop_padding=self.crop_padding,
            rotation=self.rotation,
            content=content,
            origin=self.origin(),
        )


@dataclass(frozen=True, kw_only=True)
class _Known(InMemory):
    """The same data once all is known of them."""

    content: Source = field(repr=False, compare=False)
    origin: str

    def read(self) -> Source:
        return self.content

    def _origin(self) -> str:
        return self.origin


def statistics(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of images [N, C, H, W], of pixels in [0, 1]; exact but for the last rounding."""
    import numpy as np

    num = images[:, 0].size
    total = np.zeros(images.shape[1], np.int64)
    squares = np.zeros_like(total)
    for first in range(0, len(images), AT_ONCE):
        part = images[first : first + AT_ONCE].astype(np.int64)
        total += part.sum((0, 2, 3))
        squares += (part * part).sum((0, 2, 3))
    pairs = [(int(one), int(square)) for one, square in zip(total, squares, strict=True)]
    return (
        [one / (255 * num) for one, _ in pairs],
        [float(num * square - one * one) ** 0.5 / (255 * num) for one, square in pairs],
    )
