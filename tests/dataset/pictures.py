"""Small encoded images of several sizes and kinds, written as ImageNet comes: class folders or Hugging Face parquet."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bimp_exp.dataset.base import Dataset
from tests.dataset.helpers import make, write_parquet

CLASSES = ["n01", "n02", "n03", "n04"]
NUM_TRAIN, NUM_TEST = 40, 12
SIZES = [(60, 45), (45, 60), (50, 50), (100, 40), (33, 90)]  # width, height


def picture(number: int) -> Image.Image:
    """A blur of random colours, in one of SIZES; it brightens with its class, ``number`` mod 4."""
    width, height = SIZES[number % len(SIZES)]
    coarse = np.random.default_rng(number).integers(0, 100, (4, 4, 3)) + 50 * (number % len(CLASSES))
    return Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def parts() -> dict[str, list[tuple[bytes, int]]]:
    """Encoded images and classes of both parts, in the order of their files; two are grey, one is CMYK."""
    modes = {5: "L", 9: "CMYK", NUM_TRAIN + 2: "L"}
    made: dict[str, list[tuple[bytes, int]]] = {}
    for part, first, count in (("train", 0, NUM_TRAIN), ("val", NUM_TRAIN, NUM_TEST)):
        numbers = sorted(range(first, first + count), key=lambda i: (i % len(CLASSES), i))
        made[part] = [(jpeg(picture(i).convert(modes.get(i, "RGB"))), i % len(CLASSES)) for i in numbers]
    return made


def write_tree(root: Path) -> Path:
    for part, images in parts().items():
        for number, (encoded, label) in enumerate(images):
            file = root / part / CLASSES[label] / f"{part}_{number:03}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded)
    return root


def write_shards(root: Path) -> Path:
    """The training images in two files, and a ``test`` without labels, as ImageNet's on Hugging Face."""
    made = parts()
    half = NUM_TRAIN // 2
    for name, images in (
        ("train-00000-of-00002", made["train"][:half]),
        ("train-00001-of-00002", made["train"][half:]),
        ("validation-00000-of-00001", made["val"]),
        ("test-00000-of-00001", [(encoded, -1) for encoded, _ in made["val"]]),
    ):
        encoded, labels = zip(*images, strict=True)
        write_parquet(root / "data" / f"{name}.parquet", encoded, labels)
    return root


def small(root: Path, **changes: Any) -> Dataset:
    """``root`` as 32 x 32 pixels, 36 images to train on, 4 to validate on and 12 to test on."""
    facts = {
        "image_shape": [3, 32, 32], "resize": 40, "num_classes": 4, "num_train_images": NUM_TRAIN,
        "num_test_images": NUM_TEST, "num_workers": 0, "cache": str(root.parent / "cache"),
    }  # fmt: skip
    return make("imagenet", **({"root": str(root)} | facts | changes))
