"""Batches of a data set that stays encoded on disk: worker processes decode ahead, and pixels travel as uint8.

The order of an epoch and the augmentation of each of its images are functions of (seed, epoch, place), so that a batch has the
same bits whichever worker makes it, however many there are, and whether or not the batches before it were made: a pass begins
with the first batch that it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bimp_exp.dataset.data import Batches, ImageData, Split
from bimp_exp.dataset.decode import Recipe, Request
from bimp_exp.dataset.listing import Listing
from bimp_exp.dataset.workers import Chunk, Failure, Pool
from bimp_exp.dataset.workers import Recipe as AnyRecipe
from bimp_exp.errors import DataError
from bimp_exp.seeds import derive
from bimp_exp.task.base import Batch

CHUNK = 32  # images that a worker decodes at a time


class Encoded(Protocol):
    """Items on disk, by their numbers."""

    @property
    def pool(self) -> Pool: ...

    @property
    def recipe(self) -> AnyRecipe: ...

    @property
    def chunk(self) -> int:
        """Items that a worker makes at a time."""
        ...

    def request(self, number: int, seed: int | None) -> Any:
        """What the recipe makes the item of; seed: of its augmentation, None for evaluation."""
        ...

    def name(self, number: int) -> str:
        """As an error names it."""
        ...


class Stream:
    """A pass over items, see Batches: fast in order from any batch on, and right in any order."""

    def __init__(
        self,
        data: Encoded,
        numbers: Tensor,
        batch_size: int,
        *,
        seed: int | None,
        device: torch.device,
        finish: Callable[[Sequence[Tensor], slice], Batch],
        drops_last: bool = False,
    ) -> None:
        """numbers: of the items, int64 [N]. seed: of the augmentation, None for evaluation.

        finish: makes a batch of its arrays, uint8 [B, ...] on the device, and its places in the pass.
        """
        self.data, self.numbers, self.batch_size = data, numbers, batch_size
        self.seed, self.device, self.finish, self.drops_last = seed, device, finish, drops_last
        self.next = -1

    def __len__(self) -> int:
        return len(self.numbers) // self.batch_size if self.drops_last else -(-len(self.numbers) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        if self.next != index or not self.data.pool.serves(self):
            self.data.pool.turn_to(self, self._chunks(index))
        self.next = -1  # if what follows fails
        places = self._places(index)
        arrays = [torch.cat(each) for each in zip(*map(self._arrays, self._cut(places)), strict=True)]
        self.next = index + 1
        return self.finish(arrays, slice(places.start, places.stop))

    def __iter__(self) -> Iterator[Batch]:
        return (self[i] for i in range(len(self)))

    def _places(self, index: int) -> range:
        return range(index * self.batch_size, min((index + 1) * self.batch_size, len(self.numbers)))

    def _cut(self, places: range) -> list[range]:
        """``places`` in the pieces that workers are given."""
        return [places[i : i + self.data.chunk] for i in range(0, len(places), self.data.chunk)]

    def _chunks(self, first: int) -> Iterator[Chunk]:
        """What is asked for from batch ``first`` on; made as the workers take it."""
        for index in range(first, len(self)):
            for places in self._cut(self._places(index)):
                pairs = zip(places, self._numbers(places), strict=True)
                yield Chunk(self.data.recipe, [self._request(place, number) for place, number in pairs])

    def _request(self, place: int, number: int) -> Any:
        return self.data.request(number, None if self.seed is None else derive(self.seed, place))

    def _numbers(self, places: range) -> list[int]:
        numbers: list[int] = self.numbers[places.start : places.stop].tolist()
        return numbers

    def _arrays(self, places: range) -> list[Tensor]:
        """Of the chunk that comes next, on the device; DataError names the item that cannot be made."""
        result = next(self.data.pool.decoded)
        if isinstance(result, Failure):
            raise DataError(f"{self.data.name(self._numbers(places)[result.number])}: {result.reason}")
        return [array.to(self.device, non_blocking=True) for array in result]


@dataclass(frozen=True, kw_only=True, eq=False)
class Streamed(ImageData):
    """Images of which only the labels are on the device; the ``images`` of a split are their numbers in ``listing``."""

    listing: Listing
    recipe: Recipe
    pool: Pool

    @property
    def chunk(self) -> int:
        """CHUNK."""
        return CHUNK

    def request(self, number: int, seed: int | None) -> Request:
        """For a worker."""
        listing = self.listing
        place = listing.files[listing.places[number]]
        return Request(place, int(listing.offsets[number]), int(listing.sizes[number]), seed)

    def name(self, number: int) -> str:
        """Its file, or its row in a parquet file."""
        return self.listing.name(number)

    def epoch(self, *, seed: int, epoch: int, batch_size: int, augment: bool = True) -> Batches:
        generator = torch.Generator().manual_seed(derive(seed, "data", epoch))
        order = torch.randperm(len(self.train), generator=generator)
        how = derive(seed, "augmentation", epoch) if augment else None
        labels = self.train.labels[order.to(self.train.labels.device)]
        return self._stream(Split(images=self.train.images[order], labels=labels), batch_size, how)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        fixed = split is self.validation and self.validation_seed is not None
        seed = derive(self.validation_seed, "validation") if fixed else None  # type: ignore[arg-type]
        return iter(self._stream(split, batch_size, seed))

    def _stream(self, split: Split, batch_size: int, seed: int | None) -> Stream:
        """The images of ``split`` as they lie."""
        device = split.labels.device
        normalise = self._normalise(device)

        def finish(arrays: Sequence[Tensor], places: slice) -> Batch:
            (pixels,) = arrays
            return Batch(normalise(pixels.permute(0, 3, 1, 2)), split.labels[places], len(pixels))

        return Stream(self, split.images, batch_size, seed=seed, device=device, finish=finish)

    def close(self) -> None:
        self.pool.close()
