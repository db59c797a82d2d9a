"""Cityscapes: street scenes of 1024x2048 pixels with fine labels of 19 classes (Cordts et al. 2016)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bimp_exp.dataset.masks import Entry, Recipe, table_of
from bimp_exp.dataset.segmented import Listed, Segmented, digest
from bimp_exp.errors import ConfigError, DataError
from bimp_exp.types import Count, Share

LAYOUT = "leftImg8bit/{train,val}/CITY/*_leftImg8bit.png and gtFine/{train,val}/CITY/*_gtFine_labelIds.png"
IMAGE, LABEL_IDS, TRAIN_IDS = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
PARTS = ("train", "val")
CLASSES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic_light", 20: "traffic_sign",
    21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
    32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""Label id -> name of the classes that are trained, in their order; the other ids up to 33 are ignored."""

OF_LABEL_IDS = table_of(dict.fromkeys(range(34), 255) | {label: i for i, label in enumerate(CLASSES)})
OF_TRAIN_IDS = table_of({i: i for i in range(len(CLASSES))})


@dataclass(frozen=True, kw_only=True)
class Cityscapes(Segmented):
    """``root`` is a folder with leftImg8bit and gtFine; the labels of ``test`` are not public, so ``val`` is for testing.

    Whole images are evaluated, against labels of full size.

    resize: height and width of the images that the network sees, and that ``scale`` refers to.
    crop: height and width of a training image.
    crop_max_class_share: of the pixels with a class in a crop; one with more of a class is drawn again, ten times at most.
    """

    usual_items: ClassVar[int | None] = 2_975

    resize: list[Count]
    crop: list[Count]
    crop_max_class_share: Share

    @property
    def facts(self) -> dict[str, Any]:
        return {"image_shape": (3, *self.resize), "class_names": tuple(CLASSES.values())}

    def check(self) -> None:
        for key, value in (("resize", self.resize), ("crop", self.crop)):
            if len(value) != 2:
                raise ConfigError(f"dataset.{key}={list(value)} must be [height, width]")
        if any(crop > side for crop, side in zip(self.crop, self.resize, strict=True)):
            raise ConfigError(f"dataset.crop={list(self.crop)} must be at most dataset.resize={list(self.resize)}")
        super().check()

    def recipe(self) -> Recipe:
        return Recipe(
            resize=(self.resize[0], self.resize[1]),
            scale=(self.scale[0], self.scale[1]),
            crop=(self.crop[0], self.crop[1]),
            crop_max_class_share=self.crop_max_class_share,
            flip=self.flip,
            full_targets=True,
        )

    def _find(self) -> Path:
        root = self._folder(LAYOUT)
        for kind in ("leftImg8bit", "gtFine"):
            for part in PARTS:
                if not (root / kind / part).is_dir():
                    raise self._missing(root / kind / part, LAYOUT)
        return root

    def _count(self) -> int:
        return len(self._images(self._find(), "train"))

    def _images(self, root: Path, part: str) -> list[str]:
        """CITY/NAME of each, without its ending."""
        folder = root / "leftImg8bit" / part
        found = [
            f"{city.name}/{name.removesuffix(IMAGE)}"
            for city in sorted(folder.iterdir())
            if city.is_dir()
            for name in sorted(os.listdir(city))
            if name.endswith(IMAGE)
        ]
        if not found:
            raise DataError(f"{folder}: no images (CITY/*{IMAGE})")
        return found

    def _listed(self) -> tuple[Listed, Listed]:
        root = self._find()
        cities = [
            c for kind in ("leftImg8bit", "gtFine") for part in PARTS for c in sorted((root / kind / part).iterdir())
        ]
        stamp = digest([(str(city), city.stat().st_mtime_ns) for city in cities])
        return self._remembered(stamp, lambda: (self._part(root, "train"), self._part(root, "val")))

    def _part(self, root: Path, part: str) -> Listed:
        entries, sizes = [], []
        for name in self._images(root, part):
            image = root / "leftImg8bit" / part / f"{name}{IMAGE}"
            labels = root / "gtFine" / part / name
            mask, table = Path(f"{labels}{TRAIN_IDS}"), OF_TRAIN_IDS
            if not mask.exists():
                mask, table = Path(f"{labels}{LABEL_IDS}"), OF_LABEL_IDS
                if not mask.exists():
                    raise DataError(f"{image}: has no labels {mask}")
            entries.append(Entry(str(image), str(mask), 0, -1, table, str(mask)))
            sizes += [(str(file.relative_to(root)), file.stat().st_size) for file in (image, mask)]
        return Listed(entries=entries, digest=digest(sizes))
