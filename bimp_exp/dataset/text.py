"""Base of the data sets for translation: a family says only where its pairs of sentences come from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from bimp_exp.dataset.base import Dataset
from bimp_exp.dataset.tokenizer import Bytes, SentencePiece, read, train
from bimp_exp.errors import ConfigError
from bimp_exp.types import Count

if TYPE_CHECKING:
    import torch

    from bimp_exp.dataset.pairs import Corpus, PairData, PairSplit

LANGUAGES = {"de": "German", "en": "English"}
MOST_LOGITS = 2**26  # in a batch of an evaluation: 256 MiB in fp32
MOST_PAIRS = 500  # in a batch of an evaluation


class Splits(NamedTuple):
    """Pairs to train on, to evaluate while training and to test, and a hash over all that they were taken from."""

    train: PairSplit
    validation: PairSplit
    test: PairSplit
    identity: str


@dataclass(frozen=True, kw_only=True)
class SentencePairs(Dataset):
    """Base of all families.

    direction: source and target language.
    tokenizer: a model of sentencepiece, a folder with spiece.model in it, or bytes.
    prefix: whether a source begins with what T5 was trained with, ``translate English to German: ``.
    max_length: tokens of a source or target, EOS included; longer ones are cut off. Also of what is generated.
    eval_subset: pairs that are evaluated at most of those to train on, and of those that were split from them; None: all.
    """

    task: ClassVar[str] = "translation"
    items: ClassVar[str] = "pairs"

    direction: Literal["de-en", "en-de"]
    tokenizer: str | None
    prefix: bool
    max_length: Count
    eval_subset: Count | None

    @property
    def facts(self) -> dict[str, Any]:
        return {"tokenizer": self._tokenizer, "max_length": self.max_length}

    def splits(self) -> Splits:
        """The pairs as token ids; DataError where they cannot be read."""
        raise NotImplementedError

    def load(
        self,
        device: torch.device,
        *,
        augment_validation: bool = False,
        memory_format: torch.memory_format | None = None,
    ) -> PairData:
        from bimp_exp.dataset.pairs import PairData

        splits, tokenizer = self.splits(), self._tokenizer
        return PairData(
            train=splits.train,
            train_sample=splits.train.first(self.eval_subset),
            validation=splits.validation,
            test=splits.test,
            evaluation_batch=max(1, min(MOST_PAIRS, MOST_LOGITS // (self.max_length * tokenizer.vocab_size))),
            fingerprint=self._fingerprint(f"{splits.identity} {tokenizer.digest}"),
            device=device,
            files={"tokenizer.model": tokenizer.content} if tokenizer.content else {},
            notes=self.notes(),
        )

    def notes(self) -> tuple[str, ...]:
        """What a user should know of the data, a line each."""
        return ()

    @property
    def _prefix(self) -> str:
        """What a source begins with, in T5; "" without ``prefix``."""
        source, target = (LANGUAGES[language] for language in self.direction.split("-"))
        return f"translate {source} to {target}: " if self.prefix else ""

    @cached_property
    def _tokenizer(self) -> SentencePiece | Bytes:
        assert self.tokenizer is not None
        return read(self.tokenizer)


@dataclass(frozen=True, kw_only=True)
class SmallPairs(SentencePairs):
    """Base of the families whose pairs are made here, and fit into memory.

    tokenizer: also None: one is trained on the pairs that are trained on.
    vocab_size: ids that a trained one has at most.
    num_train_pairs: before subset and split.
    """

    most_pairs: ClassVar[int]
    """How many there are."""

    vocab_size: Count
    num_train_pairs: Count
    num_test_pairs: Count

    @property
    def num_train_items(self) -> int:
        return self.num_train_pairs

    def check(self) -> None:
        if self.num_train_pairs + self.num_test_pairs > self.most_pairs:
            raise ConfigError(
                f"dataset.num_train_pairs={self.num_train_pairs} and dataset.num_test_pairs={self.num_test_pairs} must be at most "
                f"{self.most_pairs:,} together"
            )
        super().check()

    def pairs(self, num: int) -> list[tuple[str, str]]:
        """The first ``num`` pairs, source and target, in an order that mixes them."""
        raise NotImplementedError

    def source(self) -> list[tuple[str, str]]:
        return self._pairs

    def splits(self) -> Splits:
        import torch

        from bimp_exp.dataset.pairs import PairSplit

        corpus, used, fit = self._corpus(self._pairs), self._used(), self.num_fit_items
        identity = hashlib.sha256(repr((self._pairs, self.num_train_pairs, self._prefix)).encode()).hexdigest()
        tested = torch.arange(self.num_train_pairs, len(self._pairs))
        train, validation, test = (PairSplit(corpus=corpus, which=which) for which in (used[:fit], used[fit:], tested))
        return Splits(train, validation.first(self.eval_subset), test, identity)

    @cached_property
    def _pairs(self) -> list[tuple[str, str]]:
        """Training pairs, before subset and split, then test pairs."""
        return self.pairs(self.num_train_pairs + self.num_test_pairs)

    @cached_property
    def _tokenizer(self) -> SentencePiece | Bytes:
        if self.tokenizer is not None:
            return read(self.tokenizer)
        chosen = (self._pairs[i] for i in self._used()[: self.num_fit_items].tolist())
        return train((text for pair in chosen for text in pair), self.vocab_size)

    def _corpus(self, pairs: Sequence[tuple[str, str]]) -> Corpus:
        import numpy as np

        from bimp_exp.dataset.pairs import Corpus

        encoded = [self._tokenizer.encode(text) for source, target in pairs for text in (self._prefix + source, target)]
        return Corpus(
            ids=np.concatenate([np.asarray(ids, np.int64) for ids in encoded]),
            offsets=np.cumsum([0, *map(len, encoded)], dtype=np.int64),
            max_length=self.max_length,
            reference=[target for _, target in pairs].__getitem__,
        )
