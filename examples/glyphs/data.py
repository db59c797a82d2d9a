"""Images of a sign of 5x5 pixels somewhere on a noisy ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bimp_exp.dataset.images import Images, InMemory, Source, identify
from bimp_exp.types import Seed, Share

SIGNS = ("square", "cross", "plus", "bars")
SIDE = 5


@dataclass(frozen=True, kw_only=True)
class Glyphs(InMemory):
    """A class for each of SIGNS. The fields are keys of conf/dataset/glyphs.yaml, beside those that InMemory has.

    noise: standard deviation, of pixels in [0, 1].
    """

    seed: Seed
    noise: Share

    def read(self) -> Source:
        """All images, unsplit; ``identity`` names their content, and is in the key of every phase that is trained on them."""
        random = np.random.RandomState(self.seed)
        train, test = (self._images(number, random) for number in (self.num_train_images, self.num_test_images))
        return Source(train=train, test=test, identity=identify(train, test))

    def _images(self, number: int, random: np.random.RandomState) -> Images:
        labels = np.arange(number) % self.num_classes
        pixels = random.normal(0.3, self.noise, (number, *self.image_shape))
        tops, lefts = (random.randint(0, side - SIDE + 1, number) for side in self.image_shape[1:])
        for image, label, top, left in zip(pixels, labels, tops, lefts, strict=True):
            image[:, top : top + SIDE, left : left + SIDE] += 0.5 * _sign(SIGNS[label])
        images = np.rint(255 * pixels.clip(0, 1)).astype(np.uint8)
        return Images(images=images, labels=labels)


def _sign(name: str) -> np.ndarray:
    """[SIDE, SIDE] of 0 and 1."""
    row, column = np.indices((SIDE, SIDE)) - SIDE // 2
    inside = {
        "square": np.maximum(abs(row), abs(column)) == SIDE // 2,
        "cross": abs(row) == abs(column),
        "plus": row * column == 0,
        "bars": column % 2 == 0,
    }
    return inside[name].astype(float)
