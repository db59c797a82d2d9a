"""Images from CIFAR's pickles, from parquet and from folders of classes; a file that is wrong is a DataError."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bimp_exp.dataset.images import Images
from bimp_exp.dataset.pixels import decode, words
from bimp_exp.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
ROWS = 1000  # of a parquet file in memory at a time
ARRAY_PARTS = {  # names in a pickled NumPy array, by versions of NumPy and Python
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "_codecs.encode",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Properties that images must have: ``shape`` is channels (1 or 3), height, width."""

    shape: tuple[int, int, int]
    num_classes: int


def read_batches(files: list[Path], facts: Facts) -> Images:
    """CIFAR's pickles: ``data`` uint8 [n, C H W] and ``labels`` or, for CIFAR-100, ``fine_labels``."""
    import numpy as np

    images, labels = [], []
    for file in files:
        try:
            with file.open("rb") as stream:
                batch = _Unpickler(stream, encoding="latin1").load()
            data = batch["data"]
            key = "fine_labels" if "fine_labels" in batch else "labels"
            classes = np.asarray(batch[key], np.int64)
            if data.dtype != np.uint8 or data.ndim != 2 or len(data) != len(classes):
                raise ValueError("data and labels do not match")
        except Exception as error:  # a damaged pickle can raise anything
            raise DataError(f"{file}: not a CIFAR batch ({words(error)})") from None
        if not len(data):
            raise DataError(f"{file}: has no images")
        if data.shape[1] != prod(facts.shape):
            size = " x ".join(map(str, facts.shape))
            raise DataError(f"{file}: {data.shape[1]} values an image, but dataset.image_shape is {size}")
        _check_labels(classes, facts, str(file))
        images.append(data.reshape(-1, *facts.shape))
        labels.append(classes)
    return Images(images=np.concatenate(images), labels=np.concatenate(labels))


def read_parquet(files: list[Path], facts: Facts) -> Images:
    """Hugging Face's image parquet: a struct with ``bytes``, an integer ``fine_label`` or ``label``."""
    import numpy as np

    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for file in files:
        first = len(labels)
        for row, (encoded, label) in enumerate(rows(file)):
            images.append(decode(encoded, f"{file}: row {row}", facts.shape))
            labels.append(label)
        if len(labels) == first:
            raise DataError(f"{file}: has no rows")
        _check_labels(np.asarray(labels[first:], np.int64), facts, str(file))
    return Images(images=np.stack(images), labels=np.asarray(labels, np.int64))


def read_folders(folder: Path, names: list[Path], facts: Facts) -> Images:
    """``folder/CLASS/*``; ``names`` are the class folders whose names number the classes."""
    import numpy as np

    if names and len(names) != facts.num_classes:
        raise DataError(f"{folder}: {len(names)} class folders, but dataset.num_classes={facts.num_classes}")
    found = [
        (kind / name, label)
        for label, (kind, files) in enumerate(images_by_class(folder, [name.name for name in names]))
        for name in files
    ]
    images = [decode(file.read_bytes(), str(file), facts.shape) for file, _ in found]
    return Images(images=np.stack(images), labels=np.asarray([label for _, label in found], np.int64))


def images_by_class(folder: Path, names: list[str]) -> list[tuple[Path, list[str]]]:
    """The class folders of a part and the images of each; DataError unless the classes are ``names``, those of training."""
    kinds = class_folders(folder)
    if odd := sorted({kind.name for kind in kinds} ^ {*names}):
        raise DataError(f"{folder}: the class folder {odd[0]} is not both in {folder.name} and in training")
    found = [(kind, image_names(kind)) for kind in kinds]
    if not any(files for _, files in found):
        raise DataError(f"{folder}: no images ({', '.join(sorted(SUFFIXES))}) in its class folders")
    return found


def class_folders(folder: Path) -> list[Path]:
    """The class folders by name; hidden ones are not classes."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def image_names(folder: Path) -> list[str]:
    """The images of one class by name; hidden files are none."""
    return sorted(
        name
        for name in os.listdir(folder)
        if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")
    )


def parquet_files(root: Path, parts: Sequence[str]) -> Iterator[list[list[Path]]]:
    """The parquet files of each of ``parts``, place by place where they may lie; a pattern where a part has none."""
    for folder in (root, root / "data"):
        for pattern in ("{}.parquet", "{}-*-of-*.parquet"):
            yield [sorted(folder.glob(pattern.format(part))) or [folder / pattern.format(part)] for part in parts]


def missing_shard(shards: Sequence[Path]) -> Path | None:
    """The first of NAME-00000-of-00012.parquet and so on that ``shards`` leaves out, if any."""
    numbered = re.fullmatch(r"(.+-)\d+(-of-)(\d+)(\.parquet)", shards[0].name)
    if numbered is None:
        return None
    before, of, count, suffix = numbered.groups()
    names = [f"{before}{i:0{len(count)}}{of}{count}{suffix}" for i in range(int(count))]
    present = {shard.name for shard in shards}
    return next((shards[0].with_name(name) for name in names if name not in present), None)


class _Unpickler(pickle.Unpickler):
    """Makes NumPy arrays and nothing else: a pickle from elsewhere must not run code."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in ARRAY_PARTS:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def rows(file: Path) -> Iterator[tuple[bytes, int]]:
    """Pairs (encoded image, label) of a parquet file; DataError where it or a row is damaged."""
    import pyarrow as pa

    table, image, label = _table(file)
    row = 0
    try:
        for batch in table.iter_batches(ROWS, columns=[image, label]):
            encoded = batch.column(image).field("bytes").to_pylist()
            for image_bytes, number in zip(encoded, batch.column(label).to_pylist(), strict=True):
                if image_bytes is None or number is None:
                    raise DataError(f"{file}: row {row}: no {'image bytes' if image_bytes is None else 'label'}")
                yield image_bytes, number
                row += 1
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: damaged ({words(error)})") from None


def labels(file: Path) -> list[int]:
    """The labels of a parquet file, without its images; DataError where it is damaged or one is missing."""
    import pyarrow as pa

    table, _, label = _table(file)
    try:
        found: list[int | None] = table.read([label]).column(label).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: damaged ({words(error)})") from None
    if None in found:
        raise DataError(f"{file}: row {found.index(None)}: no label")
    return [number for number in found if number is not None]


def _table(file: Path) -> tuple[Any, str, str]:
    """A parquet file, not read yet, and the names of its columns with images and labels."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        schema = table.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: not a parquet file ({words(error)})") from None
    image = [f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
    label = [n for n in ("fine_label", "label") if n in schema.names and pa.types.is_integer(schema.field(n).type)]
    if not image or not label:
        raise DataError(
            f"{file}: needs a struct column with 'bytes' and an integer column 'fine_label' or 'label', "
            f"has {', '.join(schema.names)}"
        )
    return table, image[0], label[0]


def _check_labels(labels: NDArray[np.int64], facts: Facts, where: str) -> None:
    wrong = ((labels < 0) | (labels >= facts.num_classes)).nonzero()[0]
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{where}: row {row}: label {labels[row]} is not in 0..{facts.num_classes - 1} "
            f"(dataset.num_classes={facts.num_classes})"
        )


@contextmanager
def explained(root: str | None) -> Iterator[None]:
    """Turn an OSError of reading below ``root`` into a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"dataset.root={root}: cannot read {error.filename or 'it'} ({error.strerror})") from None
