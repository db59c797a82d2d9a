"""Pairs of sentences written in each of the layouts, and the data sets that read them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from bimp_exp.dataset.number_words import english, german
from bimp_exp.dataset.text import SentencePairs
from tests.conftest import ROOT

Pair = tuple[str | None, str | None]
TRAIN: list[Pair] = [(german(n), english(n)) for n in range(1000, 1040)]
VALIDATION: list[Pair] = [(german(n), english(n)) for n in range(2000, 2006)]
TEST: list[Pair] = [(german(n), english(n)) for n in range(3000, 3008)]
PARTS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def make(name: str, **changes: Any) -> SentencePairs:
    """The data set of ``conf/dataset/NAME.yaml`` with some values changed."""
    values = yaml.safe_load((ROOT / "conf" / "dataset" / f"{name}.yaml").read_text()) | changes
    values.pop("defaults")
    module, _, kind = values.pop("_target_").rpartition(".")
    made: SentencePairs = getattr(importlib.import_module(module), kind)(**values)
    return made


def wmt16(root: Path, **changes: Any) -> SentencePairs:
    """WMT16 of bytes in ``root``, with its cache beside that."""
    return make("wmt16", **({"root": str(root), "cache": str(root.parent / "cache"), "tokenizer": "bytes"} | changes))


def write_table(file: Path, pairs: Sequence[Pair]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("de", pa.string()), ("en", pa.string())])
    pq.write_table(pa.table({"translation": pa.array([{"de": de, "en": en} for de, en in pairs], kind)}), file)


def write_parquet(root: Path, parts: dict[str, list[Pair]]) -> None:
    """As Hugging Face has it: the training part in two files."""
    for name, pairs in parts.items():
        shares = [pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]] if name == "train" else [pairs]
        for i, share in enumerate(shares):
            write_table(root / "de-en" / f"{name}-{i:05}-of-{len(shares):05}.parquet", share)


def write_texts(root: Path, parts: dict[str, list[Pair]], end: str = "\n") -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, pairs in parts.items():
        for i, language in enumerate(("de", "en")):
            (root / f"{name}.{language}").write_bytes("".join(f"{pair[i] or ''}{end}" for pair in pairs).encode())


def write_jsonl(root: Path, parts: dict[str, list[Pair]]) -> None:
    """Every other line without ``translation``."""
    root.mkdir(parents=True, exist_ok=True)
    for name, pairs in parts.items():
        rows = [{"de": de, "en": en} for de, en in pairs]
        lines = [json.dumps(row if i % 2 else {"translation": row}) for i, row in enumerate(rows)]
        (root / f"{name}.jsonl").write_text("\n".join(lines))


def write_tsv(root: Path, parts: dict[str, list[Pair]]) -> None:
    """English first, and a column more."""
    root.mkdir(parents=True, exist_ok=True)
    for name, pairs in parts.items():
        lines = ["en\tid\tde", *(f"{en or ''}\t{i}\t{de or ''}" for i, (de, en) in enumerate(pairs))]
        (root / f"{name}.tsv").write_text("\n".join(lines) + "\n")


WRITERS = {"parquet": write_parquet, "texts": write_texts, "jsonl": write_jsonl, "tsv": write_tsv}
