"""From the bytes of an encoded image to pixels: decode, crop, resize, crop, flip; a pure function of the bytes and a seed.

Training: a crop of random area and aspect ratio, resized to the network's size, and a flip with probability 1/2 (Szegedy et al.
2015). Evaluation: the shorter side resized, then the centre. Boxes and rounding are those of torchvision's RandomResizedCrop,
Resize and CenterCrop; the random numbers are Python's own, whose ``random()`` is the same in every version. Imports no PyTorch
unless it is the decoder.
"""

from __future__ import annotations

import io
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from bimp_exp.dataset.pixels import converted, words
from bimp_exp.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ATTEMPTS = 10  # to draw a box that lies inside the image


class Request(NamedTuple):
    """An encoded image, ``size`` bytes from ``offset`` on of a file, and the seed of its augmentation, None for evaluation."""

    path: str
    offset: int
    size: int
    seed: int | None


class Box(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class DecodeError(Exception):
    """An image cannot be decoded; one line without the name of the image."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Crops, size and flip of an image.

    shape: channels, height, width of the result.
    resize: shorter side before the central crop of evaluation, in pixels.
    scale: lowest and highest share of the area that a training crop may have.
    ratio: lowest and highest ratio of its width to its height.
    """

    shape: tuple[int, int, int]
    resize: int
    scale: tuple[float, float]
    ratio: tuple[float, float]
    flip: bool
    decoder: Literal["pil", "torchvision"]

    def arrays(self, request: Request) -> tuple[NDArray[np.uint8]]:
        """The pixels."""
        return (self.pixels(request),)

    def pixels(self, request: Request) -> NDArray[np.uint8]:
        """uint8 [H, W, C]; DecodeError where the file has changed or cannot be decoded."""
        try:
            with open(request.path, "rb") as file:
                file.seek(request.offset)
                encoded = file.read(request.size)
        except OSError as error:
            raise DecodeError(f"cannot be read ({error.strerror})") from None
        if len(encoded) < request.size:
            raise DecodeError(f"has changed since it was listed: {len(encoded)} bytes, not {request.size}")
        draw = None if request.seed is None else random.Random(request.seed)
        image = self.decoded(encoded, draw)
        return image[:, ::-1] if draw is not None and draw.random() < 0.5 and self.flip else image

    def decoded(self, encoded: bytes, draw: random.Random | None) -> NDArray[np.uint8]:
        """uint8 [H, W, C] without the flip; DecodeError where it cannot be decoded. draw: of training, None for evaluation."""
        try:
            return (_with_pil if self.decoder == "pil" else _with_torchvision)(encoded, self, draw)
        except Exception as error:  # Pillow raises anything from OSError to SyntaxError
            raise DecodeError(f"not a readable image ({words(error)})") from None

    def geometry(self, height: int, width: int, draw: random.Random | None) -> tuple[Box, tuple[int, int], Box]:
        """For an image of this size: the crop, the height and width that it is resized to, the crop of that."""
        _, rows, columns = self.shape
        if draw is not None:
            return random_box(height, width, self.scale, self.ratio, draw), (rows, columns), Box(0, 0, rows, columns)
        long = int(self.resize * max(height, width) / min(height, width))
        size = (self.resize, long) if height <= width else (long, self.resize)
        centre = Box(round((size[0] - rows) / 2), round((size[1] - columns) / 2), rows, columns)
        return Box(0, 0, height, width), size, centre


def random_box(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], draw: random.Random
) -> Box:
    """Area uniform in ``scale``, ratio log-uniform in ``ratio``, place uniform; the largest central box where none fits."""
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(ATTEMPTS):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * draw.random())
        aspect = math.exp(log_low + (log_high - log_low) * draw.random())
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return Box(int((height - h + 1) * draw.random()), int((width - w + 1) * draw.random()), h, w)
    w, h = width, height
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return Box((height - h) // 2, (width - w) // 2, h, w)


def version(decoder: Literal["pil", "torchvision"]) -> str:
    """Name and versions of the decoding libraries, which the last bits of a pixel depend on; ConfigError where one is missing."""
    if decoder == "torchvision":
        try:
            import torchvision
            from torchvision.io import decode_image  # noqa: F401
        except (ImportError, RuntimeError) as error:
            raise ConfigError(f"dataset.decoder=torchvision is not installed ({words(error)}): use pil") from None
        return f"torchvision {torchvision.__version__}"
    import PIL
    from PIL import features

    return f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}"


def _with_pil(encoded: bytes, recipe: Recipe, draw: random.Random | None) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as opened:
        image = converted(opened, recipe.shape[0])
    first, (height, width), second = recipe.geometry(image.height, image.width, draw)
    image = image.crop(_corners(first)).resize((width, height), Image.Resampling.BILINEAR).crop(_corners(second))
    return np.asarray(image, np.uint8).reshape(second.height, second.width, -1)


def _corners(box: Box) -> tuple[int, int, int, int]:
    return box.left, box.top, box.left + box.width, box.top + box.height


def _with_torchvision(encoded: bytes, recipe: Recipe, draw: random.Random | None) -> NDArray[np.uint8]:
    """The same but for rounding, which moves some pixels by a grey level; decodes no BMP."""
    import torch
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms.v2.functional import crop, resize

    mode = ImageReadMode.RGB if recipe.shape[0] == 3 else ImageReadMode.GRAY
    image = decode_image(torch.frombuffer(bytearray(encoded), dtype=torch.uint8), mode=mode)
    first, size, second = recipe.geometry(image.shape[1], image.shape[2], draw)
    image = crop(resize(crop(image, *first), list(size), antialias=True), *second)
    pixels: NDArray[np.uint8] = image.permute(1, 2, 0).numpy()
    return pixels
