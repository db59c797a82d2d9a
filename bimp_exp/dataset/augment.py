"""Training augmentation of a whole batch at once: random crop of the padded image, then flip, then rotation.

The three together give, for each pixel of the result, the place of its source pixel, so that an image is gathered once. The
same as torchvision's RandomCrop(padding), RandomHorizontalFlip and RandomRotation (nearest) on the raw image: pixels from outside
are black *before* normalisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The distribution of augmentations.

    crop_padding: pixels around the image within which the crop lies.
    flip: with probability 1/2, from left to right.
    rotation: uniform in +- so many degrees.
    """

    crop_padding: int
    flip: bool
    rotation: float


class Draws(NamedTuple):
    """Augmentations of N images, five tensors [N]: the crop's corner, whether to flip, the angle."""

    top: Tensor
    left: Tensor
    flip: Tensor
    cos: Tensor
    sin: Tensor


def draw(augmentation: Augmentation, count: int, generator: torch.Generator) -> Draws:
    """Augmentations of ``count`` images, drawn on the CPU so that they are the same whatever device uses them."""
    top, left = torch.randint(0, 2 * augmentation.crop_padding + 1, (2, count), generator=generator)
    flip = torch.rand(count, generator=generator) < 0.5
    share = torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
    angle = share * math.radians(augmentation.rotation)
    return Draws(top, left, flip & augmentation.flip, angle.cos(), angle.sin())


def augment(images: Tensor, draws: Draws, augmentation: Augmentation) -> Tensor:
    """Images uint8 [B, C, H, W] -> the same shape, cropped, flipped and rotated; the input is untouched."""
    count, channels, height, width = images.shape
    device = images.device
    # One pixel more than a crop can reach: (0, 0) is black, and pixels that rotate in from outside point to it.
    border = augmentation.crop_padding + 1
    padded = pad(images, (border, border, border, border))
    top, left, flip, cos, sin = (each.view(-1, 1, 1) for each in draws)
    row, column = torch.arange(height, device=device)[:, None], torch.arange(width, device=device)
    inside: Tensor | None = None
    if augmentation.rotation > 0:
        row, column = _rotated_from(row, column, cos, sin)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    column = torch.where(flip, width - 1 - column, column)
    pixel = (row + top + 1) * padded.shape[3] + column + left + 1  # [B, H, W], its place in one channel
    if inside is not None:
        pixel = torch.where(inside, pixel, 0)
    planes = torch.arange(count * channels, device=device).view(count, channels, 1, 1)
    return padded.take(pixel[:, None] + planes * (padded.shape[2] * padded.shape[3]))


def _rotated_from(row: Tensor, column: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """The source of each pixel if the image is turned counter-clockwise about its centre (rows go down).

    In double precision, so that the nearest pixel is the same on every device.
    """
    middle_row, middle_column = (len(row) - 1) / 2, (len(column) - 1) / 2
    y, x = (row - middle_row).double(), (column - middle_column).double()
    source_row = (x * sin + y * cos + middle_row).round()
    source_column = (x * cos - y * sin + middle_column).round()
    return source_row.long(), source_column.long()
