"""Pairs of sentences as token ids, and their batches as a pure function of (seed, epoch).

A batch is padded to its longest source and target. The ids may lie in memory or in a file that is mapped into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bimp_exp.dataset.data import Batches
from bimp_exp.seeds import derive
from bimp_exp.task.base import Batch
from bimp_exp.task.translation import IGNORED, PAD, Pairs, Wanted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """N pairs: source i is ``ids[offsets[2 i] : offsets[2 i + 1]]``, target i what follows, up to ``offsets[2 i + 2]``.

    ids: with EOS at the end of each. reference: the text of target i, as it was written.
    """

    ids: NDArray[np.integer[Any]]
    offsets: NDArray[np.int64]
    reference: Callable[[int], str]

    def source(self, i: int) -> NDArray[np.integer[Any]]:
        """Ids of source i."""
        return self.ids[self.offsets[2 * i] : self.offsets[2 * i + 1]]

    def target(self, i: int) -> NDArray[np.integer[Any]]:
        """Ids of target i."""
        return self.ids[self.offsets[2 * i + 1] : self.offsets[2 * i + 2]]

    def batch(self, which: Sequence[int], device: torch.device, *, references: bool) -> Batch:
        """The pairs ``which``, padded."""
        sources, labels = (
            _padded([self.source(i) for i in which], PAD),
            _padded([self.target(i) for i in which], IGNORED),
        )
        decoder = torch.full_like(labels, PAD)
        decoder[:, 1:] = labels[:, :-1].clamp(min=PAD)
        texts = [self.reference(i) for i in which] if references else ()
        moved = (each.to(device, non_blocking=True) for each in (sources, decoder, labels))
        source, decoder, labels = moved
        return Batch(Pairs(source, decoder), Wanted(labels, texts), len(which))


@dataclass(frozen=True, kw_only=True, eq=False)
class PairBatches:
    """Batches of the pairs ``order``, int64 [N], of ``corpus``."""

    corpus: Corpus
    order: Tensor
    batch_size: int
    device: torch.device
    references: bool

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        which = self.order[index * self.batch_size : (index + 1) * self.batch_size].tolist()
        return self.corpus.batch(which, self.device, references=self.references)

    def __iter__(self) -> Iterator[Batch]:
        return (self[i] for i in range(len(self)))


@dataclass(frozen=True, kw_only=True, eq=False)
class PairSplit:
    """The pairs ``which``, int64 [N], of ``corpus``."""

    corpus: Corpus
    which: Tensor

    def __len__(self) -> int:
        return len(self.which)


@dataclass(frozen=True, kw_only=True, eq=False)
class PairData:
    """Pairs, split; see ``bimp_exp.dataset.data.Data``.

    evaluation_batch: pairs; their logits are as large as the vocabulary.
    files: what belongs to a network that was trained on this: name -> content.
    """

    train: PairSplit
    train_sample: PairSplit
    validation: PairSplit
    test: PairSplit
    evaluation_batch: int
    fingerprint: str
    device: torch.device
    files: dict[str, bytes]

    def num_batches(self, batch_size: int) -> int:
        """Of an epoch; the last one may be smaller."""
        return -(-len(self.train) // batch_size)

    def epoch(self, *, seed: int, epoch: int, batch_size: int) -> Batches:
        """Training pairs in an order that depends on (seed, epoch) alone."""
        generator = torch.Generator().manual_seed(derive(seed, "data", epoch))
        order = self.train.which[torch.randperm(len(self.train), generator=generator)]
        return PairBatches(
            corpus=self.train.corpus, order=order, batch_size=batch_size, device=self.device, references=False
        )

    def batches(self, split: PairSplit, batch_size: int) -> Iterator[Batch]:
        """By falling length, so that little is padded, and with references."""
        which = split.which.tolist()
        lengths = torch.tensor([len(split.corpus.source(i)) for i in which])
        order = split.which[torch.argsort(lengths, descending=True, stable=True)]
        every = PairBatches(
            corpus=split.corpus, order=order, batch_size=batch_size, device=self.device, references=True
        )
        return iter(every)

    def first(self, split: PairSplit, num: int) -> Iterator[Batch]:
        """The first ``num`` pairs as they lie, with references, as one batch."""
        yield split.corpus.batch(split.which[:num].tolist(), self.device, references=True)

    def close(self) -> None:
        """Nothing serves the data."""


def _padded(rows: Sequence[NDArray[np.integer[Any]]], filler: int) -> Tensor:
    """int64 [B, longest]."""
    made = torch.full((len(rows), max(map(len, rows))), filler)
    for i, row in enumerate(rows):
        made[i, : len(row)] = torch.from_numpy(row.astype("int64"))
    return made
