"""Images with masks that stay on disk, loaded: batches of an epoch as a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor

from bimp_exp.dataset.data import Batches, Normalise
from bimp_exp.dataset.masks import Entry, Recipe, Request
from bimp_exp.dataset.stream import Stream
from bimp_exp.dataset.workers import Pool
from bimp_exp.seeds import derive
from bimp_exp.task.base import Batch


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentedData:
    """See ``bimp_exp.dataset.data.Data``; a split is the numbers of its images in ``entries``, int64 [N].

    validation_seed: None for un-augmented validation images, else the seed of their fixed augmentation.
    """

    evaluation_batch: ClassVar[int] = 1  # images differ in size; padding would change what is pooled over all of one
    files: ClassVar[Mapping[str, bytes]] = {}
    notes: ClassVar[Sequence[str]] = ()
    chunk: ClassVar[int] = 4  # images that a worker makes at a time: large ones

    train: Tensor
    train_sample: Tensor
    validation: Tensor
    test: Tensor
    fingerprint: str
    entries: list[Entry]
    recipe: Recipe
    normalise: Normalise
    validation_seed: int | None
    pool: Pool

    def num_batches(self, batch_size: int) -> int:
        """Without a last, smaller one."""
        return len(self.train) // batch_size

    def epoch(self, *, seed: int, epoch: int, batch_size: int) -> Batches:
        """Training images in an order and with an augmentation that depend on (seed, epoch) alone."""
        generator = torch.Generator().manual_seed(derive(seed, "data", epoch))
        order = self.train[torch.randperm(len(self.train), generator=generator)]
        return self._stream(order, batch_size, derive(seed, "augmentation", epoch), drops_last=True)

    def batches(self, split: Tensor, batch_size: int) -> Iterator[Batch]:
        """``split`` in its own order, one image at a time whatever ``batch_size``."""
        fixed = split is self.validation and self.validation_seed is not None
        seed = derive(self.validation_seed, "validation") if fixed else None  # type: ignore[arg-type]
        return iter(self._stream(split, self.evaluation_batch, seed, drops_last=False))

    def first(self, split: Tensor, num: int) -> Iterator[Batch]:
        """The first ``num`` images, one at a time."""
        return islice(self.batches(split, self.evaluation_batch), num)

    def request(self, number: int, seed: int | None) -> Request:
        """For a worker."""
        return Request(self.entries[number], seed)

    def name(self, number: int) -> str:
        """Its file, and where its mask comes from."""
        entry = self.entries[number]
        return f"{entry.image} with {entry.origin}"

    def close(self) -> None:
        """End the processes that decode; they start again for a later pass."""
        self.pool.close()

    def _stream(self, numbers: Tensor, batch_size: int, seed: int | None, *, drops_last: bool) -> Stream:
        device = self.normalise.scale.device
        return Stream(self, numbers, batch_size, seed=seed, device=device, finish=self._batch, drops_last=drops_last)

    def _batch(self, arrays: Sequence[Tensor], places: slice) -> Batch:
        pixels, targets = arrays
        return Batch(self.normalise(pixels.permute(0, 3, 1, 2)), targets.to(torch.int64), len(pixels))
