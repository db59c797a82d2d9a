"""What every loaded data set can do, and images on their device: batches of an epoch as a pure function of (seed, epoch).

Pixels stay uint8 until a batch is made: x = (pixel / 255 - mean) / std.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from bimp_exp.dataset.augment import Augmentation, Draws, augment, draw
from bimp_exp.seeds import derive
from bimp_exp.task.base import Batch

AT_ONCE = 2048  # images, at most, unless a batch has more


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Labels int64 [N] and images uint8 [N, C, H, W] on one device; in a Streamed, int64 [N]: where its listing has them."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class Batches(Protocol):
    """The batches of one pass over a split; any of them at any time, always with the same bits."""

    def __len__(self) -> int:
        """Number of batches; the last one may be smaller."""
        ...

    def __getitem__(self, index: int, /) -> Batch:
        """IndexError unless 0 <= index < len."""
        ...

    def __iter__(self) -> Iterator[Batch]: ...


class Data(Protocol):
    """A data set, read, split and ready to be trained on."""

    @property
    def train(self) -> Sized:
        """The items to train on."""
        ...

    @property
    def train_sample(self) -> Sized:
        """Those of them that the metric is measured on."""
        ...

    @property
    def validation(self) -> Sized: ...

    @property
    def test(self) -> Sized: ...

    @property
    def evaluation_batch(self) -> int:
        """Items in a batch of an evaluation."""
        ...

    @property
    def fingerprint(self) -> str:
        """Names the content and the split."""
        ...

    def epoch(self, *, seed: int, epoch: int, batch_size: int) -> Batches:
        """Training items in an order and with an augmentation that depend on (seed, epoch) alone."""
        ...

    def num_batches(self, batch_size: int) -> int:
        """Of an epoch."""
        ...

    def batches(self, split: Any, batch_size: int) -> Iterator[Batch]:
        """The items of a split of this data, in their own order, for evaluation."""
        ...

    def first(self, split: Any, num: int) -> Iterator[Batch]:
        """The first ``num`` items of a split as they lie, for evaluation."""
        ...

    @property
    def files(self) -> Mapping[str, bytes]:
        """What a network that was trained on this data cannot do without, such as a tokenizer: file name -> content."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know of the data, such as how many items are left out; a line each."""
        ...

    def close(self) -> None:
        """End the processes that serve the data, if it has any; they start again for a later pass."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Normalise:
    """Pixels -> what a network sees: x * scale + shift with scale = 1 / (255 std) and shift = -mean / std."""

    scale: Tensor  # [1, C, 1, 1]
    shift: Tensor
    memory_format: torch.memory_format

    def __call__(self, images: Tensor) -> Tensor:
        pixels = images.to(torch.float32, memory_format=self.memory_format)
        return torch.addcmul(self.shift, pixels, self.scale)


def normalise(
    mean: Sequence[float], std: Sequence[float], device: torch.device, memory_format: torch.memory_format | None
) -> Normalise:
    """By a mean and a standard deviation for every channel, of pixels in [0, 1]."""
    means, stds = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (mean, std))
    return Normalise(
        scale=1 / (255 * stds), shift=-means / stds, memory_format=memory_format or torch.contiguous_format
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchesOnDevice:
    """Batches made on the device, elsewhere than on a CPU many at once, for fewer kernels.

    inputs: float32 [B, C, H, W] normalised. targets: int64 [B].
    order: numbers of the items, int64 [N]; None: as they lie.
    draws: one per place in the order; None: no augmentation.
    made: the last group of batches, by its number.
    """

    split: Split
    batch_size: int
    normalise: Normalise
    order: Tensor | None
    draws: Draws | None
    augmentation: Augmentation
    made: dict[int, tuple[Tensor, Tensor]] = field(init=False, default_factory=dict)

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        at_once = 1 if self.split.images.device.type == "cpu" else max(1, AT_ONCE // self.batch_size)
        group, place = divmod(index, at_once)
        if group not in self.made:
            self.made.clear()
            size = at_once * self.batch_size
            self.made[group] = self._make(slice(group * size, (group + 1) * size))
        images, labels = self.made[group]
        part = slice(place * self.batch_size, (place + 1) * self.batch_size)
        return Batch(images[part], labels[part], len(labels[part]))

    def _make(self, part: slice) -> tuple[Tensor, Tensor]:
        chosen = part if self.order is None else self.order[part]
        images = self.split.images[chosen]
        if self.draws is not None:
            draws = Draws(*(each[part] for each in self.draws))
            images = augment(images, draws, self.augmentation)
        return self.normalise(images), self.split.labels[chosen]

    def __iter__(self) -> Iterator[Batch]:
        return (self[i] for i in range(len(self)))


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageData:
    """Images of one size, on their device.

    ``validation_seed`` is None for un-augmented validation images, else the seed of their fixed augmentation.
    """

    evaluation_batch: ClassVar[int] = 500  # has no influence on any result beyond rounding
    files: ClassVar[Mapping[str, bytes]] = {}
    notes: ClassVar[Sequence[str]] = ()

    train: Split
    validation: Split
    test: Split
    num_classes: int
    fingerprint: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation
    validation_seed: int | None = None
    memory_format: torch.memory_format = torch.contiguous_format

    @property
    def train_sample(self) -> Split:
        """All of them."""
        return self.train

    def num_batches(self, batch_size: int) -> int:
        """The last one may be smaller."""
        return -(-len(self.train) // batch_size)

    def epoch(self, *, seed: int, epoch: int, batch_size: int, augment: bool = True) -> Batches:
        """Training images in an order and with an augmentation that depend on (seed, epoch) alone."""
        generator = torch.Generator().manual_seed(derive(seed, "data", epoch))
        order = torch.randperm(len(self.train), generator=generator)
        draws = self._draws(self.train, generator) if augment else None
        return self._epoch(self.train, batch_size, order=order.to(self.train.images.device), draws=draws)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """``split`` in its own order; un-augmented, except validation images under a ``validation_seed``."""
        draws = None
        if split is self.validation and self.validation_seed is not None:
            generator = torch.Generator().manual_seed(derive(self.validation_seed, "validation"))
            draws = self._draws(split, generator)
        return iter(self._epoch(split, batch_size, order=None, draws=draws))

    def first(self, split: Split, num: int) -> Iterator[Batch]:
        """The first ``num`` images, as one batch."""
        return islice(self.batches(split, num), 1)

    def close(self) -> None:
        """End the processes that serve the data, if it has any; they start again for a later pass."""

    def _draws(self, split: Split, generator: torch.Generator) -> Draws | None:
        """None where the configuration augments nothing."""
        if self.augmentation == Augmentation(crop_padding=0, flip=False, rotation=0):
            return None
        device = split.images.device
        return Draws(*(each.to(device) for each in draw(self.augmentation, len(split), generator)))

    def _epoch(self, split: Split, batch_size: int, *, order: Tensor | None, draws: Draws | None) -> BatchesOnDevice:
        return BatchesOnDevice(
            split=split,
            batch_size=batch_size,
            normalise=self._normalise(split.images.device),
            order=order,
            draws=draws,
            augmentation=self.augmentation,
        )

    def _normalise(self, device: torch.device) -> Normalise:
        return normalise(self.mean, self.std, device, self.memory_format)
