"""Batches of a data set that stays encoded on disk: worker processes decode ahead, and pixels travel as uint8.

The order of an epoch and the augmentation of each of its images are functions of (seed, epoch, place), so that a batch has the
same bits whichever worker makes it, however many there are, and whether or not the batches before it were made: a pass begins
with the first batch that it is asked for. Workers are told the file and the seed of every image and know nothing else, so all
passes of all the runs of a process share them.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from bimp_exp.dataset.data import Batches, Data, Normalise, Split
from bimp_exp.dataset.decode import DecodeError, Recipe, Request
from bimp_exp.dataset.listing import Listing
from bimp_exp.errors import DataError
from bimp_exp.seeds import derive
from bimp_exp.task.base import Batch

CHUNK = 32  # images that a worker decodes at a time
AHEAD = 1024  # images that are being decoded or wait, at least: two batches or more


class Chunk(NamedTuple):
    """What a worker is asked for."""

    recipe: Recipe
    requests: list[Request]


class Failure(NamedTuple):
    """What a worker answers if an image of a chunk, its ``number``, has no pixels."""

    number: int
    reason: str


class Decoder(Dataset[Tensor | Failure]):
    """What runs in the workers."""

    def __getitem__(self, chunk: Chunk) -> Tensor | Failure:
        """uint8 [N, H, W, C]."""
        channels, height, width = chunk.recipe.shape
        pixels = torch.empty(len(chunk.requests), height, width, channels, dtype=torch.uint8)
        rows = pixels.numpy()
        for number, request in enumerate(chunk.requests):
            try:
                rows[number] = chunk.recipe.pixels(request)
            except DecodeError as error:
                return Failure(number, str(error))
        return pixels


class Todo(Sampler[Chunk]):
    """What a DataLoader goes through when it is iterated over next."""

    chunks: Iterator[Chunk]

    def __iter__(self) -> Iterator[Chunk]:
        return self.chunks


class Pool:
    """``num_workers`` processes (0: none, this one decodes), and at most one pass that they are at."""

    def __init__(self, num_workers: int, *, pin_memory: bool) -> None:
        """pin_memory: keep what they send where a CUDA device can fetch it while both sides go on."""
        some: dict[str, Any] = {}
        if num_workers:
            # Not fork: threads of this process may hold locks, and CUDA cannot be used in a fork.
            context = multiprocessing.get_context("forkserver")
            # To import these takes seconds, here once for all. None is ours: a job's snapshot of the code is not known there.
            context.set_forkserver_preload(["numpy", "PIL.Image", "torch.utils.data"])
            some = {
                "multiprocessing_context": context,
                "persistent_workers": True,
                "prefetch_factor": max(2, math.ceil(AHEAD / CHUNK / num_workers)),
                "worker_init_fn": _start_worker,
            }
        self.todo = Todo()
        self.loader = DataLoader(
            Decoder(),
            batch_size=None,
            sampler=self.todo,
            num_workers=num_workers,
            collate_fn=_as_it_is,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # else it would draw from the global one, and dropout with it
            **some,
        )
        self.serves: Stream | None = None

    def results(self, stream: Stream, chunks: Iterator[Chunk]) -> Iterator[Tensor | Failure]:
        """Turn to ``stream`` and go through its ``chunks`` in order; a pass that was under way is over."""
        self.serves, self.todo.chunks = stream, chunks
        try:
            yield from self.loader
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            _pool.cache_clear()
            raise DataError(
                f"dataset.num_workers={self.loader.num_workers}: a process that decodes images was killed; for lack of "
                "memory, or of shared memory (/dev/shm), fewer of them help"
            ) from None


@cache
def _pool(process: int, num_workers: int, pin_memory: bool) -> Pool:
    """``process``: after a fork, the workers of the parent are not ours."""
    return Pool(num_workers, pin_memory=pin_memory)


def _start_worker(number: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that we work for, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """PyTorch looks whether the process that forked us is alive, which is the fork server: it stays as long as we do."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _as_it_is(result: Any) -> Any:
    return result


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
        self.pool = _pool(os.getpid(), data.num_workers, device.type == "cuda")
        self.next = -1
        self.chunks: Iterator[Tensor | Failure] = iter(())

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        if self.next != index or self.pool.serves is not self:
            self.chunks = self.pool.results(self, self._chunks(index))
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
        result = next(self.chunks)
        if isinstance(result, Failure):
            raise DataError(f"{self.data.listing.name(self._images(places)[result.number])}: {result.reason}")
        return result.to(self.labels.device, non_blocking=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class Streamed(Data):
    """Data of which only the labels are on the device; the ``images`` of a split are their numbers in ``listing``."""

    listing: Listing
    recipe: Recipe
    num_workers: int

    def epoch(self, *, seed: int, epoch: int, batch_size: int, augment: bool = True) -> Batches:
        """See Data."""
        generator = torch.Generator().manual_seed(derive(seed, "data", epoch))
        order = torch.randperm(len(self.train), generator=generator)
        how = derive(seed, "augmentation", epoch) if augment else None
        return Stream(self, self.train, batch_size, order=order, seed=how)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """See Data."""
        fixed = split is self.validation and self.validation_seed is not None
        seed = derive(self.validation_seed, "validation") if fixed else None  # type: ignore[arg-type]
        return iter(Stream(self, split, batch_size, order=None, seed=seed))
