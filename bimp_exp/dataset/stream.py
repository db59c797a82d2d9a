"""Batches of a data set that stays encoded on disk: worker processes decode ahead, and pixels travel as uint8.

The order of an epoch and the augmentation of each of its images are functions of (seed, epoch, place), so that a batch has the
same bits whichever worker makes it, however many there are, and whether or not the batches before it were made: a pass begins
with the first batch that it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bimp_exp.dataset.data import Batches, ImageData, Normalise, Split
from bimp_exp.dataset.decode import Recipe, Request
from bimp_exp.dataset.listing import Listing
from bimp_exp.dataset.workers import Chunk, Failure, Pool
from bimp_exp.errors import DataError
from bimp_exp.seeds import derive
from bimp_exp.task.base import Batch

CHUNK = 32  # images that a worker decodes at a time


def _cut(places: range) -> list[range]:
    """``places`` in the pieces that workers are given."""
    return [places[i : i + CHUNK] for i in range(0, len(places), CHUNK)]


class Stream:
    """A pass over a split, see Batches: fast in order from any batch on, and right in any order."""

    def __init__(
        self,
        data: Streamed,
        split: Split,
        batch_size: int,
        *,
        order: Tensor | None,
        seed: int | None,
    ) -> None:
        """order: int64 [N], None as they lie. seed: of the augmentation, None for evaluation."""
        self.data, self.split, self.batch_size = data, split, batch_size
        self.order = torch.arange(len(split)) if order is None else order
        self.seed = seed
        device = split.labels.device
        self.labels = split.labels[self.order.to(device)]
        self.normalise: Normalise = data._normalise(device)
        self.next = -1

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        if self.next != index or not self.data.pool.serves(self):
            self.data.pool.turn_to(self, self._chunks(index))
        self.next = -1  # if what follows fails
        places = self._places(index)
        pixels = torch.cat([self._pixels(some) for some in _cut(places)])
        self.next = index + 1
        return Batch(self.normalise(pixels.permute(0, 3, 1, 2)), self.labels[places.start : places.stop], len(places))

    def __iter__(self) -> Iterator[Batch]:
        return (self[i] for i in range(len(self)))

    def _places(self, index: int) -> range:
        return range(index * self.batch_size, min((index + 1) * self.batch_size, len(self.split)))

    def _chunks(self, first: int) -> Iterator[Chunk]:
        """What is asked for from batch ``first`` on; made as the workers take it."""
        for index in range(first, len(self)):
            for places in _cut(self._places(index)):
                pairs = zip(places, self._images(places), strict=True)
                yield Chunk(self.data.recipe, [self._request(place, image) for place, image in pairs])

    def _request(self, place: int, image: int) -> Request:
        listing = self.data.listing
        return Request(
            listing.files[listing.places[image]],
            int(listing.offsets[image]),
            int(listing.sizes[image]),
            None if self.seed is None else derive(self.seed, place),
        )

    def _images(self, places: range) -> list[int]:
        numbers: list[int] = self.split.images[self.order[places.start : places.stop]].tolist()
        return numbers

    def _pixels(self, places: range) -> Tensor:
        """uint8 [N, H, W, C] on the device, of the chunk that comes next; DataError names the image that has none."""
        result = next(self.data.pool.decoded)
        if isinstance(result, Failure):
            raise DataError(f"{self.data.listing.name(self._images(places)[result.number])}: {result.reason}")
        return result.to(self.labels.device, non_blocking=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class Streamed(ImageData):
    """Images of which only the labels are on the device; the ``images`` of a split are their numbers in ``listing``."""

    listing: Listing
    recipe: Recipe
    pool: Pool

    def epoch(self, *, seed: int, epoch: int, batch_size: int, augment: bool = True) -> Batches:
        generator = torch.Generator().manual_seed(derive(seed, "data", epoch))
        order = torch.randperm(len(self.train), generator=generator)
        how = derive(seed, "augmentation", epoch) if augment else None
        return Stream(self, self.train, batch_size, order=order, seed=how)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        fixed = split is self.validation and self.validation_seed is not None
        seed = derive(self.validation_seed, "validation") if fixed else None  # type: ignore[arg-type]
        return iter(Stream(self, split, batch_size, order=None, seed=seed))

    def close(self) -> None:
        self.pool.close()
