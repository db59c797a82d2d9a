"""Pairs of sentences as token ids, and their batches as a pure function of (seed, epoch).

A batch is padded to its longest source and target. The ids may lie in memory or in a file that is mapped into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bimp_exp.dataset.data import Batches
from bimp_exp.seeds import derive
from bimp_exp.task.base import Batch
from bimp_exp.task.translation import EOS, IGNORED, PAD, Pairs, Wanted

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """N pairs: source i is ``ids[offsets[2 i] : offsets[2 i + 1]]``, target i what follows, up to ``offsets[2 i + 2]``.

    ids: without EOS, which a batch adds. max_length: tokens of a source or target in a batch, EOS included; the rest is cut off.
    reference: the text of target i, as it was written.
    """

    ids: NDArray[np.integer[Any]]
    offsets: NDArray[np.int64]
    max_length: int
    reference: Callable[[int], str]

    def __len__(self) -> int:
        return (len(self.offsets) - 1) // 2

    def source_lengths(self, which: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of these sources in a batch, EOS included."""
        return self._lengths(2 * which) + 1

    def batch(self, which: Sequence[int], device: torch.device, *, references: bool) -> Batch:
        """The pairs ``which``, padded."""
        places = 2 * np.asarray(which, np.int64)
        source, labels = self._padded(places, PAD), self._padded(places + 1, IGNORED)
        decoder = torch.full_like(labels, PAD)
        decoder[:, 1:] = labels[:, :-1].clamp(min=PAD)
        source, decoder, labels = (each.to(device, non_blocking=True) for each in (source, decoder, labels))
        texts = [self.reference(i) for i in which] if references else ()
        return Batch(Pairs(source, decoder), Wanted(labels, texts), len(which))

    def _lengths(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Without EOS."""
        lengths: NDArray[np.int64] = self.offsets[places + 1] - self.offsets[places]
        return np.minimum(lengths, self.max_length - 1)

    def _padded(self, places: NDArray[np.int64], filler: int) -> Tensor:
        """int64 [B, longest] of the sentences between ``offsets[place]`` and ``offsets[place + 1]``."""
        lengths = self._lengths(places)
        columns = np.arange(lengths.max() + 1)
        inside = columns < lengths[:, None]
        made = np.full(inside.shape, filler, np.int64)
        made[inside] = self.ids[(self.offsets[places][:, None] + columns)[inside]]
        made[np.arange(len(places)), lengths] = EOS
        return torch.from_numpy(made)


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

    def first(self, num: int | None) -> PairSplit:
        """The first ``num`` of them; None: all."""
        return PairSplit(corpus=self.corpus, which=self.which[:num])


@dataclass(frozen=True, kw_only=True, eq=False)
class PairData:
    """Pairs, split; see ``bimp_exp.dataset.data.Data``.

    evaluation_batch: pairs; their logits are as large as the vocabulary.
    files: what belongs to a network that was trained on this: name -> content.
    notes: what a user should know of the data, a line each.
    """

    train: PairSplit
    train_sample: PairSplit
    validation: PairSplit
    test: PairSplit
    evaluation_batch: int
    fingerprint: str
    device: torch.device
    files: dict[str, bytes]
    notes: tuple[str, ...] = ()

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
        lengths = torch.from_numpy(split.corpus.source_lengths(split.which.numpy()))
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
