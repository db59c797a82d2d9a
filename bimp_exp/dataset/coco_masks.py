"""Masks from COCO's annotations: polygons and run lengths, rasterised once into PNGs that lie in one file of the cache.

The classes are the 20 of Pascal VOC and the background; a pixel has the largest class of the objects on it, none (255) where two or
more overlap. Imports no PyTorch.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bimp_exp import files
from bimp_exp.dataset import cache
from bimp_exp.dataset.decode import DecodeError
from bimp_exp.dataset.pixels import words
from bimp_exp.errors import DataError, UserError
from bimp_exp.extras import extra
from bimp_exp.task.segmentation import IGNORED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RULE = 1  # to be raised when what is kept here changes, so that nothing older is used
CATEGORIES = (0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
"""COCO's id of the classes 0, the background, to 20; there is no category 0."""

CLASS_OF = {category: number for number, category in enumerate(CATEGORIES) if category}
LEAST_AREA = 1000  # of the objects of an image, in pixels, for it to be trained on


class Annotated(NamedTuple):
    """An image and the objects of the 20 classes on it: class and segmentation, as COCO has it.

    areas: theirs, in pixels.
    """

    file_name: str
    height: int
    width: int
    objects: list[tuple[int, Any]]
    areas: list[float]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Of a file of annotations: ``digest``, its sha256, and how many images it has to train on."""

    digest: str
    num_kept: int


@dataclass(frozen=True, kw_only=True)
class Rasterised:
    """The PNG of the image ``names[i]`` is ``sizes[i]`` bytes from ``offsets[i]`` on of ``file``."""

    file: Path
    names: list[str]
    offsets: list[int]
    sizes: list[int]


def is_kept(image: Annotated) -> bool:
    """Whether an image is trained on: enough of it belongs to objects."""
    return sum(image.areas) > LEAST_AREA


def target(height: int, width: int, objects: Iterable[tuple[int, Any]]) -> NDArray[np.uint8]:
    """Classes, uint8 [H, W], of objects: class, and polygons or run lengths; ValueError where these are none."""
    import numpy as np

    with extra("tasks", "dataset=coco"):
        from pycocotools import mask

    classes, covered = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint16)
    for number, segmentation in objects:
        runs = segmentation
        if isinstance(segmentation, list):
            if any(len(polygon) % 2 for polygon in segmentation):
                raise ValueError("a polygon with half a corner")
            polygons = [each for each in segmentation if len(each) >= 6]  # two corners have nothing between them
            if not polygons:
                continue
            runs = mask.merge(mask.frPyObjects(polygons, height, width))
        elif [*segmentation["size"]] != [height, width]:
            raise ValueError(f"run lengths of {segmentation['size'][1]} x {segmentation['size'][0]} pixels")
        elif isinstance(segmentation["counts"], list):
            if sum(segmentation["counts"]) != height * width:
                raise ValueError(f"run lengths of {sum(segmentation['counts'])} pixels")
            runs = mask.frPyObjects(segmentation, height, width)
        here = mask.decode(runs)  # 0 or 1
        np.maximum(classes, here * np.uint8(number), out=classes)
        covered += here
    classes[covered > 1] = IGNORED
    return classes


@dataclass(frozen=True, kw_only=True)
class Rasterise:
    """What the workers do; a request is an Annotated."""

    def arrays(self, request: Annotated) -> tuple[NDArray[np.uint8]]:
        """A PNG, uint8 [number of bytes]."""
        import numpy as np
        from PIL import Image

        try:
            classes = target(request.height, request.width, request.objects)
        except Exception as error:  # pycocotools raises nothing more special
            raise DecodeError(f"a segmentation is not readable ({words(error)})") from None
        stream = io.BytesIO()
        Image.fromarray(classes).save(stream, "PNG", compress_level=1)
        return (np.frombuffer(stream.getvalue(), np.uint8),)


def read(file: Path, class_names: Sequence[str]) -> tuple[str, list[Annotated]]:
    """The sha256 and the images of ``file``, by id; DataError where it has none, or not the categories of COCO."""
    encoded = file.read_bytes()
    try:
        content = json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not a JSON file, or a damaged one ({words(error)})") from None
    try:
        for category in content.get("categories", []):
            number, name = CLASS_OF.get(category["id"]), category["name"].replace(" ", "_")
            if number is not None and name != class_names[number]:
                raise DataError(
                    f"{file}: category {category['id']} is {name}, but class {number} of dataset.class_names is "
                    f"{class_names[number]}; what has other categories is read as PNG masks"
                )
        found = {
            image["id"]: Annotated(image["file_name"], int(image["height"]), int(image["width"]), [], [])
            for image in content["images"]
        }
        for each in content["annotations"]:
            image, number = found[each["image_id"]], CLASS_OF.get(each["category_id"])
            if number is not None:
                image.objects.append((number, each["segmentation"]))
                image.areas.append(float(each["area"]))
    except (KeyError, TypeError, AttributeError) as error:
        missing = f"{words(error)} is not there" if isinstance(error, KeyError) else words(error)
        raise DataError(f"{file}: not annotations as COCO has them ({missing})") from None
    if not found:
        raise DataError(f"{file}: has no images")
    return hashlib.sha256(encoded).hexdigest(), [found[number] for number in sorted(found)]


def summary(file: Path, folder: Path, class_names: Sequence[str]) -> Summary:
    """Of ``file``, noted in ``folder`` under its path, size and time: to read it takes a while."""
    facts = file.stat()
    which = f"{RULE}\0{file.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}\0{[*class_names]}"
    note = folder / "annotations" / f"{hashlib.sha256(which.encode()).hexdigest()[:32]}.json"
    with suppress(OSError, ValueError, TypeError):  # there is none, or its writing was cut short
        return Summary(**json.loads(note.read_text()))
    digest, images = read(file, class_names)
    made = Summary(digest=digest, num_kept=sum(map(is_kept, images)))
    with suppress(UserError):  # it only makes the next start faster
        files.write_json(note, vars(made))
    return made


def rasterised(
    file: Path,
    folder: Path,
    class_names: Sequence[str],
    *,
    kept_only: bool,
    encode: Callable[[list[Annotated]], Iterable[bytes]],
) -> Rasterised:
    """The masks of ``file``, which ``encode`` makes as PNGs unless that was done before; DataError where it cannot be used.

    kept_only: of the images to train on.
    """
    import numpy as np

    digest = summary(file, folder, class_names).digest
    which = hashlib.sha256(f"{RULE} {digest} {kept_only}".encode()).hexdigest()[:32]
    masks = folder / f"{which}.masks"

    def pieces() -> tuple[Iterable[bytes], dict[str, Any]]:
        now, images = read(file, class_names)
        if now != digest:
            raise DataError(f"{file}: changed while it was read")
        if kept_only:
            images = [image for image in images if is_kept(image)]
        if not images:
            raise DataError(f"{file}: on no image do the 20 classes have more than {LEAST_AREA} pixels together")
        return encode(images), {"names": np.asarray([image.file_name for image in images])}

    index = cache.pack(masks, pieces)
    sizes = index["sizes"]
    return Rasterised(
        file=masks,
        names=index["names"].tolist(),
        offsets=(np.cumsum(sizes) - sizes).tolist(),
        sizes=sizes.tolist(),
    )
