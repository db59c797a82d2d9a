from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets

from bimp_exp.dataset import sources
from bimp_exp.errors import ConfigError, DataError
from tests.conftest import SHARED, real_cifar10
from tests.dataset import helpers
from tests.dataset.helpers import CPU, contents, encoded, make, pixels, small

TRAIN, TEST = pixels(20, 0), pixels(6, 1)
Writer = Callable[[Path, np.ndarray, np.ndarray], None]
WRITERS: list[Writer] = [helpers.write_batches, helpers.write_parquets, helpers.write_folders]


def failure(kind: type[Exception], action: Callable[[], Any]) -> str:
    with pytest.raises(kind) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("write", WRITERS)
def test_every_layout_gives_the_images_that_were_written(tmp_path: Path, write: Writer) -> None:
    root = tmp_path / "root"
    write(root, TRAIN, TEST)
    data = small(root).load(CPU)
    expected = [(image.tobytes(), i % 3) for part in (TRAIN, TEST) for i, image in enumerate(part)]
    assert contents(data) == sorted(expected)
    assert sorted(i.tobytes() for i in data.test.images.numpy()) == sorted(i.tobytes() for i in TEST)


def test_real_torchvision_reads_what_we_call_its_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helpers.write_batches(tmp_path / "root", TRAIN, TEST)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_load_meta", lambda self: None)
    theirs = torchvision.datasets.CIFAR10(tmp_path / "root", train=True)
    ours = small(tmp_path / "root").read().train
    assert np.array_equal(ours.images, theirs.data.transpose(0, 3, 1, 2))
    assert ours.labels.tolist() == theirs.targets


def test_file_names_are_torchvisions() -> None:
    for variant, theirs in (
        ("cifar10", torchvision.datasets.CIFAR10),
        ("cifar100", torchvision.datasets.CIFAR100),
    ):
        for part, listed in (("train", theirs.train_list), ("test", theirs.test_list)):
            assert sources.BATCHES[variant][part] == [f"{theirs.base_folder}/{name}" for name, _ in listed]


def test_a_shard_that_is_left_out_is_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    helpers.write_parquets(root, TRAIN, TEST)
    (root / "train.parquet").rename(root / "train-00001-of-00002.parquet")
    (root / "test.parquet").rename(root / "test-00000-of-00001.parquet")
    message = failure(DataError, small(root).check_files)
    assert message.endswith("train-00000-of-00002.parquet is missing")


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    for layout in ("torchvision", "parquet"):
        root = tmp_path / layout
        for name, images in (("train", TRAIN), ("test", TEST)):
            fine = [i % 3 for i in range(len(images))]
            if layout == "torchvision":
                batch = {
                    "data": images.reshape(len(images), -1),
                    "fine_labels": fine,
                    "coarse_labels": [9] * len(fine),
                }
                (root / "cifar-100-python").mkdir(parents=True, exist_ok=True)
                (root / "cifar-100-python" / name).write_bytes(pickle.dumps(batch, protocol=2))
            else:
                file = root / f"{name}-00000-of-00001.parquet"
                helpers.write_parquet(file, [encoded(i) for i in images], fine, label="fine_label")
        source = small(root, variant="cifar100").read()
        assert np.array_equal(source.train.images, TRAIN)
        assert source.train.labels.tolist() == [i % 3 for i in range(20)]


def test_shards_in_a_data_folder_are_read_in_order(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for k, part in enumerate(np.array_split(np.arange(20), 3)):
        file = root / "data" / f"train-0000{k}-of-00003.parquet"
        helpers.write_parquet(file, [encoded(TRAIN[i]) for i in part], [int(i) % 3 for i in part])
    helpers.write_parquet(root / "data" / "test-00000-of-00001.parquet", [encoded(i) for i in TEST], [0] * 6)
    assert np.array_equal(small(root).read().train.images, TRAIN)


def test_grey_images(tmp_path: Path) -> None:
    helpers.write_folders(tmp_path / "root", TRAIN, TEST)
    grey = {"image_shape": [1, 32, 32], "mean": [0.5], "std": [0.5]}
    assert small(tmp_path / "root", **grey).load(CPU).train.images.shape == (18, 1, 32, 32)
    assert small(tmp_path / "root").load(CPU).train.images.shape == (18, 3, 32, 32)  # not the grey ones again


def test_root_must_be_set() -> None:
    words = failure(ConfigError, make("cifar10").check_files)
    assert words.startswith("dataset.root=null must be a folder with one of cifar-10-batches-py/")
    assert "train,test}.parquet" in words
    assert failure(ConfigError, lambda: make("cifar100", download=True).load(CPU)).count("cifar-100-python/") == 1


def test_files_are_looked_for_before_anything_is_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert "there is no such folder" in failure(DataError, small(root).check_files)
    root.mkdir()
    assert "has none of cifar-10-batches-py/" in failure(DataError, small(root).check_files)
    helpers.write_batches(root, TRAIN, TEST)
    (root / "cifar-10-batches-py" / "data_batch_3").unlink()
    assert failure(DataError, small(root).check_files).endswith("data_batch_3 is missing")
    shutil.rmtree(root / "cifar-10-batches-py")
    helpers.write_parquets(root, TRAIN, TEST)
    (root / "test.parquet").unlink()
    assert failure(DataError, small(root).check_files).endswith("test.parquet is missing")
    (root / "train.parquet").unlink()
    helpers.write_folders(root, TRAIN, TEST)
    (root / "test").rename(root / "val")
    assert failure(DataError, small(root).check_files).endswith("test is missing")


def spoil(file: Path, start: int, new: bytes) -> None:
    content = bytearray(file.read_bytes())
    content[start : start + len(new)] = new
    file.write_bytes(content)


def test_damaged_batches(tmp_path: Path) -> None:
    root = tmp_path / "root"
    helpers.write_batches(root, TRAIN, TEST)
    file = root / "cifar-10-batches-py" / "data_batch_2"
    whole = file.read_bytes()

    def words() -> str:
        return failure(DataError, small(root).read)

    file.write_bytes(whole[: len(whole) // 2])
    assert f"{file}: not a CIFAR batch" in words()
    file.write_bytes(b"<html>404</html>")
    assert f"{file}: not a CIFAR batch" in words()
    file.write_bytes(pickle.dumps({"data": np.zeros((2, 3072), np.uint8)}, protocol=2))
    assert f"{file}: not a CIFAR batch ('labels')" in words()
    file.write_bytes(pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, protocol=2))
    assert "data and labels do not match" in words()
    file.write_bytes(pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 3]}, protocol=2))
    assert words() == f"{file}: row 1: label 3 is not in 0..2 (dataset.num_classes=3)"
    file.write_bytes(pickle.dumps({"data": np.zeros((1, 768), np.uint8), "labels": [0]}, protocol=2))
    assert words() == f"{file}: 768 values an image, but dataset.image_shape is 3 x 32 x 32"


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    root = tmp_path / "root"
    helpers.write_batches(root, TRAIN, TEST)
    (root / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(print))
    assert "builtins.print is not part of an array" in failure(DataError, small(root).read)


