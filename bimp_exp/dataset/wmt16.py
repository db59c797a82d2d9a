"""WMT16, and any other German and English sentences in files of the same layouts (Bojar et al. 2016)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bimp_exp.dataset import bitext
from bimp_exp.dataset.readers import explained
from bimp_exp.dataset.text import SentencePairs, Splits
from bimp_exp.errors import ConfigError, DataError
from bimp_exp.types import Count

if TYPE_CHECKING:
    import torch

    from bimp_exp.dataset.bitext import Counts, Pair, Part
    from bimp_exp.dataset.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class WMT16(SentencePairs):
    """``root`` is a folder with one of the layouts of ``bimp_exp.dataset.bitext``; token ids are in ``cache``, and stay on disk.

    A pair with an empty side is left out before anything is counted.

    validation: split: pairs that are not trained on; official: the files of the validation part, all of them.
    num_train_pairs: before subset and split; None: as many as the files have.
    """

    usual_items: ClassVar[int] = 4_548_885

    root: str | None
    cache: str
    validation: Literal["split", "official"]
    num_train_pairs: Count | None

    @property
    def num_train_items(self) -> int:
        if self.num_train_pairs is not None:
            return self.num_train_pairs
        return self.usual_items if self.root is None else self._counts.kept

    @property
    def num_fit_items(self) -> int:
        return super().num_fit_items if self.validation == "split" else self.num_used_items

    def check_files(self) -> None:
        if self.tokenizer is None:
            raise ConfigError(
                "dataset.tokenizer=null must be a model of sentencepiece, a folder with spiece.model, or bytes; where it is not "
                "given it is model.weights"
            )
        with explained(self.root):
            _ = self._parts

    def source(self) -> dict[str, Part]:
        """The files of each part, verified to have the pairs that they should have."""
        self.check()
        with explained(self.root):
            kept = self._counts.kept
            if self.num_train_pairs not in (None, kept):
                raise DataError(
                    f"dataset.root={self.root}: {kept} training pairs, but dataset.num_train_pairs={self.num_train_pairs}"
                )
            for name in self._needed:
                if not self._parts[name].counts(self._cache).kept:
                    raise DataError(f"{self._parts[name].files[0]}: has no pair")
        return self._parts

    def splits(self) -> Splits:
        import torch

        from bimp_exp.dataset.pairs import PairSplit

        parts, used, fit = self.source(), self._used(), self.num_fit_items
        chosen = used if self.subset is None else used.sort().values
        with explained(self.root):
            train = self._tokens(parts["train"], None if self.subset is None else chosen)
            test = self._tokens(parts["test"])
            official = self._tokens(parts["validation"]) if self.validation == "official" else None
        if self.subset is not None:
            used = torch.searchsorted(chosen, used)
        split = PairSplit(corpus=train.corpus, which=used[fit:]).first(self.eval_subset)

        def whole(tokens: Tokens) -> PairSplit:
            return PairSplit(corpus=tokens.corpus, which=torch.arange(len(tokens.corpus)))

        return Splits(
            PairSplit(corpus=train.corpus, which=used[:fit]),
            split if official is None else whole(official),
            whole(test),
            " ".join(each.identity for each in (train, test, official) if each is not None),
        )

    def notes(self) -> tuple[str, ...]:
        dropped = {name: self._parts[name].counts(self._cache).dropped for name in self._needed}
        return tuple(
            f"dataset.root={self.root}: {num:,} pairs of the {name} part are left out, since a side is empty"
            for name, num in dropped.items()
            if num
        )

    @property
    def _cache(self) -> Path:
        return Path(self.cache).expanduser().absolute()

    @property
    def _needed(self) -> tuple[str, ...]:
        return ("train", "test") if self.validation == "split" else ("train", "validation", "test")

    @cached_property
    def _counts(self) -> Counts:
        """Of the training part."""
        with explained(self.root):
            return self._parts["train"].counts(self._cache)

    @cached_property
    def _parts(self) -> dict[str, Part]:
        if self.root is None:
            raise ConfigError(f"dataset.root=null must be a folder with {bitext.ACCEPTED}")
        root = Path(self.root).expanduser().absolute()
        if not root.is_dir():
            raise DataError(f"dataset.root={self.root}: there is no such folder ({root})")
        found = bitext.find(root)
        if self.validation == "official" and "validation" not in found:
            raise DataError(
                f"dataset.validation=official: {found['train'].files[0].parent} has no validation part; take split"
            )
        return found

    def _tokens(self, part: Part, chosen: torch.Tensor | None = None) -> Tokens:
        """Of the pairs ``chosen``, in rising order; None: of all."""
        from bimp_exp.dataset import tokens

        numbers = None if chosen is None else chosen.tolist()
        which = f"{self.direction} {numbers and hashlib.sha256(repr(numbers).encode()).hexdigest()}"

        def pairs() -> Iterable[Pair]:
            every = part.pairs() if numbers is None else picked(part.pairs(), numbers)
            return ((en, de) for de, en in every) if self.direction == "en-de" else every

        return tokens.fetch(
            self._cache,
            signature=part.stamp() + which,
            content=lambda: part.content() + which,
            pairs=pairs,
            tokenizer=self._tokenizer,
            prefix=self._prefix,
            max_length=self.max_length,
        )


def picked(pairs: Iterable[Pair], numbers: Iterable[int]) -> Iterable[Pair]:
    """The pairs of these ``numbers``, which rise."""
    wanted = iter(numbers)
    next_one = next(wanted, None)
    for number, pair in enumerate(pairs):
        if number == next_one:
            yield pair
            next_one = next(wanted, None)
            if next_one is None:
                return
