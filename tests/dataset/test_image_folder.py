"""Folders and parquet of images whose facts are not typed: what is read is what was written, and what is wrong is one line."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from bimp_exp.dataset import folders
from bimp_exp.dataset.folders import Items
from bimp_exp.dataset.found import statistics
from bimp_exp.dataset.image_folder import ImageFolder
from bimp_exp.errors import ConfigError, DataError
from tests.dataset.helpers import (
    CLASSES,
    CPU,
    contents,
    encoded,
    make,
    pixels,
    small,
    write_folders,
    write_parquet,
    write_parquets,
)

TRAIN, TEST = pixels(20, 0), pixels(6, 1)


def found(root: Path, **changes: Any) -> ImageFolder:
    dataset = make("image_folder", root=str(root), cache=str(root.parent / "cache"), **changes)
    assert isinstance(dataset, ImageFolder)
    return dataset


def save(path: Path, image: np.ndarray | Image.Image) -> None:
    """An array is [C, H, W]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, Image.Image):
        image.save(path)
    else:
        path.write_bytes(encoded(image))


@pytest.mark.parametrize("write", [write_folders, write_parquets])
@pytest.mark.parametrize("name", ["test", "val", "validation"])
def test_the_same_images_as_a_data_set_whose_facts_are_typed(
    tmp_path: Path, write: Callable[..., None], name: str
) -> None:
    root = tmp_path / "data"
    write(root, TRAIN, TEST)
    typed = contents(small(root).load(CPU))
    for test in root.glob("test*"):
        test.rename(test.with_name(test.name.replace("test", name)))
    dataset = found(root)
    assert dataset.facts == {"image_shape": (3, 32, 32), "num_classes": 3}
    assert (dataset.counts(), dataset.num_fit_items) == ((20, 6), 18)
    data = dataset.load(CPU)
    assert contents(data) == typed
    assert np.allclose(data.mean, TRAIN.mean((0, 2, 3)) / 255)
    assert np.allclose(data.std, TRAIN.std((0, 2, 3)) / 255)
    assert dataset.found.get("class_names") == (CLASSES if write is write_folders else None)
    assert dataset.found["num_test_images"] == 6
    assert dataset.found["std"] == list(data.std)


def test_the_number_of_images_is_known_without_decoding_one(tmp_path: Path) -> None:
    write_folders(tmp_path / "data", TRAIN, TEST)
    for file in (tmp_path / "data").rglob("*.png"):
        file.write_bytes(b"not an image")
    assert found(tmp_path / "data").num_fit_items == 18
    with pytest.raises(DataError, match=r"train/ant/000\.png: not a readable image"):
        found(tmp_path / "data").source()


def test_a_fraction_of_each_class_is_for_testing_the_same_wherever_the_data_lie(tmp_path: Path) -> None:
    """Of 7, 7 and 6 images of a class a fifth each is 1; an image that comes moves no other out of the test."""
    for root in (tmp_path / "one", tmp_path / "other"):
        write_folders(root, TRAIN, TEST)
    roots = [tmp_path / "one" / "train", tmp_path / "other" / "train"]
    one, other = (found(root, test_fraction=0.2) for root in roots)
    assert one.counts() == (17, 3)
    assert sorted(one.source().test.labels.tolist()) == [0, 1, 2]
    assert one.load(CPU).fingerprint == other.load(CPU).fingerprint
    both = contents(one.load(CPU))
    assert len({image for image, _ in both}) == 20  # none is in two parts
    before = found(roots[0], test_fraction=0.5).source().test.images
    save(roots[0] / "ant" / "new.png", pixels(1, 9)[0])
    after = found(roots[0], test_fraction=0.5).source().test.images
    assert len({image.tobytes() for image in before} - {image.tobytes() for image in after}) <= 1


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.05, 0.95))
def test_every_class_is_divided_alike(labels: list[int], fraction: float) -> None:
    names = [str(i) for i in range(len(labels))]
    items = Items(keys=names, names=names, labels=labels, encoded=lambda: (name.encode() for name in names))
    train, test = folders._divided(items, fraction)
    for kind in set(labels):
        assert test.labels.count(kind) == round(fraction * labels.count(kind))
    assert sorted([*train.names, *test.names]) == sorted(names)
    for part in (train, test):
        assert [one.decode() for one in part.encoded()] == part.names
        assert part.labels == [labels[int(name)] for name in part.names]


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))))
def test_mean_and_standard_deviation_are_those_of_numpy(images: np.ndarray) -> None:
    mean, std = statistics(images)
    assert np.allclose(mean, (images / 255).mean((0, 2, 3)))
    assert np.allclose(std, (images / 255).std((0, 2, 3)), atol=1e-7)


