"""From an encoded image and its mask to pixels and a target, alike resized, flipped and cropped; a pure function of a seed.

Images are resized bilinearly, masks to the nearest pixel, so that no class comes to be between two others. The random numbers are
Python's own, as in ``bimp_exp.dataset.decode``. Imports no PyTorch.
"""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bimp_exp.dataset.decode import DecodeError
from bimp_exp.dataset.pixels import words
from bimp_exp.task.segmentation import IGNORED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

UNKNOWN = 254  # in a table: no such value may be in a mask
MOST_CLASSES = UNKNOWN
RETRIES = 10  # to draw a crop in which no class has too large a share


class Entry(NamedTuple):
    """An image and its mask, a PNG of ``size`` bytes from ``offset`` on of a file, -1 for all of it.

    table: the class of each value of the mask, see ``table_of``. origin: where the mask comes from, as an error names it.
    """

    image: str
    mask: str
    offset: int
    size: int
    table: bytes
    origin: str


class Request(NamedTuple):
    """An item and the seed of its augmentation, None for evaluation."""

    entry: Entry
    seed: int | None


def table_of(classes: Mapping[int, int]) -> bytes:
    """The class of each of the values 0..255 of a mask; 255 is IGNORED, and a value without a class UNKNOWN.

    >>> [*table_of({7: 0})[6:9]], table_of({7: 0})[255]
    ([254, 0, 254], 255)
    """
    return bytes({IGNORED: IGNORED, **classes}.get(value, UNKNOWN) for value in range(256))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Sizes, flips and crops of an image and its mask.

    resize: of the image for evaluation, and before ``scale`` for training: its shorter side, or height and width.
    scale: lowest and highest factor of a training image; whole pixels of the shorter side, or the factor itself, are uniform in it.
    crop: height and width of a training image; where there are fewer pixels, black and IGNORED ones are added right and below.
    crop_max_class_share: of the pixels with a class in a crop; one with more of a class is drawn again, RETRIES times at most.
    full_targets: whether the targets of an evaluation are of the mask's size, else of the image's, once resized.
    """

    resize: int | tuple[int, int]
    scale: tuple[float, float]
    crop: tuple[int, int]
    crop_max_class_share: float
    flip: bool
    full_targets: bool

    def arrays(self, request: Request) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The image, uint8 [H, W, 3], and its target, uint8 [H', W']; DecodeError where they do not make a pair."""
        import numpy as np
        from PIL.Image import Resampling

        image, classes = _read_image(request.entry.image), _read_mask(request.entry)
        if image.size != classes.size:
            raise DecodeError("the image has {} x {} pixels, the mask {} x {}".format(*image.size, *classes.size))
        draw = None if request.seed is None else random.Random(request.seed)
        height, width = self.size(image.height, image.width, draw)
        if draw is not None or not self.full_targets:
            classes = classes.resize((width, height), Resampling.NEAREST)
        if draw is None:
            return np.asarray(image.resize((width, height), Resampling.BILINEAR)), np.asarray(classes)
        return self._crop(image, np.asarray(classes), draw)

    def size(self, height: int, width: int, draw: random.Random | None) -> tuple[int, int]:
        """To which an image of this size is resized."""
        if isinstance(self.resize, int):
            shorter = self.resize
            if draw is not None:
                low, high = (max(1, int(self.resize * factor)) for factor in self.scale)
                shorter = low + int((high - low + 1) * draw.random())
            longer = int(shorter * max(height, width) / min(height, width))
            return (shorter, longer) if height <= width else (longer, shorter)
        low_factor, high_factor = (1.0, 1.0) if draw is None else self.scale
        factor = low_factor if draw is None else low_factor + (high_factor - low_factor) * draw.random()
        return max(1, round(self.resize[0] * factor)), max(1, round(self.resize[1] * factor))

    def _crop(
        self, image: Image, classes: NDArray[np.uint8], draw: random.Random
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The resized and perhaps flipped image and its ``classes``, which have their size already, in part.

        Only what is cropped is resized; some pixels are a grey level or two from those of the whole, by rounding.
        """
        import numpy as np
        from PIL.Image import Resampling

        step = -1 if draw.random() < 0.5 and self.flip else 1
        (height, width), classes = classes.shape, classes[:, ::step]
        rows, columns = min(height, self.crop[0]), min(width, self.crop[1])
        for _ in range(1 + RETRIES):
            top, left = int((height - rows + 1) * draw.random()), int((width - columns + 1) * draw.random())
            part = classes[top : top + rows, left : left + columns]
            counts = np.bincount(part.ravel(), minlength=256)[:IGNORED]
            if counts.max() <= self.crop_max_class_share * counts.sum():
                break
        pixels, target = np.zeros((*self.crop, 3), np.uint8), np.full(self.crop, IGNORED, np.uint8)
        target[:rows, :columns] = part
        first = left if step == 1 else width - left - columns
        x, y = (first, first + columns), (top, top + rows)
        box = (*(each * image.width / width for each in x), *(each * image.height / height for each in y))
        some = image.resize((columns, rows), Resampling.BILINEAR, box=(box[0], box[2], box[1], box[3]))
        pixels[:rows, :columns] = np.asarray(some)[:, ::step]
        return pixels, target


def _read_image(path: str) -> Image:
    """RGB."""
    import PIL.Image

    try:
        with PIL.Image.open(path) as opened:
            return opened.convert("RGB")
    except Exception as error:  # Pillow raises anything from OSError to SyntaxError
        raise DecodeError(f"the image is not readable ({words(error)})") from None


def _read_mask(entry: Entry) -> Image:
    """Classes, of the values or of the indices of a palette; a PNG of fewer bits would have its grey values stretched."""
    import numpy as np
    import PIL.Image

    try:
        with open(entry.mask, "rb") as file:
            file.seek(entry.offset)
            mask = PIL.Image.open(io.BytesIO(file.read(entry.size)))
        plain = mask.format == "PNG" and (mask.mode == "P" or (mask.mode == "L" and mask.tile[0][3] == "L"))
        mask.load()
    except Exception as error:  # as above
        raise DecodeError(f"the mask is not readable ({words(error)})") from None
    if not plain:
        raise DecodeError("the mask must be a PNG of 8-bit grey values or of a palette")
    values = np.asarray(mask)
    classes = np.frombuffer(entry.table, np.uint8)[values]
    if (classes == UNKNOWN).any():
        raise DecodeError(f"the mask has the value {values[classes == UNKNOWN][0]}, which is no class")
    return PIL.Image.fromarray(classes)
