"""Any small images in class folders or Hugging Face parquet: what ``bimp_exp.dataset.found`` describes is read from them.

Imports no PyTorch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bimp_exp.dataset import cache, folders, pixels, readers
from bimp_exp.dataset.folders import Items, Listed
from bimp_exp.dataset.found import FoundImages
from bimp_exp.dataset.images import Images, Source
from bimp_exp.errors import ConfigError, DataError
from bimp_exp.types import Count, Fraction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DECODER = 1  # to be raised when decoding changes, so that no older cache is used


@dataclass(frozen=True, kw_only=True)
class ImageFolder(FoundImages):
    """Images that fit into memory, decoded once into ``cache``. Transparency is dropped; grey alone is one channel.

    root: a folder with one of the layouts of ``bimp_exp.dataset.folders``.
    test_fraction: of each class, where nothing is for testing by itself; which images follows from their names.
    resize: their shorter side becomes so many pixels, of which the centre is cut out: a square, or what ``image_shape`` says. None:
        all have one size.
    """

    root: str | None
    test_fraction: Fraction | None
    resize: Count | None
    cache: str

    def check(self) -> None:
        super().check()
        if self.image_shape is not None:
            if self.image_shape[0] not in pixels.MODES:
                raise ConfigError(f"dataset.image_shape={list(self.image_shape)} must have 1 or 3 channels")
            if self.resize is not None and self.resize < max(self.image_shape[1:]):
                raise ConfigError(
                    f"dataset.resize={self.resize} must be at least {max(self.image_shape[1:])}, the longer side of "
                    "dataset.image_shape"
                )

    def check_files(self) -> None:
        _ = self._listed

    def counts(self) -> tuple[int, int]:
        return len(self._listed.train.labels), len(self._listed.test.labels)

    @property
    def class_names(self) -> list[str] | None:
        return None if self._listed.class_names is None else list(self._listed.class_names)

    def read(self) -> Source:
        """The images, decoded into ``cache`` unless they are there."""
        folder, root, listed = Path(self.cache).expanduser(), Path(self.root or "").expanduser(), self._listed
        how = f"{DECODER} {self.image_shape} {self.resize} {self.test_fraction} {listed.class_names}"

        def signature() -> str:
            facts = [(file, file.stat()) for file in listed.files]
            return _hash([how, str(root.resolve()), *(f"{file} {f.st_size} {f.st_mtime_ns}" for file, f in facts)])

        def decode() -> tuple[Images, Images]:
            shape = self._shape([listed.train, listed.test])
            train, test = (self._decoded(part, shape) for part in (listed.train, listed.test))
            if signature() != before:
                raise DataError(f"{self.origin()}: the files changed while they were read")
            return train, test

        def content() -> str:
            digests = (
                f"{file.relative_to(root)} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in listed.files
            )
            return _hash([how, *digests])

        with readers.explained(self.root):
            before = signature()
            return cache.fetch(folder, signature=before, content=content, decode=decode)

    def origin(self) -> str:
        return f"dataset.root={self.root}"

    def _shape(self, parts: Sequence[Items]) -> tuple[int, int, int]:
        """Channels, height and width of all images, as configured or as all their files say."""
        if self.image_shape is not None:
            channels, height, width = self.image_shape
            return channels, height, width
        sizes: dict[tuple[int, int], str] = {}
        grey = True
        for part in parts:
            for name, encoded in zip(part.names, part.encoded(), strict=True):
                with pixels.opened(encoded, name) as image:
                    sizes.setdefault(image.size, name)
                    grey = grey and image.mode in ("1", "L", "LA")
        channels = 1 if grey else 3
        if self.resize is not None:
            return channels, self.resize, self.resize
        (width, height), *others = sizes
        if others:
            raise DataError(
                f"{sizes[others[0]]}: {others[0][0]} x {others[0][1]} pixels, but {sizes[width, height]} has {width} x {height}; "
                "dataset.resize=SIDE makes all of one size; dataset=imagenet is for images that do not fit into memory"
            )
        return channels, height, width

    def _decoded(self, part: Items, shape: tuple[int, int, int]) -> Images:
        import numpy as np

        images = np.empty((len(part.names), *shape), np.uint8)
        for i, (name, encoded) in enumerate(zip(part.names, part.encoded(), strict=True)):
            images[i] = self._pixels(encoded, name, shape)
        return Images(images=images, labels=np.asarray(part.labels, np.int64))

    def _pixels(self, encoded: bytes, name: str, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        """uint8 [C, H, W]."""
        if self.resize is None:
            return pixels.decode(encoded, name, shape)
        from bimp_exp.dataset.decode import DecodeError, Recipe

        recipe = Recipe(shape=shape, resize=self.resize, scale=(1, 1), ratio=(1, 1), flip=False, decoder="pil")
        try:
            return recipe.decoded(encoded, None).transpose(2, 0, 1)
        except DecodeError as error:
            raise DataError(f"{name}: {error}") from None

    @cached_property
    def _listed(self) -> Listed:
        if self.root is None:
            raise ConfigError(f"dataset.root=null must be a folder with {folders.ACCEPTED}")
        root = Path(self.root).expanduser()
        with readers.explained(self.root):
            if not root.is_dir():
                raise DataError(f"dataset.root={self.root}: there is no such folder ({root.absolute()})")
            return folders.listed(root, self.origin(), self.test_fraction)


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()  # names need not be UTF-8
