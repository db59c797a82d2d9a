"""ImageNet, and whatever else is too large to be decoded beforehand: JPEG images of any size (Russakovsky et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bimp_exp import cores
from bimp_exp.dataset import decode, listing
from bimp_exp.dataset.images import LabelledImages
from bimp_exp.dataset.pixels import MODES
from bimp_exp.dataset.readers import explained
from bimp_exp.errors import ConfigError, DataError
from bimp_exp.types import Count, Natural, Positive

if TYPE_CHECKING:
    import torch

    from bimp_exp.dataset.listing import EncodedFiles, Listing
    from bimp_exp.dataset.stream import Streamed


@dataclass(frozen=True, kw_only=True)
class ImageNet(LabelledImages):
    """``root`` is a folder with one of the layouts of ``bimp_exp.dataset.listing``; its images stay encoded, and on disk.

    ``decoder`` pil, or torchvision, which is faster and rounds differently. ``num_workers`` processes decode and augment (null:
    one per core, 0: none); no result depends on it.

    The fingerprint is a hash over the names, sizes and labels of all images and the version of the decoder, not over the images
    themselves, which would have to be read in full at every start.
    """

    root: str | None
    cache: str
    resize: Count
    crop_scale: list[Positive]
    crop_ratio: list[Positive]
    decoder: Literal["pil", "torchvision"]
    num_workers: Natural | None

    def check(self) -> None:
        super().check()
        channels, height, width = self.image_shape
        if channels not in MODES:
            raise ConfigError(f"dataset.image_shape={list(self.image_shape)} must have 1 or 3 channels")
        if self.resize < max(height, width):
            raise ConfigError(
                f"dataset.resize={self.resize} must be at least {max(height, width)}, the longer side of dataset.image_shape"
            )
        for key, pair in (("crop_scale", self.crop_scale), ("crop_ratio", self.crop_ratio)):
            if len(pair) != 2 or pair[0] > pair[1]:
                raise ConfigError(f"dataset.{key}={list(pair)} must be [lowest, highest]")
        if self.crop_scale[1] > 1:
            raise ConfigError(f"dataset.crop_scale={list(self.crop_scale)} must be at most 1, the whole image")

    def check_files(self) -> None:
        with explained(self.root):
            self._find()

    def source(self) -> tuple[Listing, Listing]:
        """Lists of training and test images."""
        self.check()
        with explained(self.root):
            found = self._find()
            key = found, found.stamp()
            if key not in self._listings:
                self._listings.clear()
                self._listings[key] = listing.read(found, Path(self.cache).expanduser().absolute())
            train, test = self._listings[key]
        self._verify_labels("training", train.labels, "num_train_images")
        self._verify_labels("test", test.labels, "num_test_images")
        return train, test

    def load(
        self,
        device: torch.device,
        *,
        augment_validation: bool = False,
        memory_format: torch.memory_format | None = None,
    ) -> Streamed:
        """Only the labels go to ``device`` at once, the images batch by batch."""
        import torch

        from bimp_exp.dataset.augment import Augmentation
        from bimp_exp.dataset.data import Split
        from bimp_exp.dataset.stream import Streamed
        from bimp_exp.dataset.workers import Pool

        train, test = self.source()
        used, labels = self._used(), torch.from_numpy(train.labels)

        def part(index: torch.Tensor) -> Split:
            return Split(images=index, labels=labels[index].to(device))

        channels, height, width = self.image_shape
        return Streamed(
            train=part(used[: self.num_fit_items]),
            validation=part(used[self.num_fit_items :]),
            test=Split(
                images=torch.arange(len(test.labels)) + len(train.labels),
                labels=torch.from_numpy(test.labels).to(device),
            ),
            num_classes=self.num_classes,
            fingerprint=self._fingerprint(f"{train.digest} {test.digest} {decode.version(self.decoder)}"),
            mean=tuple(self.mean),
            std=tuple(self.std),
            augmentation=Augmentation(crop_padding=0, flip=self.flip, rotation=0),
            validation_seed=self.split_seed if augment_validation else None,
            memory_format=torch.contiguous_format if memory_format is None else memory_format,
            listing=listing.join(train, test),
            recipe=decode.Recipe(
                shape=(channels, height, width),
                resize=self.resize,
                scale=(self.crop_scale[0], self.crop_scale[1]),
                ratio=(self.crop_ratio[0], self.crop_ratio[1]),
                flip=self.flip,
                decoder=self.decoder,
            ),
            pool=Pool(
                cores.usable(hyperthreads=True) if self.num_workers is None else self.num_workers,
                pin_memory=device.type == "cuda",
            ),
        )

    @cached_property
    def _listings(self) -> dict[tuple[EncodedFiles, str], tuple[Listing, Listing]]:
        """The last listing that was read, by layout and stamp: to list a million files takes a while."""
        return {}

    def _find(self) -> EncodedFiles:
        if self.root is None:
            raise ConfigError(f"dataset.root=null must be a folder with {listing.ACCEPTED}")
        root = Path(self.root).expanduser().absolute()
        if not root.is_dir():
            raise DataError(f"dataset.root={self.root}: there is no such folder ({root})")
        found = listing.find(root)
        if found is None:
            raise DataError(f"dataset.root={self.root}: needs {listing.ACCEPTED}")
        if (missing := found.missing()) is not None:
            raise DataError(f"dataset.root={self.root}: {missing} is missing")
        return found

    def _origin(self) -> str:
        return f"dataset.root={self.root}"
