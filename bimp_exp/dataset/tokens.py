"""Pairs of sentences as token ids in files, made once and then mapped into memory by any number of processes.

An entry of the cache has the ids of all its pairs, uint16 where the vocabulary allows it, and where each sentence begins; besides
the texts of the targets, of which an evaluation reads a few. All of WMT16, 4.5 million pairs, takes 1.4 GB.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bimp_exp import cores
from bimp_exp.dataset import cache
from bimp_exp.dataset.pairs import Corpus
from bimp_exp.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bimp_exp.dataset.bitext import Pair
    from bimp_exp.dataset.tokenizer import Bytes, SentencePiece

VERSION = 1  # to be raised when what an entry holds changes, so that no older one is used
AT_ONCE = 20_000  # pairs that are tokenised together


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """A corpus, and a hash over its ids and texts."""

    corpus: Corpus
    identity: str


def fetch(
    folder: Path,
    *,
    signature: str,
    content: Callable[[], str],
    pairs: Callable[[], Iterable[Pair]],
    tokenizer: SentencePiece | Bytes,
    prefix: str,
    max_length: int,
) -> Tokens:
    """The tokens of ``pairs``, source and target, from ``folder``; made where they are not there.

    signature, content: as in ``cache.fetch``; they also tell which of the file's pairs, and in which direction, these are.
    prefix: that every source begins with. max_length: as in Corpus; the files have all of a sentence.
    """
    how = repr((VERSION, tokenizer.digest, prefix))

    def named(text: str) -> str:
        return hashlib.sha256((text + how).encode()).hexdigest()

    entry = cache.keep(
        folder,
        signature=named(signature),
        content=lambda: named(content()),
        make=partial(_make, pairs=pairs, tokenizer=tokenizer, prefix=prefix),
    )
    return _open(entry, max_length)


def _make(draft: Path, *, pairs: Callable[[], Iterable[Pair]], tokenizer: SentencePiece | Bytes, prefix: str) -> None:
    kind = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)
    threads = cores.usable(hyperthreads=True)
    num_ids, num_bytes = [], []  # of each sentence, of each target
    ids_digest, texts_digest = hashlib.sha256(), hashlib.sha256()
    with (draft / "ids.bin").open("wb") as ids_file, (draft / "texts.bin").open("wb") as texts_file:
        for some in _in_parts(pairs()):
            sentences = [text for source, target in some for text in (prefix + source, target)]
            encoded = tokenizer.encode_all(sentences, threads)
            ids = np.fromiter(chain.from_iterable(encoded), kind, sum(map(len, encoded))).tobytes()
            texts = [target.encode() for _, target in some]
            num_ids.append(np.fromiter(map(len, encoded), np.int32, len(encoded)))
            num_bytes.append(np.fromiter(map(len, texts), np.int32, len(texts)))
            text = b"".join(texts)
            ids_digest.update(ids)
            texts_digest.update(text)
            with cache.explained(draft.parent):
                ids_file.write(ids)
                texts_file.write(text)
    facts = {"dtype": kind.name, "ids": ids_digest.hexdigest(), "texts": texts_digest.hexdigest()}
    with cache.explained(draft.parent):
        for name, lengths in (("ids", num_ids), ("texts", num_bytes)):
            offsets = _offsets(lengths)
            np.save(draft / f"{name}.npy", offsets)
            facts[name] += hashlib.sha256(offsets.tobytes()).hexdigest()
        (draft / "facts.json").write_text(json.dumps(facts))


def _in_parts(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    remaining = iter(pairs)
    while some := list(islice(remaining, AT_ONCE)):
        yield some


def _offsets(lengths: list[NDArray[np.int32]]) -> NDArray[np.int64]:
    """[N + 1] of N lengths."""
    offsets = np.zeros(sum(map(len, lengths)) + 1, np.int64)
    np.cumsum(np.concatenate(lengths), out=offsets[1:]) if lengths else None
    return offsets


def _open(entry: Path, max_length: int) -> Tokens:
    try:
        facts = json.loads((entry / "facts.json").read_text())
        ids = np.asarray(np.memmap(entry / "ids.bin", np.dtype(facts["dtype"]), "r"))
        starts, text_starts = (np.asarray(np.load(entry / name, mmap_mode="r")) for name in ("ids.npy", "texts.npy"))
        texts = entry / "texts.bin"
        if len(ids) != starts[-1] or texts.stat().st_size != text_starts[-1]:
            raise ValueError("cut short")
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        raise DataError(f"{entry}: damaged; delete it, it will be made again") from None

    def reference(i: int) -> str:
        with texts.open("rb") as file:  # not mapped: what is read once would stay in the memory of the process
            file.seek(text_starts[i])
            return file.read(text_starts[i + 1] - text_starts[i]).decode()

    corpus = Corpus(ids=ids, offsets=starts, max_length=max_length, reference=reference)
    return Tokens(corpus=corpus, identity=hashlib.sha256(json.dumps(facts).encode()).hexdigest())
