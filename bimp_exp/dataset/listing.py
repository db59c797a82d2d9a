"""Lists of the encoded images of a large data set: file, place and length in it, and class of each; none is decoded.

1. one folder of images per class, as ImageNet comes: ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``
2. Hugging Face image parquet: ``{train,val}.parquet`` or ``{train,val}-*-of-*.parquet``, also in ``data/``

``validation`` is as good as ``val``; a ``test`` without labels is left alone. Single rows of a parquet file cannot be read, so
its images are copied once, still encoded, into one file of the cache. Imports no PyTorch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bimp_exp.dataset import cache, readers
from bimp_exp.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TESTS = ("val", "validation")
PACKING = 1  # to be raised when what a pack holds changes, so that no older one is used
ACCEPTED = (
    "train/CLASS/ and val/CLASS/ with images, or {train,val}.parquet or {train,val}-*-of-*.parquet (also in data/); "
    "validation is as good as val"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Listing:
    """N encoded images: image i is ``sizes[i]`` bytes from ``offsets[i]`` on of the file ``files[places[i]]``; arrays int64 [N].

    ``shards``: the parquet files that ``files`` were copied from, if any. ``digest``: a hash over names, sizes and labels.
    """

    files: list[str]
    places: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    shards: list[str] | None
    digest: str

    def name(self, image: int) -> str:
        """An image as an error names it: its file, or its row in a parquet file."""
        place = int(self.places[image])
        if self.shards is None:
            return self.files[place]
        return f"{self.shards[place]}: row {image - int((self.places == place).argmax())}"


@dataclass(frozen=True, kw_only=True)
class EncodedFiles:
    """A data set on disk: the parquet files of each part, or its one folder of class folders."""

    layout: Literal["folders", "parquet"]
    train: tuple[Path, ...]
    test: tuple[Path, ...]

    def missing(self) -> Path | None:
        """The first parquet shard that is left out, if any."""
        return readers.missing_shard(self.train) or readers.missing_shard(self.test)

    def stamp(self) -> str:
        """Changes if an image is added, removed or renamed, or a parquet file written; spares listing all images again."""
        places = [*self.train, *self.test]
        if self.layout == "folders":
            places += [kind for place in places for kind in readers.class_folders(place)]
        facts = [f"{place}\0{place.stat().st_mtime_ns}\0{place.stat().st_size}\0" for place in places]
        return hashlib.sha256("".join(facts).encode()).hexdigest()


def find(root: Path) -> EncodedFiles | None:
    """The data set under ``root``, in the first layout that is there with both its parts; looks at names alone."""
    for name in TESTS:
        folders = [root / "train", root / name]
        if all(folder.is_dir() for folder in folders):
            return EncodedFiles(layout="folders", train=(folders[0],), test=(folders[1],))
    for name in TESTS:
        for train, test in readers.parquet_files(root, ("train", name)):
            if all(file.is_file() for file in train + test):
                return EncodedFiles(layout="parquet", train=tuple(train), test=tuple(test))
    return None


def read(found: EncodedFiles, packs: Path) -> tuple[Listing, Listing]:
    """Training and test images; DataError where files, or the ``packs`` that parquet is copied to, are not usable."""
    if found.layout == "parquet":
        return _packed(found.train, packs), _packed(found.test, packs)
    names = [kind.name for kind in readers.class_folders(found.train[0])]
    return _listed(found.train[0], names), _listed(found.test[0], names)


def join(one: Listing, other: Listing) -> Listing:
    """The images of ``one``, then those of ``other``."""
    import numpy as np

    return Listing(
        files=one.files + other.files,
        places=np.concatenate([one.places, other.places + len(one.files)]),
        offsets=np.concatenate([one.offsets, other.offsets]),
        sizes=np.concatenate([one.sizes, other.sizes]),
        labels=np.concatenate([one.labels, other.labels]),
        shards=None if one.shards is None or other.shards is None else one.shards + other.shards,
        digest=hashlib.sha256(f"{one.digest}{other.digest}".encode()).hexdigest(),
    )


def _listed(folder: Path, names: list[str]) -> Listing:
    """``folder/CLASS/*``; classes are numbered by their place in ``names``."""
    import numpy as np

    files: list[str] = []
    sizes: list[int] = []
    labels: list[int] = []
    digest = hashlib.sha256()
    for label, (kind, images) in enumerate(readers.images_by_class(folder, names)):
        paths = [f"{kind}/{name}" for name in images]
        lengths = [os.stat(path).st_size for path in paths]
        files += paths
        sizes += lengths
        labels += [label] * len(paths)
        pairs = zip(images, lengths, strict=True)
        digest.update("".join(f"{kind.name}/{name}\0{size}\0{label}\0" for name, size in pairs).encode())
    return Listing(
        files=files,
        places=np.arange(len(files)),
        offsets=np.zeros(len(files), np.int64),
        sizes=np.asarray(sizes, np.int64),
        labels=np.asarray(labels, np.int64),
        shards=None,
        digest=digest.hexdigest(),
    )


def _packed(shards: tuple[Path, ...], packs: Path) -> Listing:
    """The images of parquet files, each of which is copied into ``packs`` unless that was done before."""
    import numpy as np

    files, places, offsets, sizes, labels = [], [], [], [], []
    digest = hashlib.sha256()
    for place, shard in enumerate(shards):
        pack, facts = _pack(shard, packs)
        files.append(str(pack))
        size, label = facts["sizes"], facts["labels"]
        sizes.append(size)
        labels.append(label)
        offsets.append(np.cumsum(size) - size)
        places.append(np.full(len(size), place))
        digest.update(f"{shard.name}\0".encode() + size.tobytes() + label.tobytes())
    return Listing(
        files=files,
        places=np.concatenate(places),
        offsets=np.concatenate(offsets),
        sizes=np.concatenate(sizes),
        labels=np.concatenate(labels),
        shards=[str(shard) for shard in shards],
        digest=digest.hexdigest(),
    )


def _pack(shard: Path, packs: Path) -> tuple[Path, dict[str, NDArray[np.int64]]]:
    """The file in ``packs`` with the encoded images of ``shard``, one after the other, and their sizes and labels."""

    facts = shard.stat()
    which = f"{PACKING}\0{shard.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}"
    pack = packs / f"{hashlib.sha256(which.encode()).hexdigest()[:32]}.images"
    return pack, cache.pack(pack, lambda: _rows(shard))


def _rows(shard: Path) -> tuple[Iterator[bytes], dict[str, list[int]]]:
    """Encoded images, and the labels of those that were taken."""
    labels: list[int] = []

    def images() -> Iterator[bytes]:
        for encoded, label in readers.rows(shard):
            labels.append(label)
            yield encoded
        if not labels:
            raise DataError(f"{shard}: has no rows")

    return images(), {"labels": labels}
