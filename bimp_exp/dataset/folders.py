"""Small sets of encoded images, with training and test part or to be divided; none is decoded here.

1. ``{train,test}/CLASS/*.png``, and so on
2. ``CLASS/*.png``, of which a share is for testing
3. Hugging Face image parquet: ``{train,test}.parquet`` or ``{train,test}-*-of-*.parquet``, also in ``data/``; or train alone

``val`` and ``validation`` are as good as ``test`` where there is none. Classes are numbered by name. Imports no PyTorch.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bimp_exp.dataset import readers
from bimp_exp.errors import ConfigError, DataError

TESTS = ("test", "val", "validation")
SUFFIXES = readers.SUFFIXES | {".gif", ".pgm", ".ppm", ".tif", ".tiff"}
ACCEPTED = (
    "{train,test}/CLASS/ with images, or CLASS/ alone, or {train,test}.parquet or {train,test}-*-of-*.parquet (also in data/); "
    "val and validation are as good as test"
)


@dataclass(frozen=True, kw_only=True)
class Items:
    """The images of a part, in order.

    keys: names that do not depend on where the data lie. names: as errors name them. encoded: gives the bytes of each.
    """

    keys: Sequence[str]
    names: Sequence[str]
    labels: Sequence[int]
    encoded: Callable[[], Iterator[bytes]]

    def only(self, numbers: Sequence[int]) -> Items:
        """These of them; ``numbers`` ascend."""
        chosen = set(numbers)
        return Items(
            keys=[self.keys[i] for i in numbers],
            names=[self.names[i] for i in numbers],
            labels=[self.labels[i] for i in numbers],
            encoded=lambda: (each for i, each in enumerate(self.encoded()) if i in chosen),
        )


@dataclass(frozen=True, kw_only=True)
class Listed:
    """files: all that are read. class_names: of folders."""

    files: Sequence[Path]
    train: Items
    test: Items
    class_names: Sequence[str] | None


def listed(root: Path, origin: str, test_fraction: float | None) -> Listed:
    """What lies in ``root``; DataError that begins with ``origin`` where it is not in one of the layouts."""
    shards = next((found for (found,) in readers.parquet_files(root, ("train",)) if found[0].is_file()), None)
    names = None
    if (root / "train").is_dir():
        if not (names := _class_names(root / "train")):
            raise DataError(f"{root / 'train'}: has no class folders")
        train, files = _folder(root / "train", names)
        place = next((root / name for name in TESTS if (root / name).is_dir()), None)
        test, more = (None, []) if place is None else _folder(place, names, training=False)
    elif shards is not None:
        train, files = _shards(shards)
        test, more = _test_shards(root)
    else:
        if missing := [name for name in TESTS if (root / name).is_dir()]:
            raise DataError(f"{origin}: has {missing[0]}/ but no train/")
        names = _class_names(root)
        if not names:
            raise DataError(f"{origin}: has none of {ACCEPTED}")
        train, files = _folder(root, names)
        test, more = None, []
    if test is None:
        if test_fraction is None:
            raise ConfigError(
                f"{origin}: nothing there is for testing; dataset.test_fraction=0.2 tests on a fifth of each class"
            )
        train, test = _divided(train, test_fraction)
    elif test_fraction is not None:
        raise ConfigError(f"dataset.test_fraction={test_fraction}: leave it null, {origin} has images for testing")
    if not (train.labels and test.labels):
        raise DataError(f"{origin}: leaves no images to {'test' if train.labels else 'train'} on")
    return Listed(files=[*files, *more], train=train, test=test, class_names=names)


def _class_names(folder: Path) -> list[str]:
    return [kind.name for kind in readers.class_folders(folder)]


def _folder(folder: Path, names: Sequence[str], *, training: bool = True) -> tuple[Items, list[Path]]:
    """``folder/CLASS/*``, classes numbered by their place in ``names``; each has an image if it is for ``training``."""
    files: list[Path] = []
    labels: list[int] = []
    for kind in readers.class_folders(folder):
        if kind.name not in names:
            raise DataError(f"{kind}: a class without training images")
        images = []
        for entry in sorted(os.scandir(kind), key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                raise DataError(f"{entry.path}: a folder in a class folder, in which images lie directly")
            if os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                images.append(kind / entry.name)
        if training and not images:
            raise DataError(f"{kind}: a class without images ({', '.join(sorted(SUFFIXES))})")
        files += images
        labels += [names.index(kind.name)] * len(images)
    return Items(
        keys=[file.relative_to(folder).as_posix() for file in files],
        names=[str(file) for file in files],
        labels=labels,
        encoded=lambda: (file.read_bytes() for file in files),
    ), files


def _shards(shards: list[Path]) -> tuple[Items, list[Path]]:
    if (missing := readers.missing_shard(shards)) is not None:
        raise DataError(f"{missing}: is missing")
    labels = [readers.labels(shard) for shard in shards]
    if empty := [shard for shard, each in zip(shards, labels, strict=True) if not each]:
        raise DataError(f"{empty[0]}: has no rows")
    rows = [(shard, row) for shard, each in zip(shards, labels, strict=True) for row in range(len(each))]
    return Items(
        keys=[f"{shard.name} {row}" for shard, row in rows],
        names=[f"{shard}: row {row}" for shard, row in rows],
        labels=[label for each in labels for label in each],
        encoded=lambda: (encoded for shard in shards for encoded, _ in readers.rows(shard)),
    ), shards


def _test_shards(root: Path) -> tuple[Items | None, list[Path]]:
    """Those of the first of TESTS that has labels: published tests often have -1 for each."""
    for name in TESTS:
        for (shards,) in readers.parquet_files(root, (name,)):
            if shards[0].is_file():
                items, files = _shards(shards)
                if max(items.labels) >= 0:
                    return items, files
    return None, []


def _divided(items: Items, fraction: float) -> tuple[Items, Items]:
    """The rest, and ``fraction`` of each class: those whose hash comes first, so that an image more moves few others."""
    by_class: defaultdict[int, list[int]] = defaultdict(list)
    for i, label in enumerate(items.labels):
        by_class[label].append(i)
    chosen: set[int] = set()
    for members in by_class.values():
        members.sort(key=lambda i: hashlib.sha256(items.keys[i].encode(errors="surrogateescape")).digest())
        chosen.update(members[: round(fraction * len(members))])
    parts = [[i for i in range(len(items.labels)) if (i in chosen) == test] for test in (False, True)]
    train, test = (items.only(part) for part in parts)
    return train, test