def test_statistics_do_not_depend_on_how_many_images_are_added_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pixels(50, 3)
    whole = statistics(images)
    monkeypatch.setattr("bimp_exp.dataset.found.AT_ONCE", 7)
    assert statistics(images) == whole


def test_images_of_several_sizes_and_kinds(tmp_path: Path) -> None:
    """The shorter side becomes 8 pixels; what is grey, transparent, in a palette or CMYK becomes RGB beside colour."""
    colour = Image.fromarray(np.full((12, 24, 3), (200, 100, 50), np.uint8))
    for part in ("train", "test"):
        for i, (mode, size) in enumerate(
            [("RGB", (24, 12)), ("RGBA", (8, 8)), ("P", (9, 30)), ("L", (50, 20)), ("LA", (8, 9)), ("1", (10, 10))]
        ):
            save(tmp_path / "data" / part / "ab"[i % 2] / f"{i}.png", colour.resize(size).convert(mode))
    with pytest.raises(DataError, match=r"pixels, but .* has .*; dataset\.resize=SIDE makes all of one size") as caught:
        found(tmp_path / "data").source()
    assert "\n" not in str(caught.value)
    source = found(tmp_path / "data", resize=8).source()
    assert source.train.images.shape == (6, 3, 8, 8)
    assert source.train.images[0, :, 4, 4].tolist() == [200, 100, 50]
    grey = source.train.images[4]  # a: RGB, P, LA; b: RGBA, L, 1
    assert grey[0].tolist() == grey[1].tolist() == [[124] * 8] * 8  # 0.299 R + 0.587 G + 0.114 B
    assert source.train.images[3, :, 4, 4].tolist() == [200, 100, 50]
    assert found(tmp_path / "data", resize=8, image_shape=[1, 8, 6]).source().test.images.shape == (6, 1, 8, 6)


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for kind in "ab":
            save(tmp_path / "data" / part / kind / "x.png", Image.new("L", (5, 4), ord(kind)))
    source = found(tmp_path / "data").source()
    assert source.train.images.shape == (2, 1, 4, 5)
    assert source.train.images[:, 0, 0, 0].tolist() == [ord("a"), ord("b")]


def test_values_of_16_bits_are_refused(tmp_path: Path) -> None:
    """Pillow would make white of all that is above 255."""
    write_folders(tmp_path / "data", TRAIN, TEST)
    stream = io.BytesIO()
    Image.fromarray(np.full((32, 32), 3000, np.uint16)).save(stream, "PNG")
    (tmp_path / "data" / "train" / "bee" / "001.png").write_bytes(stream.getvalue())
    for dataset in (found(tmp_path / "data"), found(tmp_path / "data", resize=16), small(tmp_path / "data")):
        with pytest.raises(DataError, match=r"bee/001\.png: .*more than 8 bits for a value.*: convert it to 8 bits"):
            dataset.source()


def test_odd_names_are_names_and_hidden_ones_are_not_there(tmp_path: Path) -> None:
    names = ["-x", "chat é", "a=b,c", "鳥", "n'1\""]
    root = tmp_path / "odd [data]* x=1"
    for part in ("train", "test"):
        for i, name in enumerate(names):
            save(root / part / name / "1 2.PNG", pixels(1, i)[0])
            (root / part / name / "._1.png").write_bytes(b"of a Mac")
            (root / part / name / "notes.txt").write_bytes(b"no image")
        save(root / part / ".thumbnails" / "1.png", pixels(1, 9)[0])
    (root / "README.md").write_text("about the data")
    dataset = found(root)
    assert dataset.found["class_names"] == sorted(names)
    assert dataset.counts() == (5, 5)


