"""Pairs of a German and an English sentence in files; a file that is wrong is a DataError. Imports no PyTorch.

In the folder, or in ``de-en`` or ``data`` in it, one of

1. Hugging Face parquet: ``{train,validation,test}.parquet`` or ``-*-of-*.parquet``, a column ``translation`` with de and en
2. texts with a sentence in each line: ``{train,validation,test}.de`` and ``.en``
3. JSON lines: ``{train,validation,test}.jsonl`` with ``{"translation": {"de": ..., "en": ...}}`` or ``{"de": ..., "en": ...}``
4. tab-separated values: ``{train,validation,test}.tsv``, whose first line names the columns, de and en among them

``valid`` and ``dev`` are as good as ``validation``. A line ends with "\\n" or "\\r\\n" and nothing else: the further line ends of
Unicode occur inside the sentences of web pages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeGuard

from bimp_exp.dataset.pixels import words
from bimp_exp.dataset.readers import missing_shard
from bimp_exp.errors import DataError, UserError
from bimp_exp.files import write

FOLDERS = (".", "de-en", "data")
NAMES = {"train": ("train",), "validation": ("validation", "valid", "dev"), "test": ("test",)}
LANGUAGES = ("de", "en")
ROWS = 10_000  # of a parquet file in memory at a time
ACCEPTED = (
    "{train,test} as .parquet or -*-of-*.parquet with a column translation, as .de and .en, as .jsonl or as .tsv (also in "
    "de-en/ or data/)"
)

Pair = tuple[str, str]


class Counts(NamedTuple):
    """Pairs of which both sides have a word, and the others."""

    kept: int
    dropped: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """The files of the training, validation or test pairs, in order."""

    layout: Literal["parquet", "text", "jsonl", "tsv"]
    files: tuple[Path, ...]

    def rows(self) -> Iterator[tuple[str | None, str | None]]:
        """German and English, of every row."""
        if self.layout == "text":
            return _texts(*self.files)
        read = {"parquet": _parquet, "jsonl": _jsonl, "tsv": _tsv}[self.layout]
        return (row for file in self.files for row in read(file))

    def pairs(self) -> Iterator[Pair]:
        """German and English, of the rows that have both."""
        return (row for row in self.rows() if has_both(row))

    def stamp(self) -> str:
        """A hash over places, sizes and times of the files."""
        facts = [(self.layout, str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in self.files]
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def content(self) -> str:
        """A hash over the bytes of the files."""
        digest = hashlib.sha256(self.layout.encode())
        for file in self.files:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()

    def counts(self, cache: Path) -> Counts:
        """How many pairs there are; noted in ``cache``, so that files are read for it once."""
        note = cache / "counts" / self.stamp()
        with suppress(OSError, ValueError, TypeError):
            return Counts(*map(int, json.loads(note.read_text())))
        kept = [has_both(row) for row in self.rows()]
        counts = Counts(sum(kept), len(kept) - sum(kept))
        with suppress(UserError):  # it only makes the next start faster
            write(note, json.dumps(counts).encode())
        return counts


def has_both(row: tuple[str | None, str | None]) -> TypeGuard[Pair]:
    """Whether both sides are more than white space."""
    de, en = row
    return bool(de and en and not de.isspace() and not en.isspace())


def find(root: Path) -> dict[str, Part]:
    """The parts of the data under ``root``, train and test at least, by name; looks at names alone."""
    for folder in (root / name for name in FOLDERS):
        for layout in ("parquet", "text", "jsonl", "tsv"):
            found = {}
            for part, names in NAMES.items():
                every = (_files(folder, layout, name) for name in names)
                if files := next(filter(None, every), None):
                    found[part] = Part(layout=layout, files=files)
            if "train" in found and "test" not in found:
                raise DataError(f"{found['train'].files[0]}: there is no test set beside it; needed is {ACCEPTED}")
            if "train" in found:
                return found
    raise DataError(f"{root}: needs {ACCEPTED}")


def _files(folder: Path, layout: str, name: str) -> tuple[Path, ...]:
    """() where there is none; DataError where one of several is missing."""
    if layout == "parquet":
        found = sorted(folder.glob(f"{name}.parquet")) or sorted(folder.glob(f"{name}-*-of-*.parquet"))
        missing = missing_shard(found) if found else None
    else:
        suffixes = LANGUAGES if layout == "text" else (layout,)
        wanted = [folder / f"{name}.{suffix}" for suffix in suffixes]
        found = [file for file in wanted if file.is_file()]
        missing = next((file for file in wanted if found and file not in found), None)
    if missing is not None:
        raise DataError(f"{missing} is missing beside {found[0].name}")
    return tuple(found)


def _parquet(file: Path) -> Iterator[tuple[str | None, str | None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        schema = table.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: not a parquet file ({words(error)})") from None
    kind = schema.field("translation").type if "translation" in schema.names else None
    if kind is None or not pa.types.is_struct(kind):
        raise DataError(f"{file}: needs a struct column translation with de and en, has {', '.join(schema.names)}")
    names = [field.name for field in kind]
    if missing := [name for name in LANGUAGES if name not in names or not _is_text(kind.field(name).type)]:
        raise DataError(f"{file}: translation has no text {missing[0]}, it has {', '.join(names)}")
    try:
        for batch in table.iter_batches(ROWS, columns=["translation"]):
            columns = dict(zip(names, batch.column(0).flatten(), strict=True))
            yield from zip(*(columns[name].to_pylist() for name in LANGUAGES), strict=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: damaged ({words(error)})") from None


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _texts(de: Path, en: Path) -> Iterator[Pair]:
    with de.open("rb") as german, en.open("rb") as english:
        for number, (one, other) in enumerate(zip_longest(german, english), 1):
            if one is None or other is None:
                longer = number + sum(1 for _ in (german if other is None else english))
                counts = (longer, number - 1) if other is None else (number - 1, longer)
                raise DataError(f"{de} has {counts[0]:,} lines, but {en} has {counts[1]:,}")
            yield _decoded(one, de, number), _decoded(other, en, number)


def _jsonl(file: Path) -> Iterator[tuple[str | None, str | None]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            text = _decoded(line, file, number)
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{file}: line {number}: not JSON ({words(error)})") from None
            row = row.get("translation", row) if isinstance(row, dict) else None
            if not isinstance(row, dict) or not all(isinstance(row.get(name, 0), str | None) for name in LANGUAGES):
                raise DataError(f"{file}: line {number}: needs texts de and en, alone or in translation")
            yield row["de"], row["en"]


def _tsv(file: Path) -> Iterator[Pair]:
    with file.open("rb") as lines:
        names: Sequence[str] = _decoded(next(lines, b""), file, 1).split("\t")
        if not {*LANGUAGES} <= {*names}:
            raise DataError(f"{file}: the first line must name the columns, de and en among them, and is {names}")
        places = [names.index(name) for name in LANGUAGES]
        for number, line in enumerate(lines, 2):
            row = _decoded(line, file, number).split("\t")
            if len(row) != len(names):
                raise DataError(f"{file}: line {number} has {len(row)} columns, but the first line {len(names)}")
            yield row[places[0]], row[places[1]]


def _decoded(line: bytes, file: Path, number: int) -> str:
    """Without its end."""
    try:
        return line.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise DataError(f"{file}: line {number}: not UTF-8") from None
