"""CIFAR-10 and CIFAR-100 (fine labels) from files in any of three layouts (Krizhevsky 2009)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bimp_exp.dataset import cache, sources
from bimp_exp.dataset.images import Images, InMemory, Source
from bimp_exp.dataset.pixels import MODES
from bimp_exp.dataset.readers import Facts, explained
from bimp_exp.errors import ConfigError, DataError

DECODER = 1  # to be raised when decoding changes, so that no older cache is used


@dataclass(frozen=True, kw_only=True)
class Cifar(InMemory):
    """CIFAR, or other small images in the same layouts, whose size and number are keys.

    variant: which of torchvision's file names are looked for.
    root: a folder with one of the layouts of ``bimp_exp.dataset.sources``.
    download: let torchvision fetch what is missing.
    cache: folder of the decoded images.
    """

    variant: Literal["cifar10", "cifar100"]
    root: str | None
    download: bool
    cache: str

    def check(self) -> None:
        super().check()
        if self.image_shape[0] not in MODES:
            raise ConfigError(f"dataset.image_shape={list(self.image_shape)} must have 1 or 3 channels")

    def check_files(self) -> None:
        """Raise ConfigError or DataError where the files cannot be found; with ``download`` they may be missing."""
        with explained(self.root):
            root, found = self._find()
            if self.download:
                return
            if not root.is_dir():
                raise DataError(f"dataset.root={self.root}: there is no such folder ({root.absolute()})")
            if found is None:
                raise DataError(f"dataset.root={self.root}: has none of {sources.accepted(self.variant)}")
            if (missing := found.missing()) is not None:
                raise DataError(f"dataset.root={self.root}: {missing} is missing")

    def read(self) -> Source:
        """The images, decoded into ``cache`` unless they are there."""
        folder = Path(self.cache).expanduser()
        root, found = self._find()
        if self.download and (found is None or found.missing()):
            with cache.lock(folder):
                found = self._find()[1]
                if found is None or found.missing():  # nobody was quicker
                    self._download(root)
                    found = self._find()[1]
        if found is None or found.missing():
            raise DataError(f"dataset.root={self.root}: files went away while they were looked at")
        with explained(self.root):
            return self._decoded(folder, found)

    def _decoded(self, folder: Path, found: sources.SourceFiles) -> Source:
        channels, height, width = self.image_shape
        facts = Facts(shape=(channels, height, width), num_classes=self.num_classes)
        how = f"{DECODER} {facts} {found.layout}"
        before = found.signature()

        def decode() -> tuple[Images, Images]:
            train, test = (found.read(part, facts) for part in sources.PARTS)
            if found.signature() != before:
                raise DataError(f"dataset.root={self.root}: the files changed while they were read")
            return train, test

        return cache.fetch(
            folder,
            signature=_hash(f"{how} {found.root.resolve()} {before}"),
            content=lambda: _hash(f"{how} {found.content()}"),
            decode=decode,
        )

    def _find(self) -> tuple[Path, sources.SourceFiles | None]:
        if self.root is None:
            raise ConfigError(
                f"dataset.root=null must be a folder with one of {sources.accepted(self.variant)}; "
                "dataset.download=true fetches the first"
            )
        root = Path(self.root).expanduser()
        return root, sources.find(root, self.variant)

    def _download(self, root: Path) -> None:
        """Let torchvision download the archive and check its md5."""
        from torchvision.datasets import CIFAR10, CIFAR100

        try:
            {"cifar10": CIFAR10, "cifar100": CIFAR100}[self.variant](root, download=True)
        except Exception as error:  # from the network, the archive or the disk
            reason = (str(error).splitlines() or [""])[0] or type(error).__name__
            raise DataError(
                f"dataset.download: {self.variant} could not be fetched into {root} ({reason}); "
                "put the files there yourself and set dataset.download=false"
            ) from None

    def _origin(self) -> str:
        return f"dataset.root={self.root}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
