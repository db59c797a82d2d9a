"""Scenes of one or two handwritten digits on a coloured ground, made from the digits of scikit-learn: segmentation without files.

A canvas of 32x32 pixels has a ground of one colour with a linear change of brightness and noise of standard deviation 0.05; each
digit is enlarged to 18 to 28 pixels and blended in by its ink, in a brighter colour of its own. The class of a pixel is that of
the digit with the most ink there, 1 + its number, where the ink is above 0.5; none (255) where it is above 0.3, the digit's border;
else 0, the ground. Training scenes use the first 1,437 digits, test scenes the others, so that no digit is in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bimp_exp.dataset.base import Dataset
from bimp_exp.dataset.images import Images, identify
from bimp_exp.seeds import derive
from bimp_exp.types import Count, Seed

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bimp_exp.dataset.data import ImageData

SIDE = 32
DIGIT_SIDES = (18, 28)  # pixels, least and most
NUM_TRAIN_DIGITS = 1437
NOISE = 0.05
INK, BORDER = 0.5, 0.3
CLASSES = ("ground", *(f"digit_{i}" for i in range(10)))
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)  # of pixels in [0, 1], by construction


@dataclass(frozen=True, kw_only=True)
class DigitScenes(Dataset):
    """Needs no files.

    seed: of the scenes.
    num_train_images: before subset and split.
    """

    task: ClassVar[str] = "segmentation"

    seed: Seed
    num_train_images: Count
    num_test_images: Count

    @property
    def num_train_items(self) -> int:
        return self.num_train_images

    @property
    def facts(self) -> dict[str, Any]:
        return {"image_shape": (3, SIDE, SIDE), "class_names": CLASSES}

    @property
    def _most_items(self) -> str:
        return f"dataset.num_train_images={self.num_train_images}"

    def source(self) -> tuple[Images, Images]:
        """Training and test scenes; labels uint8 [N, H, W]."""
        import numpy as np
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        ink = (pixels / 16).astype(np.float32).reshape(-1, 8, 8)
        return (
            _scenes(
                ink[:NUM_TRAIN_DIGITS], labels[:NUM_TRAIN_DIGITS], self.num_train_images, derive(self.seed, "train")
            ),
            _scenes(ink[NUM_TRAIN_DIGITS:], labels[NUM_TRAIN_DIGITS:], self.num_test_images, derive(self.seed, "test")),
        )

    def load(
        self,
        device: torch.device,
        *,
        augment_validation: bool = False,
        memory_format: torch.memory_format | None = None,
    ) -> ImageData:
        import torch

        from bimp_exp.dataset.augment import Augmentation
        from bimp_exp.dataset.data import ImageData, Split

        train, test = self.source()
        used = self._used()

        def part(images: Images, index: torch.Tensor | slice) -> Split:
            pixels, labels = torch.from_numpy(images.images)[index], torch.from_numpy(images.labels)[index]
            return Split(images=pixels.to(device), labels=labels.to(device, torch.int64))

        return ImageData(
            train=part(train, used[: self.num_fit_items]),
            validation=part(train, used[self.num_fit_items :]),
            test=part(test, slice(None)),
            num_classes=len(CLASSES),
            fingerprint=self._fingerprint(identify(train, test)),
            mean=MEAN,
            std=STD,
            augmentation=Augmentation(crop_padding=0, flip=False, rotation=0),
            memory_format=torch.contiguous_format if memory_format is None else memory_format,
        )


def _scenes(ink: Any, labels: Any, count: int, seed: int) -> Images:
    """``count`` scenes of the digits with this ``ink``, float32 [N, 8, 8] in [0, 1], and these ``labels``."""
    import numpy as np
    import torch

    generator = torch.Generator().manual_seed(seed)
    images = np.empty((count, 3, SIDE, SIDE), np.uint8)
    targets = np.empty((count, SIDE, SIDE), np.uint8)
    for i in range(count):
        image, target = _scene(torch.from_numpy(ink), torch.from_numpy(labels), generator)
        images[i] = image.mul(255).round().clamp(0, 255).to(torch.uint8).numpy()
        targets[i] = target.numpy()
    return Images(images=images, labels=targets)


def _scene(ink: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pixels float32 [3, SIDE, SIDE], about in [0, 1], and classes uint8 [SIDE, SIDE]."""
    import torch
    from torch.nn.functional import interpolate

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def whole(low: int, high: int) -> int:
        """Of low..high, both included."""
        return int(torch.randint(low, high + 1, (), generator=generator))

    line = torch.linspace(-0.5, 0.5, SIDE)
    slope = uniform(2) * 0.4 - 0.2
    image = 0.5 * uniform(3, 1, 1) + slope[0] * line[:, None] + slope[1] * line
    most = torch.full((SIDE, SIDE), 0.0)  # ink of the strongest digit
    target = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    for _ in range(whole(1, 2)):
        number, side = whole(0, len(ink) - 1), whole(*DIGIT_SIDES)
        top, left = whole(0, SIDE - side), whole(0, SIDE - side)
        enlarged = interpolate(ink[number][None, None], size=(side, side), mode="bilinear", align_corners=False)[0, 0]
        here = torch.zeros(SIDE, SIDE)
        here[top : top + side, left : left + side] = enlarged
        image = image * (1 - here) + (0.5 + 0.5 * uniform(3, 1, 1)) * here
        stronger = here > most
        most = torch.where(stronger, here, most)
        target = torch.where(stronger, labels[number].to(torch.uint8) + 1, target)
    target = torch.where(most > INK, target, torch.where(most > BORDER, 255, 0).to(torch.uint8))
    noise = torch.randn(3, SIDE, SIDE, generator=generator) * NOISE
    return image + noise, target
