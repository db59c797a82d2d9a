"""Image data sets in any of three layouts, recognised by their file names and read.

1. what torchvision downloads: ``cifar-10-batches-py/`` or ``cifar-100-python/``
2. Hugging Face image parquet: ``{train,test}.parquet`` or ``{train,test}-*-of-*.parquet``, also in ``data/``
3. one folder of images per class: ``{train,test}/CLASS/*.png``; classes are numbered by name

Imports no PyTorch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bimp_exp.dataset import readers
from bimp_exp.dataset.images import Images

Layout = Literal["torchvision", "parquet", "folders"]
Part = Literal["train", "test"]
Variant = Literal["cifar10", "cifar100"]

PARTS: tuple[Part, Part] = ("train", "test")
BATCHES: dict[Variant, dict[Part, list[str]]] = {
    "cifar10": {
        "train": [f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)],
        "test": ["cifar-10-batches-py/test_batch"],
    },
    "cifar100": {"train": ["cifar-100-python/train"], "test": ["cifar-100-python/test"]},
}


def accepted(variant: Variant) -> str:
    """The three layouts in words, for errors."""
    folder = BATCHES[variant]["test"][0].split("/")[0]
    return (
        f"{folder}/ as torchvision writes it, {{train,test}}.parquet or {{train,test}}-*-of-*.parquet "
        "(also in data/), or {train,test}/CLASS/ with images"
    )


@dataclass(frozen=True, kw_only=True)
class SourceFiles:
    """A data set under ``root``; ``places`` are the files of each part, or its folder of class folders."""

    root: Path
    layout: Layout
    places: dict[Part, list[Path]]

    def missing(self) -> Path | None:
        """The first place that does not exist, or the first parquet shard that is left out; None where all are there."""
        exists = Path.is_dir if self.layout == "folders" else Path.is_file
        absent = [place for part in PARTS for place in self.places[part] if not exists(place)]
        if absent or self.layout != "parquet":
            return absent[0] if absent else None
        return next((shard for part in PARTS if (shard := readers.missing_shard(self.places[part]))), None)

    def files(self) -> list[Path]:
        """Every file that is read, in the order of reading."""
        places = [p for part in PARTS for p in self.places[part]]
        if self.layout != "folders":
            return places
        return [
            kind / name
            for place in places
            for kind in readers.class_folders(place)
            for name in readers.image_names(kind)
        ]

    def signature(self) -> str:
        """Changes with the path, size or time of a file; spares reading the files at every start."""
        digest = hashlib.sha256()
        for file, name in self._named():
            facts = file.stat()
            digest.update(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode())
        return digest.hexdigest()

    def content(self) -> str:
        """A sha256 over the names and bytes of all files."""
        digest = hashlib.sha256()
        for file, name in self._named():
            with file.open("rb") as stream:
                digest.update(name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()

    def read(self, part: Part, facts: readers.Facts) -> Images:
        """The images of one part; DataError names the file and the row or image that is wrong."""
        if self.layout == "torchvision":
            return readers.read_batches(self.places[part], facts)
        if self.layout == "parquet":
            return readers.read_parquet(self.places[part], facts)
        return readers.read_folders(self.places[part][0], readers.class_folders(self.places["train"][0]), facts)

    def _named(self) -> Iterator[tuple[Path, str]]:
        return ((file, file.relative_to(self.root).as_posix()) for file in self.files())


def find(root: Path, variant: Variant) -> SourceFiles | None:
    """The data set under ``root``, in the first of the three layouts that is there in part; looks at names alone."""
    batches = {part: [root / name for name in BATCHES[variant][part]] for part in PARTS}
    if batches["train"][0].parent.is_dir():
        return SourceFiles(root=root, layout="torchvision", places=batches)
    for shards in readers.parquet_files(root, PARTS):
        if any(file.is_file() for files in shards for file in files):
            return SourceFiles(root=root, layout="parquet", places=dict(zip(PARTS, shards, strict=True)))
    folders = {part: [root / part] for part in PARTS}
    if any(place.is_dir() for part in PARTS for place in folders[part]):
        return SourceFiles(root=root, layout="folders", places=folders)
    return None
