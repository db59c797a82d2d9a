"""Generated images, one smooth pattern per class plus noise: learnable, of any size, for tests and timings.

pixel = 0.5 + 0.25 pattern[class] + noise e, with e ~ N(0, 1), clipped to [0, 1]; a pattern is a 4x4 grid of
N(0, 1) numbers per channel, interpolated to the image's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bimp_exp.dataset.images import Images, InMemory, Source, identify
from bimp_exp.seeds import derive
from bimp_exp.types import NonNegative

if TYPE_CHECKING:
    from torch import Tensor

GRID = 4
CHUNK = 256  # images made at a time, which bounds the memory of the float noise


@dataclass(frozen=True, kw_only=True)
class Synthetic(InMemory):
    """Image i has class i mod num_classes.

    seed: of patterns and noise.
    noise: its standard deviation, of pixels in [0, 1].
    """

    seed: int
    noise: NonNegative

    def read(self) -> Source:
        import torch

        generator = torch.Generator().manual_seed(derive(self.seed, "patterns"))
        coarse = torch.randn(self.num_classes, self.image_shape[0], GRID, GRID, generator=generator)
        train = self._images("train", self.num_train_images, coarse)
        test = self._images("test", self.num_test_images, coarse)
        return Source(train=train, test=test, identity=identify(train, test))

    def _images(self, part: str, count: int, coarse: Tensor) -> Images:
        import torch
        from torch.nn.functional import interpolate

        generator = torch.Generator().manual_seed(derive(self.seed, part))
        labels = torch.arange(count) % self.num_classes
        images = torch.empty(count, *self.image_shape, dtype=torch.uint8)
        for start in range(0, count, CHUNK):
            chosen = labels[start : start + CHUNK]
            size = self.image_shape[1:]
            pixels = interpolate(coarse[chosen], size=size, mode="bilinear", align_corners=True)
            pixels.mul_(0.25).add_(0.5)
            pixels.add_(torch.randn(pixels.shape, generator=generator), alpha=self.noise)
            images[start : start + CHUNK] = pixels.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
        return Images(images=images.numpy(), labels=labels.numpy())
