"""Base of the data sets for translation: a family says only where its pairs of sentences come from."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bimp_exp.dataset.base import Dataset
from bimp_exp.dataset.tokenizer import Bytes, SentencePiece, read, train
from bimp_exp.errors import ConfigError
from bimp_exp.task.translation import EOS
from bimp_exp.types import Count

if TYPE_CHECKING:
    import torch

    from bimp_exp.dataset.pairs import Corpus, PairData

Direction = Literal["de-en", "en-de"]
LANGUAGES = {"de": "German", "en": "English"}
MOST_LOGITS = 2**26  # in a batch of an evaluation: 256 MiB in fp32
MOST_PAIRS = 500  # in a batch of an evaluation


@dataclass(frozen=True, kw_only=True)
class SmallPairs(Dataset):
    """Base of the families whose pairs are made here, and fit into memory.

    direction: source and target language.
    tokenizer: a model of sentencepiece, a folder with spiece.model in it, or bytes; None: one is trained on the pairs that are
        trained on.
    vocab_size: ids that a trained one has at most.
    prefix: whether a source begins with what T5 was trained with, ``translate English to German: ``.
    max_length: tokens of a source or target, EOS included; longer ones are cut off. Also of what is generated.
    eval_subset: training and validation pairs that are evaluated at most, the first of the split; None: all.
    num_train_pairs: before subset and split.
    """

    task: ClassVar[str] = "translation"
    items: ClassVar[str] = "pairs"

    direction: Direction
    tokenizer: str | None
    vocab_size: Count
    prefix: bool
    max_length: Count
    eval_subset: Count | None
    num_train_pairs: Count
    num_test_pairs: Count

    @property
    def num_train_items(self) -> int:
        return self.num_train_pairs

    @property
    def facts(self) -> dict[str, Any]:
        return {"tokenizer": self._tokenizer, "max_length": self.max_length}

    def check(self) -> None:
        if self.subset is not None and self.subset > self.num_train_pairs:
            raise ConfigError(
                f"dataset.subset={self.subset} must be at most dataset.num_train_pairs={self.num_train_pairs}"
            )
        super().check()

    def pairs(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Training and test pairs (source, target), before subset and split."""
        raise NotImplementedError

    def source(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        return self._pairs

    def load(
        self,
        device: torch.device,
        *,
        augment_validation: bool = False,
        memory_format: torch.memory_format | None = None,
    ) -> PairData:
        import torch

        from bimp_exp.dataset.pairs import PairData, PairSplit

        training, test = (self._corpus(part) for part in self._pairs)
        used, fit = self._used(), self.num_fit_items
        most = self.eval_subset

        def part(corpus: Corpus, which: torch.Tensor) -> PairSplit:
            return PairSplit(corpus=corpus, which=which)

        identity = hashlib.sha256(repr((self._pairs, self._tokenizer.digest)).encode()).hexdigest()
        return PairData(
            train=part(training, used[:fit]),
            train_sample=part(training, used[:fit][:most]),
            validation=part(training, used[fit:][:most]),
            test=part(test, torch.arange(len(self._pairs[1]))),
            evaluation_batch=max(1, min(MOST_PAIRS, MOST_LOGITS // (self.max_length * self._tokenizer.vocab_size))),
            fingerprint=self._fingerprint(identity),
            device=device,
            files={"tokenizer.model": self._tokenizer.content} if self._tokenizer.content else {},
        )

    @cached_property
    def _pairs(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        return self.pairs()

    @cached_property
    def _tokenizer(self) -> SentencePiece | Bytes:
        if self.tokenizer is not None:
            return read(self.tokenizer)
        chosen = (self._pairs[0][i] for i in self._used()[: self.num_fit_items].tolist())
        return train((text for pair in chosen for text in pair), self.vocab_size)

    def _corpus(self, pairs: Sequence[tuple[str, str]]) -> Corpus:
        import numpy as np

        from bimp_exp.dataset.pairs import Corpus

        ids, offsets = array("i"), array("q", [0])
        start = prefix_of(self.direction) if self.prefix else ""
        for source, target in pairs:
            for text in (start + source, target):
                ids.extend([*self._tokenizer.encode(text)[: self.max_length - 1], EOS])
                offsets.append(len(ids))
        references = [target for _, target in pairs]
        return Corpus(ids=np.asarray(ids), offsets=np.asarray(offsets), reference=references.__getitem__)


def prefix_of(direction: Direction) -> str:
    """What a source begins with, in T5."""
    source, target = (LANGUAGES[language] for language in direction.split("-"))
    return f"translate {source} to {target}: "
