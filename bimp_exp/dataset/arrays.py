"""Images and labels as NumPy arrays in one .npz file: what ``bimp_exp.dataset.found`` describes is read from it.

Imports no PyTorch.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bimp_exp.dataset.found import FoundImages
from bimp_exp.dataset.images import Images, Source, identify
from bimp_exp.dataset.pixels import words
from bimp_exp.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMES = (  # training images, training labels, test images, test labels
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)
ACCEPTED = " or ".join(", ".join(names) for names in NAMES)
CHANNELS = (1, 3)  # numbers of channels that say by themselves which axis they are


class Header(NamedTuple):
    """Of an array: what is known without reading its values."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, kw_only=True)
class Arrays(FoundImages):
    """Four arrays: images uint8 [N, H, W], [N, H, W, C] or [N, C, H, W], labels of integers [N] or [N, 1].

    channels: which axis of four is C; None: the one with 1 or 3 entries.
    """

    file: str | None
    channels: Literal["first", "last"] | None

    def check_files(self) -> None:
        _ = self._headers

    def counts(self) -> tuple[int, int]:
        train, _, test, _ = self._headers.values()
        return train.shape[0], test.shape[0]

    def read(self) -> Source:
        import numpy as np

        names = list(self._headers)
        try:
            with np.load(self._path, allow_pickle=False) as file:
                arrays = [file[name] for name in names]
        except Exception as error:  # zipfile and NumPy raise anything from OSError to zlib.error
            raise DataError(f"{self.origin()}: damaged ({words(error)})") from None
        train, test = (
            Images(images=self._as_images(names[i], arrays[i]), labels=arrays[i + 1].reshape(-1).astype(np.int64))
            for i in (0, 2)
        )
        return Source(train=train, test=test, identity=identify(train, test))

    def origin(self) -> str:
        return f"dataset.file={self.file}"

    @property
    def _path(self) -> Path:
        return Path(self.file or "").expanduser()

    def _as_images(self, name: str, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """[N, C, H, W]."""
        import numpy as np

        if array.ndim == 3:
            return array[:, None]
        axis = {"first": 1, "last": 3}.get(self.channels or "") or self._axis(name, array.shape)
        return np.ascontiguousarray(np.moveaxis(array, axis, 1))

    def _axis(self, name: str, shape: tuple[int, ...]) -> int:
        axes = [axis for axis in (1, 3) if shape[axis] in CHANNELS]
        if len(axes) != 1:
            raise DataError(
                f"{self.origin()}: {name} of shape {list(shape)} does not say which axis are the channels: dataset.channels=first "
                "or dataset.channels=last does"
            )
        return axes[0]

    @cached_property
    def _headers(self) -> dict[str, Header]:
        """Those of the four arrays, training images first, by name; DataError where they do not fit together."""
        if self.file is None:
            raise ConfigError(f"dataset.file=null must be an .npz file with {ACCEPTED}")
        if not self._path.is_file():
            raise DataError(f"{self.origin()}: there is no such file ({self._path.absolute()})")
        headers = self._read_headers()
        names = next((names for names in NAMES if {*names} <= headers.keys()), None)
        if names is None:
            raise DataError(f"{self.origin()}: needs {ACCEPTED}, has {', '.join(sorted(headers)) or 'no array'}")
        for images, labels in (names[:2], names[2:]):
            self._check(images, headers[images], labels, headers[labels])
        if len({headers[name].shape[1:] for name in (names[0], names[2])}) > 1:
            shapes = " and ".join(f"{name} {list(headers[name].shape)}" for name in (names[0], names[2]))
            raise DataError(f"{self.origin()}: images of different sizes, {shapes}")
        if len(headers[names[0]].shape) == 4 and self.channels is None:
            self._axis(names[0], headers[names[0]].shape)
        return {name: headers[name] for name in names}

    def _read_headers(self) -> dict[str, Header]:
        from numpy.lib import format as npy

        found = {}
        try:
            with zipfile.ZipFile(self._path) as archive:
                for member in archive.namelist():
                    with archive.open(member) as stream:
                        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
                        shape, _, dtype = read[npy.read_magic(stream)](stream)
                        found[member.removesuffix(".npy")] = Header(shape, dtype)
        except Exception as error:  # zipfile and NumPy raise anything from KeyError to zlib.error
            raise DataError(
                f"{self.origin()}: not a file that numpy.savez wrote, or a damaged one ({words(error)})"
            ) from None
        return found

    def _check(self, name: str, images: Header, labels_name: str, labels: Header) -> None:
        if images.dtype != "uint8":
            hint = (
                "; where it is in [0, 1], np.rint(255 * x).astype(np.uint8) makes it"
                if images.dtype.kind == "f"
                else ""
            )
            raise DataError(f"{self.origin()}: {name} is {images.dtype}, but pixels are uint8, 0 to 255{hint}")
        if len(images.shape) not in (3, 4) or 0 in images.shape:
            raise DataError(
                f"{self.origin()}: {name} has the shape {list(images.shape)}, not [N, H, W], [N, H, W, C] or [N, C, H, W]"
            )
        if labels.dtype.kind not in "iu":
            raise DataError(f"{self.origin()}: {labels_name} is {labels.dtype}, but labels are whole numbers")
        if labels.shape not in ((images.shape[0],), (images.shape[0], 1)):
            raise DataError(
                f"{self.origin()}: {labels_name} has the shape {list(labels.shape)}, but {name} has {images.shape[0]} images"
            )
