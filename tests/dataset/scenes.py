"""Small images with masks, written as COCO and Cityscapes come: a box on a dark ground, of the class that its brightness says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bimp_exp.dataset.base import Dataset
from bimp_exp.dataset.cityscapes import CLASSES
from bimp_exp.dataset.coco_masks import CATEGORIES
from tests.conftest import ROOT
from tests.dataset.helpers import make

SIZES = [(80, 60), (60, 80), (70, 70), (100, 50)]  # width, height
NUM_TRAIN, NUM_VAL, NUM_SMALL = 20, 4, 4  # the last: training images with too few pixels of a class
LABEL_IDS = tuple(CLASSES)
STEP = 10  # of brightness, from a class to the next


def scene(number: int, num_classes: int = 21, size: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [H, W, 3] and classes [H, W]: a box of class 1 + ``number`` mod (num_classes - 1), brightness STEP * class."""
    width, height = size or SIZES[number % len(SIZES)]
    classes = np.zeros((height, width), np.uint8)
    left, top, right, bottom = box(number, width, height)
    classes[top:bottom, left:right] = 1 + number % (num_classes - 1)
    return np.repeat((STEP * classes)[:, :, None], 3, axis=2), classes


def box(number: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the box; more than 1,000 pixels, or for the last NUM_SMALL training images less."""
    if NUM_TRAIN - NUM_SMALL <= number < NUM_TRAIN:
        return 5, 5, 25, 25
    return 10 + number % 5, 8, 10 + number % 5 + width // 2, 8 + height // 2 + 8


def categories() -> list[dict[str, Any]]:
    """Of COCO, and one that is none of the 21."""
    import yaml

    names = yaml.safe_load((ROOT / "conf" / "dataset" / "coco.yaml").read_text())["class_names"]
    known = zip(CATEGORIES[1:], names[1:], strict=True)
    return [{"id": i, "name": name.replace("_", " ")} for i, name in known] + [{"id": 8, "name": "truck"}]


def run_lengths(mask: np.ndarray) -> list[int]:
    """Uncompressed, down the columns, beginning with zeros."""
    flat = np.concatenate([[0], mask.T.ravel().astype(int), [2]])
    changes = np.flatnonzero(np.diff(flat)) if mask.any() else np.array([mask.size])
    return np.diff([0, *changes[changes < mask.size], mask.size]).tolist()


def segmentation(number: int, classes: np.ndarray) -> Any:
    """Of the box: a polygon, run lengths, or compressed ones."""
    from pycocotools import mask

    height, width = classes.shape
    left, top, right, bottom = box(number, width, height)
    runs = {"size": [height, width], "counts": run_lengths(classes > 0)}
    if number % 3 == 0:
        return [[left, top, right, top, right, bottom, left, bottom]]
    if number % 3 == 1:
        return runs
    return {"size": [height, width], "counts": mask.frPyObjects(runs, height, width)["counts"].decode()}


def annotations(numbers: range) -> dict[str, Any]:
    images, objects = [], []
    for number in numbers:
        _, classes = scene(number)
        height, width = classes.shape
        images.append({"id": 1000 - number, "file_name": f"{number:012}.png", "height": height, "width": width})
        objects.append({
            "id": number, "image_id": 1000 - number, "category_id": CATEGORIES[classes.max()], "iscrowd": int(number % 3 > 0),
            "area": float((classes > 0).sum()), "segmentation": segmentation(number, classes),
        })  # fmt: skip
        truck = [[0, 0, width, 0, width, height, 0, height]]  # in no class
        objects.append({
            "id": 500 + number, "image_id": 1000 - number, "category_id": 8, "iscrowd": 0, "area": 9e4, "segmentation": truck,
        })  # fmt: skip
    return {"images": images, "annotations": objects, "categories": categories()}


def write_coco(root: Path) -> Path:
    """COCO's annotations; images are PNGs, which lose nothing."""
    (root / "annotations").mkdir(parents=True)
    for part, numbers in (("train2017", range(NUM_TRAIN)), ("val2017", range(NUM_TRAIN, NUM_TRAIN + NUM_VAL))):
        (root / part).mkdir()
        for number in numbers:
            Image.fromarray(scene(number)[0]).save(root / part / f"{number:012}.png")
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(annotations(numbers)))
    return root


def write_masks(root: Path) -> Path:
    """The same images, those that are trained on alone, with masks of grey values or of a palette."""
    for part, numbers in (("train", range(NUM_TRAIN - NUM_SMALL)), ("val", range(NUM_TRAIN, NUM_TRAIN + NUM_VAL))):
        for kind in ("images", "masks"):
            (root / kind / part).mkdir(parents=True)
        for number in reversed(numbers):  # ids fall in the annotations
            pixels, classes = scene(number)
            name = f"{1000 - number:012}.png"
            Image.fromarray(pixels).save(root / "images" / part / name)
            mask = Image.fromarray(classes)
            if number % 2:
                mask.putpalette(list(range(255, -1, -1)) * 3)
            mask.save(root / "masks" / part / name)
    return root


def write_cityscapes(root: Path) -> Path:
    """Three cities of images of 64 x 32 pixels; the ids of the last city's labels are those of training."""
    numbers = {"train": {"aachen": range(12), "bochum": range(12, 20)}, "val": {"ulm": range(20, 24)}}
    for part, cities in numbers.items():
        for city, some in cities.items():
            for folder in (root / "leftImg8bit" / part / city, root / "gtFine" / part / city):
                folder.mkdir(parents=True)
            for number in some:
                pixels, classes = scene(number, len(LABEL_IDS) + 1, (64, 32))
                ids = np.where(classes > 0, np.array([0, *LABEL_IDS])[classes], 0).astype(np.uint8)
                name = f"{city}_{number:06}_000019"
                Image.fromarray(pixels).save(root / "leftImg8bit" / part / city / f"{name}_leftImg8bit.png")
                Image.fromarray(ids).save(root / "gtFine" / part / city / f"{name}_gtFine_labelIds.png")
                if city == "ulm":
                    train_ids = np.where(classes > 0, classes.astype(int) - 1, 255).astype(np.uint8)
                    Image.fromarray(train_ids).save(root / "gtFine" / part / city / f"{name}_gtFine_labelTrainIds.png")
    return root


def coco(folder: Path, **changes: Any) -> Dataset:
    """``folder`` at 48 pixels, crops of 32; 14 images to train on, 2 to validate on, 4 to test on."""
    facts = {"resize": 48, "crop": 32, "num_workers": 0, "cache": str(folder.parent / "cache")}
    return make("coco", **({"root": str(folder)} | facts | changes))


def cityscapes(folder: Path, **changes: Any) -> Dataset:
    """``folder`` as it is, crops of 16 x 32; 18 images to train on, 2 to validate on, 4 to test on."""
    return make(
        "cityscapes", **({"root": str(folder), "resize": [32, 64], "crop": [16, 32], "num_workers": 0} | changes)
    )
