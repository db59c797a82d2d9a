"""What is said where the files of sentences are wrong: one line with the file, and the line in it or what is legal."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bimp_exp.errors import DataError
from tests.dataset.sentences import PARTS, wmt16, write_jsonl, write_parquet, write_texts, write_tsv


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def scramble(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4:120] = b"\xff" * 116  # pages come first
    file.write_bytes(content)


def table(file: Path, column: str, kind: pa.DataType, value: Any) -> None:
    pq.write_table(pa.table({column: pa.array([value], kind)}), file)


TEXT = pa.string()
SHARD = "de-en/train-00000-of-00002.parquet"
WRONG: dict[str, tuple[Callable[..., None], Callable[[Path], object], str]] = {
    "no folder": (write_parquet, shutil.rmtree, "dataset.root=ROOT: there is no such folder"),
    "nothing": (write_texts, lambda r: [f.unlink() for f in r.iterdir()], "ROOT: needs {train,test} as .parquet"),
    "no test": (write_tsv, lambda r: (r / "test.tsv").unlink(), "ROOT/train.tsv: there is no test set beside it"),
    "one language": (write_texts, lambda r: (r / "test.en").unlink(), "ROOT/test.en is missing beside test.de"),
    "a shard": (write_parquet, lambda r: (r / SHARD).unlink(), f"ROOT/{SHARD} is missing beside"),
    "counts": (
        write_texts,
        lambda r: (r / "train.en").write_text("one\ntwo\n"),
        "ROOT/train.de has 40 lines, but ROOT/train.en has 2",
    ),
    "more English": (
        write_texts,
        lambda r: (r / "test.de").write_text("eins\n"),
        "ROOT/test.de has 1 lines, but ROOT/test.en has 8",
    ),
    "UTF-8": (
        write_texts,
        lambda r: (r / "test.de").write_bytes((r / "test.de").read_bytes()[:-1] + b"\xff\n"),
        "ROOT/test.de: line 8: not UTF-8",
    ),
    "parquet": (write_parquet, lambda r: truncate(r / SHARD), f"ROOT/{SHARD}: not a parquet file"),
    "damaged": (write_parquet, lambda r: scramble(r / SHARD), f"ROOT/{SHARD}: damaged"),
    "column": (
        write_parquet,
        lambda r: table(r / SHARD, "text", TEXT, "a"),
        f"ROOT/{SHARD}: needs a struct column translation with de and en, has text",
    ),
    "language": (
        write_parquet,
        lambda r: table(r / SHARD, "translation", pa.struct([("cs", TEXT), ("en", TEXT)]), {"cs": "a", "en": "b"}),
        f"ROOT/{SHARD}: translation has no text de, it has cs, en",
    ),
    "JSON": (
        write_jsonl,
        lambda r: (r / "test.jsonl").write_text('{"de": "a", "en": "b"}\n{"de": '),
        "ROOT/test.jsonl: line 2: not JSON",
    ),
    "JSON key": (
        write_jsonl,
        lambda r: (r / "test.jsonl").write_text('{"de": "a", "fr": "b"}'),
        "ROOT/test.jsonl: line 1: needs texts de and en",
    ),
    "header": (
        write_tsv,
        lambda r: (r / "test.tsv").write_text("null\tzero\n"),
        "ROOT/test.tsv: the first line must name the columns, de and en among them",
    ),
    "columns": (
        write_tsv,
        lambda r: (r / "test.tsv").write_text("de\ten\nnull\tzero\teins\n"),
        "ROOT/test.tsv: line 2 has 3 columns, but the first line 2",
    ),
    "no pair": (write_tsv, lambda r: (r / "test.tsv").write_text("de\ten\n"), "ROOT/test.tsv: has no pair"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_line(case: str, tmp_path: Path) -> None:
    write, spoil, said = WRONG[case]
    root = tmp_path / "root"
    write(root, PARTS)
    spoil(root)
    with pytest.raises(DataError) as caught:
        wmt16(root).source()
    message = str(caught.value).replace(str(root), "ROOT")
    assert message.startswith(said)
    assert "\n" not in message
