"""The 1,797 handwritten digits that come with scikit-learn: 8x8 pixels, 17 grey levels (Alpaydin 1998)."""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp.dataset.images import Images, InMemory, Source, identify
from bimp_exp.errors import ConfigError

SHAPE = [1, 8, 8]
NUM_TEST = 360  # every fifth image; there is no official test set
TEST_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Digits(InMemory):
    """Needs no files. The stratified test split is the same for every configuration."""

    def check(self) -> None:
        if list(self.image_shape) != SHAPE:
            raise ConfigError(f"dataset.image_shape={list(self.image_shape)} must be {SHAPE} for the digits")
        super().check()

    def read(self) -> Source:
        """The digits, their grey levels 0..16 spread to 0..255."""
        import numpy as np
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        pixels, labels = load_digits(return_X_y=True)
        images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, *SHAPE)
        train, test = train_test_split(
            np.arange(len(labels)), test_size=NUM_TEST, stratify=labels, random_state=TEST_SEED
        )
        parts = [Images(images=images[i], labels=labels[i].astype(np.int64)) for i in (train, test)]
        return Source(train=parts[0], test=parts[1], identity=identify(*parts))
