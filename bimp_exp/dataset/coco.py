"""COCO with the classes of Pascal VOC (Lin et al. 2014), and whatever else is images of any size with a mask for each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from bimp_exp import cores
from bimp_exp.dataset import coco_masks
from bimp_exp.dataset.coco_masks import Annotated, Rasterise
from bimp_exp.dataset.masks import MOST_CLASSES, Entry, Recipe, table_of
from bimp_exp.dataset.pixels import words
from bimp_exp.dataset.readers import SUFFIXES
from bimp_exp.dataset.segmented import Listed, Segmented, digest
from bimp_exp.errors import ConfigError, DataError
from bimp_exp.extras import extra
from bimp_exp.task.segmentation import IGNORED
from bimp_exp.types import Count

LAYOUTS = (
    "{train,val}2017/ with annotations/instances_{train,val}2017.json, or {images,masks}/{train,val}/ with PNG masks"
)
PARTS = ("train", "val")


class Found(NamedTuple):
    """What is under ``root``: a folder of images for each part, and its annotations, or folder of masks."""

    annotated: bool
    images: tuple[Path, ...]
    masks: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class COCO(Segmented):
    """``root`` is a folder with COCO's annotations, or with masks: their values are classes, 255 where a pixel has none.

    Annotations become masks once, in ``cache``. Of the training images those count on which the 20 classes have more than
    1,000 pixels together; all of ``val`` are for testing.

    class_names: of all classes, in their order; 21 given ones for annotations.
    classes: JSON file that maps values of masks to classes, {"7": 0}; other values are ignored. None: values are classes.
    resize: shorter side that the network sees, in pixels, and that ``scale`` refers to.
    crop: side of a training image.
    evaluate_at: size of the targets of an evaluation: that of the resized image, or that of the original.
    """

    usual_items: ClassVar[int | None] = (
        92_518  # of 118,287, without those on which the classes have 1,000 pixels or less
    )

    cache: str
    class_names: list[str]
    classes: str | None
    resize: Count
    crop: Count
    evaluate_at: Literal["resized", "original"]

    @property
    def facts(self) -> dict[str, Any]:
        return {"image_shape": (3, self.resize, self.resize), "class_names": tuple(self.class_names)}

    def check(self) -> None:
        if self.crop > self.resize:
            raise ConfigError(f"dataset.crop={self.crop} must be at most dataset.resize={self.resize}")
        if not 1 < len({*self.class_names}) == len(self.class_names) <= MOST_CLASSES:
            raise ConfigError(f"dataset.class_names must be 2 to {MOST_CLASSES} different names")
        super().check()

    def recipe(self) -> Recipe:
        return Recipe(
            resize=self.resize,
            scale=(self.scale[0], self.scale[1]),
            crop=(self.crop, self.crop),
            crop_max_class_share=1,
            flip=self.flip,
            full_targets=self.evaluate_at == "original",
        )

    def check_files(self) -> None:
        super().check_files()
        self._table()

    def _find(self) -> Found:
        root = self._folder(LAYOUTS)
        annotated = (root / "annotations").is_dir() or not ((root / "images").is_dir() or (root / "masks").is_dir())
        if annotated:
            images = tuple(root / f"{part}2017" for part in PARTS)
            masks = tuple(root / "annotations" / f"instances_{part}2017.json" for part in PARTS)
        else:
            images, masks = (tuple(root / kind / part for part in PARTS) for kind in ("images", "masks"))
        for place in (*images, *masks):
            if not (place.is_file() if place.suffix else place.is_dir()):
                raise self._missing(place, LAYOUTS)
        if annotated and self.classes is not None:
            raise ConfigError(f"dataset.classes={self.classes} is for PNG masks, but {masks[0]} is there")
        if annotated and len(self.class_names) != len(coco_masks.CATEGORIES):
            raise ConfigError(f"dataset.class_names must be {len(coco_masks.CATEGORIES)} names for {masks[0]}")
        return Found(annotated, images, masks)

    def _count(self) -> int:
        found = self._find()
        if found.annotated:
            return coco_masks.summary(found.masks[0], self._cache, self.class_names).num_kept
        return len(_image_names(found.images[0]))

    def _listed(self) -> tuple[Listed, Listed]:
        found = self._find()
        table = self._table()
        places = [*found.images, *found.masks]
        stamp = digest([(str(place), place.stat().st_mtime_ns) for place in places]) + table.hex()
        return self._remembered(stamp, lambda: (self._part(found, 0, table), self._part(found, 1, table)))

    def _part(self, found: Found, part: int, table: bytes) -> Listed:
        if found.annotated:
            return self._annotated(found.images[part], found.masks[part], table, kept_only=part == 0)
        entries, facts = [], [(table.hex(), 0)]
        for name in _image_names(found.images[part]):
            image, mask = found.images[part] / name, found.masks[part] / f"{Path(name).stem}.png"
            if not mask.exists():
                raise DataError(f"{image}: has no mask {mask}")
            entries.append(Entry(str(image), str(mask), 0, -1, table, str(mask)))
            facts += [(name, image.stat().st_size), (mask.name, mask.stat().st_size)]
        return Listed(entries=entries, digest=digest(facts))

    def _annotated(self, folder: Path, file: Path, table: bytes, *, kept_only: bool) -> Listed:
        def encode(images: list[Annotated]) -> Iterator[bytes]:
            return self._encode(file, images)

        made = coco_masks.rasterised(file, self._cache, self.class_names, kept_only=kept_only, encode=encode)
        masks, origin = str(made.file), str(file)
        entries, facts = [], [(made.file.name, coco_masks.RULE)]
        for name, offset, size in zip(made.names, made.offsets, made.sizes, strict=True):
            image = folder / name
            if not image.exists():
                raise DataError(f"{image}: is missing, but {file} names it")
            entries.append(Entry(str(image), masks, offset, size, table, origin))
            facts.append((name, image.stat().st_size))
        return Listed(entries=entries, digest=digest(facts))

    def _encode(self, file: Path, images: list[Annotated]) -> Iterator[bytes]:
        """Masks as PNGs, made by as many processes as decode images."""
        with extra("tasks", "dataset=coco"):
            import pycocotools.mask  # noqa: F401
        from bimp_exp.dataset.workers import Chunk, Failure, Pool

        pool = Pool(cores.usable(hyperthreads=True) if self.num_workers is None else self.num_workers, pin_memory=False)
        try:
            pool.turn_to(self, (Chunk(Rasterise(), [image]) for image in images))
            for image, made in zip(images, pool.decoded, strict=True):
                if isinstance(made, Failure):
                    raise DataError(f"{file}: {image.file_name}: {made.reason}")
                yield made[0].numpy().tobytes()
        finally:
            pool.close()

    def _table(self) -> bytes:
        """The class of each value of a mask."""
        num = len(self.class_names)
        if self.classes is None:
            return table_of({number: number for number in range(num)})
        file = Path(self.classes).expanduser()
        try:
            given = {int(value): number for value, number in json.loads(file.read_text()).items()}
        except OSError as error:
            raise DataError(f"dataset.classes={self.classes}: cannot be read ({error.strerror})") from None
        except (ValueError, AttributeError) as error:
            raise DataError(
                f'dataset.classes={self.classes}: must be JSON that maps values of masks to classes, {{"7": 0}} ({words(error)})'
            ) from None
        for value, number in given.items():
            if not (0 <= value <= IGNORED and isinstance(number, int) and (0 <= number < num or number == IGNORED)):
                raise DataError(
                    f"dataset.classes={self.classes}: {value} -> {number}: values are 0 to {IGNORED}, classes 0 to {num - 1} "
                    f"(dataset.class_names) or {IGNORED} for none"
                )
        return table_of({**dict.fromkeys(range(IGNORED), IGNORED), **given})

    @property
    def _cache(self) -> Path:
        return Path(self.cache).expanduser().absolute()


def _image_names(folder: Path) -> list[str]:
    found = sorted(
        name for name in os.listdir(folder) if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
    )
    if not found:
        raise DataError(f"{folder}: no images ({', '.join(sorted(SUFFIXES))})")
    return found