def test_damaged_parquet(tmp_path: Path) -> None:
    root = tmp_path / "root"
    file = root / "train.parquet"
    images: list[bytes | None] = [encoded(i) for i in TRAIN]
    helpers.write_parquets(root, TRAIN, TEST)

    def words(images: list[bytes | None], labels: list[int | None], **more: str) -> str:
        helpers.write_parquet(file, images, labels, **more)
        return failure(DataError, small(root).read)

    zeros: list[int | None] = [0] * 20
    assert words([*images[:7], b"no image", *images[8:]], zeros).startswith(f"{file}: row 7: not a readable image")
    cut = (images[7] or b"")[:2000]
    assert words([*images[:7], cut, *images[8:]], zeros).startswith(f"{file}: row 7: not a readable image")
    assert words([*images[:7], None, *images[8:]], zeros) == f"{file}: row 7: no image bytes"
    assert words(images, [*zeros[:19], None]) == f"{file}: row 19: no label"
    assert words(images, [*zeros[:19], -1]).startswith(f"{file}: row 19: label -1 is not in 0..2")
    wide = encoded(pixels(1, 0, (3, 32, 40))[0])
    assert words([wide, *images[1:]], zeros) == f"{file}: row 0: 40 x 32 pixels, but dataset.image_shape says 32 x 32"
    assert "needs a struct column with 'bytes'" in words(images, zeros, label="coarse_label")
    assert words([], []) == f"{file}: has no rows"
    file.write_bytes(b"PAR1")
    assert f"{file}: not a parquet file" in failure(DataError, small(root).read)
    helpers.write_parquet(file, images, zeros)
    spoil(file, 40, b"\xff" * 3000)
    assert str(file) in failure(DataError, small(root).read)


def test_damaged_folders(tmp_path: Path) -> None:
    root = tmp_path / "root"
    helpers.write_folders(root, TRAIN, TEST)
    (root / "train" / ".hidden").mkdir()
    (root / "train" / "ant" / "notes.txt").write_text("not an image")
    small(root).read()
    image = root / "test" / "bee" / "001.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    assert failure(DataError, small(root).read).startswith(f"{image}: not a readable image")
    image.write_bytes(whole)
    assert "3 class folders, but dataset.num_classes=4" in failure(DataError, small(root, num_classes=4).read)
    (root / "test" / "dog").mkdir()
    (root / "test" / "dog" / "000.png").write_bytes(whole)
    assert "the class folder dog is not both in test and in training" in failure(DataError, small(root).read)


def test_number_of_images_is_checked(tmp_path: Path) -> None:
    root = tmp_path / "root"
    helpers.write_parquets(root, TRAIN, TEST)
    words = failure(DataError, lambda: small(root, num_train_images=50000).load(CPU))
    assert words == f"dataset.root={root}: 20 training images, but dataset.num_train_images=50000"


def test_download_is_torchvisions_and_fails_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"

    def no_network(self: Any, folder: Path, download: bool) -> None:
        raise OSError("<urlopen error no route to host>\nmore")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "__init__", no_network)
    words = failure(DataError, lambda: small(root, download=True).load(CPU))
    assert "dataset.download: cifar10 could not be fetched" in words
    assert "no route to host" in words

    def network(self: Any, folder: Path, download: bool) -> None:
        assert download
        helpers.write_batches(folder, TRAIN, TEST)

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "__init__", network)
    assert len(small(root, download=True).load(CPU).test) == 6
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "__init__", no_network)
    assert len(small(root, download=True).load(CPU).test) == 6  # what is there is not fetched again


@real_cifar10
def test_the_real_cifar10(tmp_path: Path) -> None:
    dataset = make("cifar10", root=str(SHARED / "data" / "cifar10"), cache=str(tmp_path))
    source = dataset.read()
    assert source.train.images.shape == (50_000, 3, 32, 32)
    assert np.bincount(source.train.labels).tolist() == [5_000] * 10
    assert np.bincount(source.test.labels).tolist() == [1_000] * 10
    mean = source.train.images.mean((0, 2, 3)) / 255
    assert mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-3)
    data = dataset.load(CPU)
    assert (len(data.train), len(data.validation), len(data.test)) == (45_000, 5_000, 10_000)
