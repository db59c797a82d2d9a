"""Images in an .npz file: every axis order that is said or can be seen, and one line for every kind of wrong file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bimp_exp.dataset.arrays import Arrays
from bimp_exp.errors import ConfigError, DataError
from tests.dataset.helpers import CPU, make, pixels

KERAS = ("x_train", "y_train", "x_test", "y_test")
LONG = ("train_images", "train_labels", "test_images", "test_labels")


def data(shape: tuple[int, ...] = (3, 6, 5), kind: str = "int64") -> list[np.ndarray]:
    """20 and 6 images [N, C, H, W] in 3 classes."""
    labels = [(np.arange(n) % 3).astype(kind) for n in (20, 6)]
    return [pixels(20, 0, shape), labels[0], pixels(6, 1, shape), labels[1]]


def write(path: Path, values: list[Any], names: tuple[str, ...] = LONG) -> Path:
    np.savez(path, **dict(zip(names, values, strict=True)))
    return path


def found(path: Path, **changes: Any) -> Arrays:
    dataset = make("arrays", file=str(path), **changes)
    assert isinstance(dataset, Arrays)
    return dataset


@pytest.mark.parametrize("names", [KERAS, LONG])
def test_images_and_labels_are_those_of_the_file(tmp_path: Path, names: tuple[str, ...]) -> None:
    values = data(kind="uint8")
    path = write(tmp_path / "a.npz", [values[0], values[1][:, None], values[2], values[3]], names)
    dataset = found(path)
    assert (dataset.counts(), dataset.num_fit_items) == ((20, 6), 18)
    source = dataset.source()
    assert np.array_equal(source.train.images, values[0])
    assert source.train.labels.tolist() == values[1].tolist()
    assert np.array_equal(source.test.images, values[2])
    assert dataset.facts == {"image_shape": (3, 6, 5), "num_classes": 3}
    loaded = dataset.load(CPU)
    assert np.allclose(loaded.mean, values[0].mean((0, 2, 3)) / 255)
    assert len(loaded.validation) == 2
    assert dataset.found["mean"] == list(loaded.mean)


def test_every_order_of_the_axes_is_the_same_data(tmp_path: Path) -> None:
    first = data()
    last = [np.moveaxis(each, 1, 3) if each.ndim == 4 else each for each in first]
    files = [write(tmp_path / "first.npz", first), write(tmp_path / "last.npz", last)]
    np.savez_compressed(tmp_path / "small.npz", **dict(zip(LONG, first, strict=True)))
    prints = {found(path).load(CPU).fingerprint for path in [*files, tmp_path / "small.npz"]}
    assert len(prints) == 1
    assert {found(files[0], channels="first").load(CPU).fingerprint} == prints


@given(arrays.arrays(np.uint8, st.tuples(st.just(4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))))
def test_channels_are_never_guessed(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> None:
    """Exactly one of the two axes has 1 or 3 entries, or the key is asked for."""
    labels = np.array([0, 1, 0, 1])
    path = write(tmp_path_factory.mktemp("a") / "a.npz", [images, labels, images, labels])
    fits = [axis for axis in (1, 3) if images.shape[axis] in (1, 3)]
    if len(fits) == 1:
        assert np.array_equal(found(path).read().train.images, np.moveaxis(images, fits[0], 1))
    else:
        with pytest.raises(DataError, match=r"dataset\.channels=first or dataset\.channels=last does"):
            found(path).check_files()
    for name, axis in (("first", 1), ("last", 3)):
        assert np.array_equal(found(path, channels=name).read().train.images, np.moveaxis(images, axis, 1))


def test_images_without_an_axis_of_channels_are_grey(tmp_path: Path) -> None:
    values = data((6, 5))
    dataset = found(write(tmp_path / "a.npz", values))
    assert np.array_equal(dataset.source().train.images[:, 0], values[0])


def test_a_changed_pixel_is_other_data(tmp_path: Path) -> None:
    values = data()
    before = found(write(tmp_path / "a.npz", values)).load(CPU).fingerprint
    values[2][5, 2, 5, 4] ^= 1
    assert found(write(tmp_path / "a.npz", values)).load(CPU).fingerprint != before


X, Y, TX, TY = data()
WRONG = {
    "float": ([X / 255, Y, TX, TY], "train_images is float64, but pixels are uint8, 0 to 255; where it is in [0, 1]"),
    "float test": ([X, Y, TX.astype("f4"), TY], "test_images is float32, but pixels are uint8"),
    "int64": ([X.astype(int), Y, TX, TY], "train_images is int64, but pixels are uint8, 0 to 255"),
    "one-hot": ([X, np.eye(3)[Y], TX, TY], "train_labels is float64, but labels are whole numbers"),
    "one-hot of integers": ([X, np.eye(3, dtype=int)[Y], TX, TY], "train_labels has the shape [20, 3]"),
    "too few labels": ([X, Y[:19], TX, TY], "train_labels has the shape [19], but train_images has 20 images"),
    "from 1": ([X, Y + 1, TX, TY + 1], "labels must be 0, 1, 2, ... without a gap, but the 3 that are there go from 1 to 3"),
    "huge": ([X, Y * 10**15, TX, TY], "without a gap, but the 3 that are there go from 0 to 2000000000000000"),
    "negative": ([X, Y - 1, TX, TY], "go from -1 to 1"),
    "test alone": ([X, Y, TX, TY + 1], "test label 3 is not in 0..2"),
    "objects": ([X, np.array([{}] * 20), TX, TY], "train_labels is object, but labels are whole numbers"),
    "flat": ([X.reshape(20, -1), Y, TX, TY], "train_images has the shape [20, 90], not [N, H, W]"),
    "none": ([X[:0], Y[:0], TX, TY], "train_images has the shape [0, 3, 6, 5]"),
    "two sizes": ([X, Y, TX[:, :, :5], TY], "images of different sizes, train_images [20, 3, 6, 5] and test_images [6, 3, 5, 5]"),
    "one class": ([X, Y * 0, TX, TY * 0], "all training images are of one class"),
    "constant": ([X * 0 + 9, Y, TX, TY], "all training images are the same in channel 0; dataset.std=[...]"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays(tmp_path: Path, case: str) -> None:
    values, words = WRONG[case]
    with pytest.raises(DataError) as caught:
        found(write(tmp_path / "a.npz", values)).source()
    assert str(caught.value).startswith(f"dataset.file={tmp_path}/a.npz: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


class Trap:
    """Makes a file where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return Path.touch, (self.folder / "sprung",)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trap = np.array([Trap(tmp_path)] * 20)
    path = write(tmp_path / "a.npz", [X, trap, TX, TY])
    with pytest.raises(DataError, match="is object"):
        found(path).source()
    path.write_bytes(pickle.dumps(Trap(tmp_path)))
    with pytest.raises(DataError, match=r"not a file that numpy\.savez wrote"):
        found(path).source()
    assert not (tmp_path / "sprung").exists()


def test_wrong_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", [X, Y, TX, TY])
    whole = path.read_bytes()
    np.save(tmp_path / "one.npy", X)
    np.savez(tmp_path / "names.npz", x=X, y=Y)
    path.write_bytes(whole[:2000])
    (tmp_path / "flipped.npz").write_bytes(whole[:1000] + bytes([whole[1000] ^ 255]) + whole[1001:])
    for file, words in [
        (path, "not a file that numpy.savez wrote, or a damaged one"),
        (tmp_path / "one.npy", "not a file that numpy.savez wrote"),
        (tmp_path / "flipped.npz", "damaged one (Bad CRC-32"),
        (tmp_path / "names.npz", "or x_train, y_train, x_test, y_test, has x, y"),
        (tmp_path / "nowhere.npz", "there is no such file"),
        (tmp_path, "there is no such file"),
    ]:
        with pytest.raises(DataError) as caught:
            found(file).source()
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"dataset\.file=null must be an \.npz file with train_images"):
        make("arrays").check_files()
