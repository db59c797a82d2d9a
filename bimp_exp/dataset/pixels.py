"""From an encoded image to pixels of 8 bits, by Pillow; an image that is wrong is a DataError."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bimp_exp.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

MODES = {1: "L", 3: "RGB"}  # channels -> what Pillow converts to


@contextmanager
def opened(encoded: bytes, where: str) -> Iterator[Image.Image]:
    """An encoded image, whose pixels are read when they are asked for; DataError that begins with ``where`` if that fails."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            yield image
    except Exception as error:  # Pillow raises anything from OSError to SyntaxError
        raise DataError(f"{where}: not a readable image ({words(error)})") from None


def converted(image: Image.Image, channels: int) -> Image.Image:
    """``image`` with so many channels of 8 bits; ValueError where it has more bits, most of which Pillow would make white."""
    if image.mode.partition(";")[0] in ("I", "F"):
        raise ValueError(f"more than 8 bits for a value, in Pillow's mode {image.mode}: convert it to 8 bits")
    return image.convert(MODES[channels])


def decode(encoded: bytes, where: str, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """One encoded image -> uint8 [C, H, W], which is ``shape``."""
    import numpy as np

    channels, height, width = shape
    with opened(encoded, where) as image:
        size = image.size
        pixels = np.asarray(converted(image, channels), np.uint8) if size == (width, height) else None
    if pixels is None:
        raise DataError(f"{where}: {size[0]} x {size[1]} pixels, but dataset.image_shape says {width} x {height}")
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)


def words(error: Exception) -> str:
    """An error of a library in one line."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__
