"""Data sets from the real configuration files, and small sources written in each of the three layouts."""

from __future__ import annotations

import importlib
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image

from bimp_exp.dataset.base import Dataset
from bimp_exp.dataset.data import ImageData
from tests.conftest import ROOT

CPU = torch.device("cpu")
CLASSES = ["ant", "bee", "cat"]


def make(name: str, **changes: Any) -> Dataset:
    """The data set of ``conf/dataset/NAME.yaml`` with some values changed."""
    values = yaml.safe_load((ROOT / "conf" / "dataset" / f"{name}.yaml").read_text()) | changes
    values.pop("defaults", None)
    module, _, kind = values.pop("_target_").rpartition(".")
    values.pop("defaults", None)
    return getattr(importlib.import_module(module), kind)(**values)


def small(root: Path, **changes: Any) -> Dataset:
    """A CIFAR of 20 training and 6 test images in 3 classes, as the writers below make it."""
    facts = {
        "num_classes": 3,
        "num_train_images": 20,
        "num_test_images": 6,
        "cache": str(root.parent / "cache"),
    }
    return make("cifar10", root=str(root), **(facts | changes))


def pixels(count: int, seed: int, shape: tuple[int, ...] = (3, 32, 32)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def encoded(image: np.ndarray) -> bytes:
    """[C, H, W] as PNG, which loses nothing."""
    stream = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(stream, "PNG")
    return stream.getvalue()


def write_batches(root: Path, train: np.ndarray, test: np.ndarray) -> None:
    """CIFAR-10's own layout: label i mod 3 for image i of a part, training images in five files."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    shares = np.array_split(np.arange(len(train)), 5)
    parts = [(f"data_batch_{k}", train, share) for k, share in enumerate(shares, start=1)]
    for name, images, index in [*parts, ("test_batch", test, np.arange(len(test)))]:
        batch = {"data": images[index].reshape(len(index), -1), "labels": [int(i) % 3 for i in index]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


def write_parquet(
    file: Path, images: Sequence[bytes | None], labels: Sequence[int | None], label: str = "label"
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    column = pa.array(
        [{"bytes": b, "path": None} for b in images],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    pq.write_table(pa.table({"img": column, label: pa.array(labels, pa.int64())}), file)


def write_parquets(root: Path, train: np.ndarray, test: np.ndarray) -> None:
    for name, images in (("train", train), ("test", test)):
        write_parquet(root / f"{name}.parquet", [encoded(i) for i in images], [i % 3 for i in range(len(images))])


def write_folders(root: Path, train: np.ndarray, test: np.ndarray) -> None:
    """Image i of a part is in class folder i mod 3."""
    for name, images in (("train", train), ("test", test)):
        for i, image in enumerate(images):
            file = root / name / CLASSES[i % 3] / f"{i:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(image))


def contents(data: ImageData) -> list[tuple[bytes, int]]:
    """Every image of all splits with its label, sorted: what must not depend on the layout."""
    splits = (data.train, data.validation, data.test)
    return sorted((s.images[i].numpy().tobytes(), int(s.labels[i])) for s in splits for i in range(len(s)))
