"""Base of the data sets of images with masks on disk: a family says only where they lie and how they are resized.

Imports no PyTorch: the planner uses it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bimp_exp import cores
from bimp_exp.dataset import decode
from bimp_exp.dataset.base import Dataset
from bimp_exp.dataset.masks import Entry, Recipe
from bimp_exp.dataset.readers import explained
from bimp_exp.errors import ConfigError, DataError
from bimp_exp.types import Count, Natural, Positive, Share

if TYPE_CHECKING:
    import torch

    from bimp_exp.dataset.segmented_data import SegmentedData


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Images with their masks; ``digest`` is a hash over names and sizes."""

    entries: list[Entry]
    digest: str


@dataclass(frozen=True, kw_only=True)
class Segmented(Dataset):
    """``root`` is a folder with images and masks, which stay there and are decoded while training.

    num_train_images, num_test_images: before subset and split; None: as many as there are.
    eval_subset: training and validation images that are evaluated at most, the first of the split; None: all.
    scale: lowest and highest factor that a training image is resized by.
    num_workers: processes that decode and augment (None: one per core, 0: none); no result depends on it.

    The fingerprint is a hash over the names and sizes of all files and the version of the decoder, not over the images
    themselves, which would have to be read in full at every start.
    """

    task: ClassVar[str] = "segmentation"
    drops_last: ClassVar[bool] = True  # batch-norm after pooling to a single pixel needs two images

    root: str | None
    num_train_images: Count | None
    num_test_images: Count | None
    eval_subset: Count | None
    mean: list[Share]
    std: list[Positive]
    scale: list[Positive]
    flip: bool
    num_workers: Natural | None

    @property
    def num_train_items(self) -> int:
        if self.num_train_images is not None:
            return self.num_train_images
        if self.root is None and self.usual_items is not None:
            return self.usual_items
        with explained(self.root):
            return self._count()

    def check(self) -> None:
        for key, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3:
                raise ConfigError(f"dataset.{key} must have 3 values, one per channel, not {len(values)}")
        if len(self.scale) != 2 or self.scale[0] > self.scale[1]:
            raise ConfigError(f"dataset.scale={list(self.scale)} must be [lowest, highest]")
        super().check()

    def check_files(self) -> None:
        with explained(self.root):
            self._find()

    def source(self) -> tuple[Listed, Listed]:
        """Training and test images."""
        self.check()
        with explained(self.root):
            train, test = self._listed()
        for part, listed, stated in (
            ("train", train, self.num_train_images),
            ("test", test, self.num_test_images),
        ):
            if stated is not None and stated != len(listed.entries):
                raise DataError(
                    f"dataset.root={self.root}: {len(listed.entries)} {part} images, but dataset.num_{part}_images={stated}"
                )
        return train, test

    def load(
        self,
        device: torch.device,
        *,
        augment_validation: bool = False,
        memory_format: torch.memory_format | None = None,
    ) -> SegmentedData:
        import torch

        from bimp_exp.dataset.data import normalise
        from bimp_exp.dataset.segmented_data import SegmentedData
        from bimp_exp.dataset.workers import Pool

        train, test = self.source()
        used, fit, most = self._used(), self.num_fit_items, self.eval_subset
        return SegmentedData(
            train=used[:fit],
            train_sample=used[:fit][:most],
            validation=used[fit:][:most],
            test=torch.arange(len(test.entries)) + len(train.entries),
            fingerprint=self._fingerprint(f"{train.digest} {test.digest} {decode.version('pil')}"),
            entries=train.entries + test.entries,
            recipe=self.recipe(),
            normalise=normalise(self.mean, self.std, device, memory_format),
            validation_seed=self.split_seed if augment_validation else None,
            pool=Pool(
                cores.usable(hyperthreads=True) if self.num_workers is None else self.num_workers,
                pin_memory=device.type == "cuda",
            ),
        )

    def recipe(self) -> Recipe:
        """Of sizes and augmentation."""
        raise NotImplementedError

    def _find(self) -> object:
        """What is under ``root``; ConfigError or DataError where a folder is not there."""
        raise NotImplementedError

    def _count(self) -> int:
        """Training images, quickly."""
        raise NotImplementedError

    def _listed(self) -> tuple[Listed, Listed]:
        """Training and test images."""
        raise NotImplementedError

    @property
    def _most_items(self) -> str:
        return f"{self.num_train_items}, the number of training images"

    def _folder(self, wanted: str) -> Path:
        """``root``, which must have what is ``wanted`` in it."""
        if self.root is None:
            raise ConfigError(f"dataset.root=null must be a folder with {wanted}")
        root = Path(self.root).expanduser().absolute()
        if not root.is_dir():
            raise DataError(f"dataset.root={self.root}: there is no such folder ({root})")
        return root

    def _missing(self, folder: Path, wanted: str) -> DataError:
        return DataError(f"dataset.root={self.root}: {folder} is missing; needs {wanted}")

    def _remembered(self, stamp: str, make: Callable[[], tuple[Listed, Listed]]) -> tuple[Listed, Listed]:
        """What ``make`` gave last, while the ``stamp`` of the files is the same: to list 100,000 files takes a while."""
        if stamp not in self._memory:
            self._memory.clear()
            self._memory[stamp] = make()
        return self._memory[stamp]

    @cached_property
    def _memory(self) -> dict[str, tuple[Listed, Listed]]:
        return {}


def digest(pairs: list[tuple[str, int]]) -> str:
    """A sha256 over names and sizes."""
    text = "".join(f"{name}\0{size}\0" for name, size in pairs)
    return hashlib.sha256(text.encode()).hexdigest()
