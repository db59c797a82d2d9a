"""Worker processes that decode images. They are told the file and the seed of every item and know nothing else.

So the passes of all the runs on a data set share them, and no result depends on how many they are.
"""

from __future__ import annotations

import math
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import threading
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from bimp_exp.dataset.decode import DecodeError
from bimp_exp.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_fork_server: Any = multiprocessing.forkserver._forkserver  # the one of this process
USUAL = ["__main__"]  # modules that it imports unless told otherwise
# To import these takes seconds, here once for all. None is ours: a job's snapshot of the code is not known there.
OURS = ["numpy", "PIL.Image", "torch.utils.data"]
AHEAD = 32  # chunks that are being decoded or wait, at least: of 32 images, two batches or more


class Recipe(Protocol):
    """How items are made of what is on disk; it travels to the workers."""

    def arrays(self, request: Any) -> tuple[NDArray[np.uint8], ...]:
        """Those of one item; of one size each in a chunk. DecodeError where they cannot be made."""
        ...


class Chunk(NamedTuple):
    """What a worker is asked for."""

    recipe: Recipe
    requests: list[Any]


class Failure(NamedTuple):
    """What a worker answers if an item of a chunk, its ``number``, cannot be made."""

    number: int
    reason: str


Made = list[Tensor] | Failure


class Decoder(Dataset[Made]):
    """What runs in the workers."""

    def __getitem__(self, chunk: Chunk) -> Made:
        """The arrays of a chunk, uint8 [N, ...] each."""
        made: list[Tensor] = []
        for number, request in enumerate(chunk.requests):
            try:
                arrays = chunk.recipe.arrays(request)
            except DecodeError as error:
                return Failure(number, str(error))
            made = made or [torch.empty(len(chunk.requests), *each.shape, dtype=torch.uint8) for each in arrays]
            for whole, array in zip(made, arrays, strict=True):
                whole.numpy()[number] = array
        return made


class Todo(Sampler[Chunk]):
    """What a DataLoader goes through when it is iterated over next."""

    chunks: Iterator[Chunk]

    def __iter__(self) -> Iterator[Chunk]:
        return self.chunks


class Pool:
    """``num_workers`` processes that decode (0: none, this one does), and at most one pass that they are at.

    They start when there is something to decode, and after ``close`` again. A fork starts its own.
    """

    def __init__(self, num_workers: int, *, pin_memory: bool) -> None:
        """pin_memory: keep what they send where a CUDA device can fetch it while both sides go on."""
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self.process = os.getpid()
        self.loader: DataLoader[Made] | None = None
        self.todo = Todo()
        self.reader: object = None  # whose chunks are decoded
        self.decoded: Iterator[Made] = iter(())  # what the workers have sent of it

    def turn_to(self, reader: object, chunks: Iterator[Chunk]) -> None:
        """Decode the ``chunks`` of ``reader`` from now on, in order; a pass that was under way is over."""
        self._leave_to_parent()
        self.reader, self.todo.chunks = reader, chunks
        self.decoded = self._decode()

    def serves(self, reader: object) -> bool:
        """Whether ``decoded`` goes on with the chunks of ``reader``."""
        return self.reader is reader and self.process == os.getpid()

    def close(self) -> None:
        """End the workers, and the fork server if it was started for such and serves nobody else."""
        self._leave_to_parent()
        if isinstance(self.decoded, Generator):
            self.decoded.close()
        self._forget()
        if _fork_server._preload_modules == OURS and not multiprocessing.active_children():
            _fork_server._stop()
            _fork_server.set_forkserver_preload(USUAL)

    def _decode(self) -> Iterator[Made]:
        if self.loader is None:
            self.loader = self._start()
        try:
            yield from self.loader
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            self._forget()
            raise DataError(
                f"dataset.num_workers={self.num_workers}: a process that decodes images was killed; for lack of "
                "memory, or of shared memory (/dev/shm), fewer of them help"
            ) from None

    def _start(self) -> DataLoader[Made]:
        some: dict[str, Any] = {}
        if self.num_workers:
            # Not fork: threads of this process may hold locks, and CUDA cannot be used in a fork.
            context = multiprocessing.get_context("forkserver")
            if _fork_server._forkserver_pid is None and _fork_server._preload_modules == USUAL:
                context.set_forkserver_preload(OURS)
            some = {
                "multiprocessing_context": context,
                "persistent_workers": True,
                "prefetch_factor": max(2, math.ceil(AHEAD / self.num_workers)),
                "worker_init_fn": _start_worker,
            }
        return DataLoader(
            Decoder(),
            batch_size=None,
            sampler=self.todo,
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
            pin_memory=self.pin_memory,
            generator=torch.Generator(),  # else it would draw from the global one, and dropout with it
            **some,
        )

    def _forget(self) -> None:
        """Drop the last references to the loader, whose workers end with it."""
        self.loader, self.reader, self.decoded = None, None, iter(())

    def _leave_to_parent(self) -> None:
        """In a fork, forget the workers without ending them: they are the parent's."""
        if self.process != os.getpid():
            if self.loader is not None and self.loader._iterator is not None:
                self.loader._iterator._shutdown = True  # type: ignore[attr-defined]  # else it would tell them to end
            self._forget()
            self.process = os.getpid()
            try:
                if _fork_server._forkserver_pid is not None:
                    os.waitpid(_fork_server._forkserver_pid, os.WNOHANG)
            except ChildProcessError:  # it is the parent's, too, and the standard library does not notice
                os.close(_fork_server._forkserver_alive_fd)
                _fork_server._forkserver_pid = _fork_server._forkserver_alive_fd = None
                _fork_server._forkserver_address = None


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
