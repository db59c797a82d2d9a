"""Tokenizers with the special ids of T5: a model of sentencepiece, read from a file or trained, and bytes without any file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from bimp_exp.errors import DataError
from bimp_exp.extras import extra
from bimp_exp.task.translation import EOS, PAD, UNKNOWN

NUM_SPECIAL = 3  # PAD, EOS and UNKNOWN are the first ids
SENTINELS = 100  # ids that T5 adds to those of its model


@dataclass(frozen=True, eq=False)
class Bytes:
    """The id of a byte is 3 more than the byte, as in ByT5 (Xue et al. 2022)."""

    vocab_size: ClassVar[int] = 256 + NUM_SPECIAL
    digest: ClassVar[str] = "bytes"
    content: ClassVar[bytes] = b""

    def encode(self, text: str) -> list[int]:
        """Ids without EOS."""
        return [byte + NUM_SPECIAL for byte in text.encode()]

    def encode_all(self, texts: Sequence[str], num_threads: int) -> list[list[int]]:
        """As ``encode``, of each text."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The text up to the first EOS; bytes that are no text are left out."""
        found = bytes(i - NUM_SPECIAL for i in _before_end(ids) if NUM_SPECIAL <= i < self.vocab_size)
        return found.decode(errors="ignore").strip()


@dataclass(frozen=True, eq=False)
class SentencePiece:
    """A model of sentencepiece, whose file has this ``content``; ``num_sentinels`` ids more are never given out."""

    content: bytes
    num_sentinels: int = 0

    @cached_property
    def _processor(self) -> Any:
        with extra("tasks", "task=translation"):
            from sentencepiece import SentencePieceProcessor
        return SentencePieceProcessor(model_proto=self.content)

    @property
    def vocab_size(self) -> int:
        """With the sentinels."""
        return int(self._processor.vocab_size()) + self.num_sentinels

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(self.content).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Ids without EOS."""
        ids: list[int] = self._processor.encode(text)
        return ids

    def encode_all(self, texts: Sequence[str], num_threads: int) -> list[list[int]]:
        """As ``encode``, of each text; no id depends on ``num_threads``."""
        ids: list[list[int]] = self._processor.encode(texts, num_threads=num_threads)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text up to the first EOS, without special tokens and sentinels."""
        known = self.vocab_size - self.num_sentinels
        text: str = self._processor.decode([i for i in _before_end(ids) if NUM_SPECIAL <= i < known])
        return text.strip()


def read(path: str) -> SentencePiece | Bytes:
    """``bytes``, a file of sentencepiece, or a folder with spiece.model in it; DataError where there is none."""
    if path == "bytes":
        return Bytes()
    place = Path(path).expanduser()
    file = place / "spiece.model" if place.is_dir() else place
    if not file.is_file():
        raise DataError(
            f"dataset.tokenizer={path}: there is no {file}; give a model of sentencepiece, a folder with spiece.model, or bytes"
        )
    found = SentencePiece(file.read_bytes(), num_sentinels=SENTINELS)
    try:
        processor = found._processor
    except (RuntimeError, OSError):
        raise DataError(f"dataset.tokenizer={path}: {file} is not a model of sentencepiece, or a damaged one") from None
    special = processor.pad_id(), processor.eos_id(), processor.unk_id()
    if special != (PAD, EOS, UNKNOWN):
        raise DataError(
            f"dataset.tokenizer={path}: pad, eos and unk have the ids {special} there, but {(PAD, EOS, UNKNOWN)} in T5"
        )
    return found


def train(texts: Iterable[str], vocab_size: int) -> SentencePiece:
    """A unigram model of at most ``vocab_size`` ids; the same bytes for the same texts."""
    with extra("tasks", "task=translation"):
        from sentencepiece import SentencePieceTrainer
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=written,
        model_type="unigram",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        pad_id=PAD,
        eos_id=EOS,
        unk_id=UNKNOWN,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return SentencePiece(written.getvalue())


def _before_end(ids: Sequence[int]) -> Sequence[int]:
    return ids[: ids.index(EOS)] if EOS in ids else ids