def test_what_is_set_is_compared_or_used(tmp_path: Path) -> None:
    write_folders(tmp_path / "data", TRAIN, TEST)
    data = found(tmp_path / "data", mean=[0.5] * 3, num_classes=3, num_train_images=20, image_shape=[3, 32, 32]).load(
        CPU
    )
    assert data.mean == (0.5, 0.5, 0.5)
    assert np.allclose(data.std, TRAIN.std((0, 2, 3)) / 255)
    for changes, words in [
        ({"num_classes": 4}, "only 3 classes are among the training images, but dataset.num_classes=4"),
        ({"num_classes": 2}, "training label 2 is not in 0..1 (dataset.num_classes=2)"),
        ({"num_test_images": 7}, "6 test images, but dataset.num_test_images=7"),
        ({"image_shape": [3, 32, 30]}, "32 x 32 pixels, but dataset.image_shape says 30 x 32"),
        ({"image_shape": [2, 32, 32]}, "dataset.image_shape=[2, 32, 32] must have 1 or 3 channels"),
        ({"image_shape": [3, 32]}, "dataset.image_shape=[3, 32] must be [channels, height, width]"),
        ({"mean": [0.5]}, "dataset.mean must have 3 values, one per channel, not 1"),
        ({"crop_padding": 32}, "dataset.crop_padding=32 must be less than 32"),
        ({"image_shape": [3, 32, 32], "resize": 30}, "dataset.resize=30 must be at least 32"),
        ({"test_fraction": 0.1}, "leave it null, dataset.root="),
    ]:  # fmt: skip
        with pytest.raises((ConfigError, DataError)) as caught:
            found(tmp_path / "data", **changes).source()
        assert words in str(caught.value)
    with pytest.raises(
        ConfigError, match=r"dataset\.subset=21 must be at most 20, the training images in dataset\.root="
    ):
        _ = found(tmp_path / "data", subset=21).num_fit_items


def rename(old: str, new: str) -> Callable[[Path], Any]:
    return lambda root: (root / old).rename(root / new)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda root: (root / "train" / "dog").mkdir(), "train/dog: a class without images (.bmp, "),
        (rename("test/bee", "test/bees"), "test/bees: a class without training images"),
        (rename("train", "training"), "has test/ but no train/"),
        (rename("test", "tests"), "nothing there is for testing; dataset.test_fraction=0.2 tests on a fifth of each class"),
        (lambda root: (root / "train" / "bee" / "more").mkdir(), "train/bee/more: a folder in a class folder"),
        (lambda root: (root / "train" / "bee" / "001.png").write_bytes(b""), "train/bee/001.png: not a readable image"),
    ],
)  # fmt: skip
def test_damaged_folders(tmp_path: Path, damage: Callable[[Path], Any], words: str) -> None:
    write_folders(tmp_path / "data", TRAIN, TEST)
    damage(tmp_path / "data")
    with pytest.raises((ConfigError, DataError)) as caught:
        found(tmp_path / "data").source()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_little_is_said(tmp_path: Path) -> None:
    for root, words in [("none", "there is no such folder"), ("", "has none of {train,test}/CLASS/")]:
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DataError, match=words):
            found(tmp_path / "empty" / root).check_files()
    with pytest.raises(ConfigError, match=r"dataset\.root=null must be a folder"):
        make("image_folder").check_files()
    save(tmp_path / "one" / "only" / "1.png", TRAIN[0])
    with pytest.raises(DataError, match="leaves no images to test on"):
        found(tmp_path / "one", test_fraction=0.2).check_files()
    for i in range(9):
        save(tmp_path / "one" / "only" / f"{i}.png", TRAIN[i])
    with pytest.raises(DataError, match="all training images are of one class"):
        found(tmp_path / "one", test_fraction=0.2).source()
    for part in ("train", "test"):
        for kind in "ab":
            save(tmp_path / "flat" / part / kind / "1.png", np.full((3, 4, 4), 7, np.uint8))
    with pytest.raises(DataError, match="all training images are the same in channel 0"):
        found(tmp_path / "flat").source()


def test_published_tests_without_labels_are_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_parquets(root, TRAIN, TEST)
    (root / "test.parquet").rename(root / "validation.parquet")
    write_parquet(root / "test.parquet", [encoded(image) for image in TEST], [-1] * 6)
    assert found(root).source().test.labels.tolist() == [0, 1, 2, 0, 1, 2]
