"""Batches of token ids: padding, the shift of the decoder, the order of an evaluation, and what a split has of the pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bimp_exp.dataset.pairs import Corpus, PairBatches, PairData, PairSplit
from tests.dataset.helpers import CPU

IDS = [[5], [6, 7], [8, 9, 10], [11], [12, 13], [14, 15, 16, 17]]  # source, target, source, ...


def corpus(max_length: int = 8) -> Corpus:
    return Corpus(
        ids=np.asarray([i for row in IDS for i in row], np.uint16),
        offsets=np.cumsum([0, *map(len, IDS)], dtype=np.int64),
        max_length=max_length,
        reference=["a", "b", "c"].__getitem__,
    )


def data(made: Corpus) -> PairData:
    every = PairSplit(corpus=made, which=torch.arange(3))
    return PairData(
        train=every, train_sample=every, validation=every, test=every, evaluation_batch=2, fingerprint="", device=CPU, files={}
    )  # fmt: skip


def test_a_batch_is_padded_to_its_longest_and_the_decoder_begins_with_pad() -> None:
    batch = corpus().batch([1, 0], CPU, references=True)
    assert batch.inputs.source.tolist() == [[8, 9, 10, 1], [5, 1, 0, 0]]
    assert batch.targets.labels.tolist() == [[11, 1, -100], [6, 7, 1]]
    assert batch.inputs.decoder.tolist() == [[0, 11, 1], [0, 6, 7]]
    assert (batch.targets.references, batch.size) == (["b", "a"], 2)
    assert corpus().batch([1, 0], CPU, references=False).targets.references == ()


def test_a_long_sentence_is_cut_before_its_end_token() -> None:
    batch = corpus(max_length=3).batch([0, 1, 2], CPU, references=False)
    assert batch.inputs.source.tolist() == [[5, 1, 0], [8, 9, 1], [12, 13, 1]]
    assert batch.targets.labels.tolist() == [[6, 7, 1], [11, 1, -100], [14, 15, 1]]


def test_an_evaluation_goes_by_falling_source_length_and_has_every_pair_once() -> None:
    batches = list(data(corpus()).batches(PairSplit(corpus=corpus(), which=torch.tensor([0, 2, 1])), 2))
    assert [batch.targets.references for batch in batches] == [["b", "c"], ["a"]]


def test_an_epoch_has_every_pair_once_and_any_batch_at_any_time() -> None:
    epoch = data(corpus()).epoch(seed=3, epoch=1, batch_size=2)
    assert (len(epoch), data(corpus()).num_batches(2)) == (2, 2)
    sizes = [batch.size for batch in epoch]
    assert sizes == [2, 1]
    last = epoch[1]
    assert torch.equal(last.inputs.source, list(epoch)[1].inputs.source)
    firsts = sorted(int(i) for batch in epoch for i in batch.inputs.source[:, 0])
    assert firsts == [5, 8, 12]
    with pytest.raises(IndexError, match="batch 2 of 2"):
        epoch[2]


def test_the_first_pairs_lie_as_they_are() -> None:
    assert next(
        data(corpus()).first(PairSplit(corpus=corpus(), which=torch.tensor([2, 0, 1])), 2)
    ).targets.references == [
        "c",
        "a",
    ]
    assert PairBatches(
        corpus=corpus(), order=torch.tensor([1]), batch_size=5, device=CPU, references=True
    )[0].targets.references == ["b"]  # fmt: skip
