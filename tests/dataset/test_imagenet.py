"""Images that stay on disk: what is read, in which order, by how many processes, and what is said where they are wrong."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from bimp_exp.dataset import listing, readers, stream, workers
from bimp_exp.dataset.base import Dataset
from bimp_exp.dataset.data import Batch, Batches
from bimp_exp.dataset.stream import Streamed
from bimp_exp.errors import ConfigError, DataError
from tests.dataset.helpers import CPU, write_parquet
from tests.dataset.pictures import CLASSES, NUM_TRAIN, parts, small, write_shards, write_tree

LOADED: list[Streamed] = []  # by the test that runs


@pytest.fixture(autouse=True)
def _several_chunks_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHUNK", 4)


@pytest.fixture(autouse=True)
def _no_worker_stays() -> Iterator[None]:
    yield
    for data in LOADED:
        data.close()
    LOADED.clear()
    assert not multiprocessing.active_children()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("tree") / "root")


def load(root: Path, **changes: object) -> Streamed:
    return loaded(small(root, **changes))


def loaded(dataset: Dataset) -> Streamed:
    data = dataset.load(CPU)
    assert isinstance(data, Streamed)
    LOADED.append(data)
    return data


def same(one: Iterator[Batch] | list[Batch], other: Iterator[Batch] | list[Batch]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return bool(pairs) and all(torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets) for a, b in pairs)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batches_have_the_same_bits_with_any_number_of_workers_and_from_any_start(tree: Path, num_workers: int) -> None:
    alone, helped = load(tree), load(tree, num_workers=num_workers)
    whole = list(alone.epoch(seed=3, epoch=1, batch_size=10))
    assert [batch.size for batch in whole] == [10, 10, 10, 6]
    assert same(list(helped.epoch(seed=3, epoch=1, batch_size=10)), whole)
    middle = helped.epoch(seed=3, epoch=1, batch_size=10)
    assert same([middle[i] for i in (2, 3, 0)], [whole[i] for i in (2, 3, 0)])
    other = helped.epoch(seed=3, epoch=2, batch_size=10)  # takes the workers away, and gives them back
    assert not same([other[0]], [whole[0]])
    assert same(
        [middle[1], other[1], middle[2]], [whole[1], list(alone.epoch(seed=3, epoch=2, batch_size=10))[1], whole[2]]
    )
    for split in ("train", "validation", "test"):
        assert same(*(list(data.batches(getattr(data, split), 7)) for data in (alone, helped)))


def test_a_pass_decodes_nothing_before_the_batch_it_begins_with(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, decoded = load(tree), []
    monkeypatch.setattr(
        workers.Decoder, "__getitem__", lambda self, chunk: decoded.append(len(chunk.requests)) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        data.epoch(seed=0, epoch=0, batch_size=10)[3]
    assert decoded == [4]  # the first chunk of the last batch


def test_the_workers_are_at_the_next_batches_while_one_is_trained_on(tree: Path) -> None:
    data = load(tree, num_workers=2)
    epoch = data.epoch(seed=0, epoch=0, batch_size=5)
    asked: list[int] = []
    request = stream.Stream._request

    def counting(self: stream.Stream, place: int, image: int) -> stream.Request:
        asked.append(place)
        return request(self, place, image)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream.Stream, "_request", counting)
        _ = epoch[2]
    assert asked == list(range(10, 36))  # all of the rest: less than AHEAD


def test_an_epoch_is_a_permutation_whose_labels_stay_with_their_images(tree: Path) -> None:
    data = load(tree, crop_scale=[1, 1], mean=[0, 0, 0], std=[1, 1, 1])  # whole images: brightness tells the class
    x, y, _ = (
        torch.cat(parts) if torch.is_tensor(parts[0]) else parts
        for parts in zip(*data.epoch(seed=0, epoch=0, batch_size=10), strict=True)
    )
    assert torch.equal(y.sort()[0], data.train.labels.sort()[0])
    assert not torch.equal(y, data.train.labels)
    brightness = torch.stack([x[y == label].mean() for label in range(4)]) * 255
    torch.testing.assert_close(brightness, torch.tensor([50.0, 100.0, 150.0, 200.0]), atol=15, rtol=0)
    assert x.shape == (36, 3, 32, 32)
    orders = [
        torch.cat([y for _, y, _ in data.epoch(seed=seed, epoch=epoch, batch_size=36)]).tolist()
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    first, second = (data.epoch(seed=0, epoch=n, batch_size=36, augment=False)[0][0] for n in (0, 1))
    assert torch.equal(first.sum((1, 2, 3)).sort()[0], second.sum((1, 2, 3)).sort()[0])  # the same plain images


def seeds(passed: Batches) -> list[int | None]:
    """Of the augmentation of every image that a pass asks for."""
    assert isinstance(passed, stream.Stream)
    return [request.seed for chunk in passed._chunks(0) for request in chunk.requests]


def test_every_image_of_every_epoch_has_an_augmentation_of_its_own(tree: Path) -> None:
    data = load(tree)
    drawn = [seeds(data.epoch(seed=seed, epoch=epoch, batch_size=10)) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert len({seed for each in drawn for seed in each}) == 3 * 36
    assert seeds(data.epoch(seed=0, epoch=0, batch_size=7)) == drawn[0]  # whatever the batch size
    assert seeds(data.epoch(seed=0, epoch=0, batch_size=10, augment=False)) == [None] * 36


def test_the_split_is_the_one_of_every_family(tree: Path) -> None:
    data = load(tree)
    order = torch.randperm(NUM_TRAIN, generator=torch.Generator().manual_seed(42))
    assert torch.equal(torch.cat([data.train.images, data.validation.images]), order)
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 12)
    labels = torch.tensor([label for _, label in parts()["train"]])
    assert torch.equal(data.train.labels, labels[order[:36]])
    assert data.test.labels.tolist() == [label for _, label in parts()["val"]]


def test_validation_images_are_plain_unless_they_are_to_be_augmented(tree: Path) -> None:
    plain, turned = load(tree), small(tree).load(CPU, augment_validation=True)
    first, second = (list(turned.batches(turned.validation, size)) for size in (4, 4))
    assert same(first, second)
    assert not same(first, list(plain.batches(plain.validation, 4)))
    assert same(list(turned.batches(turned.test, 6)), list(plain.batches(plain.test, 6)))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_global_generator_is_neither_read_nor_moved(tree: Path, num_workers: int) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    data = load(tree, num_workers=num_workers)
    first = list(data.epoch(seed=0, epoch=0, batch_size=10))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert same(list(data.epoch(seed=0, epoch=0, batch_size=10)), first)


def test_memory_format_changes_no_value(tree: Path) -> None:
    plain, last = (small(tree).load(CPU, memory_format=f) for f in (torch.contiguous_format, torch.channels_last))
    x, z = (data.epoch(seed=0, epoch=0, batch_size=8)[0].inputs for data in (plain, last))
    assert torch.equal(x, z)
    assert x.is_contiguous()
    assert z.is_contiguous(memory_format=torch.channels_last)


def test_parquet_has_the_same_images_and_is_copied_once(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, shards = load(tree), load(write_shards(tmp_path / "root"), num_workers=2)
    assert same(list(shards.epoch(seed=0, epoch=0, batch_size=10)), list(folders.epoch(seed=0, epoch=0, batch_size=10)))
    assert same(list(shards.batches(shards.test, 5)), list(folders.batches(folders.test, 5)))
    monkeypatch.setattr(readers, "rows", lambda file: pytest.fail("read again"))
    assert load(tmp_path / "root").fingerprint == shards.fingerprint
    assert not list((tmp_path / "cache").glob(".writing-*"))


def fingerprint(root: Path, **changes: object) -> str:
    return load(root, **changes).fingerprint


def test_the_fingerprint_tells_labels_sizes_names_decoder_and_split(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "root")
    seen = {fingerprint(root), fingerprint(root, num_workers=1)}
    assert len(seen) == 1
    seen |= {fingerprint(root, decoder="torchvision"), fingerprint(root, split_seed=1)}
    assert len(seen) == 3
    image = root / "train" / CLASSES[3] / "train_039.JPEG"
    image = image.rename(root / "train" / CLASSES[2] / image.name)  # another label, and still the last by name
    seen.add(fingerprint(root))
    assert len(seen) == 4
    image.rename(image.with_name("train_039.jpg"))
    seen.add(fingerprint(root))
    assert len(seen) == 5
    file = root / "val" / CLASSES[0] / "val_000.JPEG"
    encoded = file.read_bytes()
    file.unlink()
    file.write_bytes(encoded + b"\0")
    seen.add(fingerprint(root))
    assert len(seen) == 6


def refuses(dataset: Dataset, message: str, kind: type[ValueError] = DataError) -> None:
    """Loading ``dataset``, or the first pass over it, ends with one line that has ``message`` in it."""
    with pytest.raises(kind) as error:  # noqa: PT012
        data = loaded(dataset)
        list(data.epoch(seed=0, epoch=0, batch_size=8))
        list(data.batches(data.test, 8))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path, num_workers: int) -> None:
    root = write_tree(tmp_path / "root")
    file = root / "val" / "n02" / "val_004.JPEG"
    encoded = file.read_bytes()
    file.write_bytes(encoded[: len(encoded) // 2])
    refuses(small(root, num_workers=num_workers), f"{file}: not a readable image (")
    dataset = small(root, num_workers=num_workers)
    data = loaded(dataset)
    file.write_bytes(encoded[: len(encoded) // 3])
    with pytest.raises(DataError, match=rf"^{file}: has changed since it was listed: \d+ bytes, not \d+$"):
        list(data.batches(data.test, 8))
    assert len(list(data.batches(data.validation, 8))) == 1  # the workers are still there


def test_a_row_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    root = write_shards(tmp_path / "root")
    file = root / "data" / "train-00001-of-00002.parquet"
    rows = pq.read_table(file).to_pylist()
    images, labels = [row["img"]["bytes"] for row in rows], [row["label"] for row in rows]
    write_parquet(file, [*images[:7], b"no image", *images[8:]], labels)
    refuses(small(root, subset=None), f"{file}: row 7: not a readable image (")
    write_parquet(file, [*images[:7], None, *images[8:]], labels)
    refuses(small(root), f"{file}: row 7: no image bytes")
    file.write_bytes(file.read_bytes()[:-9])
    refuses(small(root), f"{file}: not a parquet file (")
    file.unlink()
    refuses(small(root), f"dataset.root={root}: {file} is missing")


def test_a_damaged_copy_is_named(tmp_path: Path) -> None:
    root = write_shards(tmp_path / "root")
    pack = Path(load(root).listing.files[0])
    pack.write_bytes(pack.read_bytes()[:-1])
    (root / "data" / "validation-00000-of-00001.parquet").touch()  # so that it is listed anew
    refuses(small(root), f"{pack}: damaged; delete it and its .npz, they will be made again")


def test_wrong_roots_and_values_are_refused_in_a_line(tree: Path, tmp_path: Path) -> None:
    refuses(
        replace(small(tree), root=None),
        "dataset.root=null must be a folder with train/CLASS/ and val/CLASS/",
        ConfigError,
    )
    refuses(small(tmp_path / "none"), "there is no such folder")
    (tmp_path / "half" / "train" / "n01").mkdir(parents=True)
    refuses(small(tmp_path / "half"), "needs train/CLASS/ and val/CLASS/ with images, or {train,val}.parquet")
    (tmp_path / "half" / "val" / "n01").mkdir(parents=True)
    refuses(small(tmp_path / "half"), f"{tmp_path / 'half' / 'train'}: no images (")
    refuses(
        small(tree, num_train_images=41), f"dataset.root={tree}: 40 training images, but dataset.num_train_images=41"
    )
    refuses(small(tree, num_test_images=2), "12 test images, but dataset.num_test_images=2")
    refuses(small(tree, num_classes=3), "training label 3 is not in 0..2 (dataset.num_classes=3)")
    refuses(small(tree, num_classes=5), "only 4 classes are among the training images")
    refuses(small(tree, resize=31), "dataset.resize=31 must be at least 32", ConfigError)
    refuses(small(tree, crop_scale=[0.5]), "dataset.crop_scale=[0.5] must be [lowest, highest]", ConfigError)
    refuses(small(tree, crop_ratio=[2, 1]), "dataset.crop_ratio=[2, 1] must be [lowest, highest]", ConfigError)
    refuses(small(tree, crop_scale=[0.5, 2]), "must be at most 1", ConfigError)
    refuses(small(tree, image_shape=[2, 32, 32], mean=[0, 0], std=[1, 1]), "must have 1 or 3 channels", ConfigError)


def test_a_class_that_is_only_in_one_part_is_named(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "root")
    (root / "val" / "n04").rename(root / "val" / "n05")
    refuses(small(root), f"{root / 'val'}: the class folder n04 is not both in val and in training")


def test_a_worker_that_was_killed_is_told_and_the_next_run_gets_new_ones(tree: Path) -> None:
    data = load(tree, num_workers=2)
    whole = list(data.epoch(seed=0, epoch=0, batch_size=10))
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(DataError, match=r"^dataset.num_workers=2: a process that decodes images was killed; [^\n]+$"):
        list(data.epoch(seed=0, epoch=0, batch_size=10))
    assert same(list(data.epoch(seed=0, epoch=0, batch_size=10)), whole)


def test_greyscale_images_for_a_network_of_one_channel(tree: Path) -> None:
    data = load(tree, image_shape=[1, 32, 32], mean=[0.5], std=[0.25])
    x, *_ = data.epoch(seed=0, epoch=0, batch_size=8)[0]
    assert x.shape == (8, 1, 32, 32)
    assert np.isfinite(x.numpy()).all()


def test_workers_end_with_the_data_and_start_again_for_a_later_pass(tree: Path) -> None:
    data = load(tree, num_workers=2)
    epoch = data.epoch(seed=0, epoch=0, batch_size=10)
    first = epoch[0]
    assert len(multiprocessing.active_children()) == 2
    for _ in range(2):  # the second does nothing
        data.close()
        assert not multiprocessing.active_children()
    assert multiprocessing.forkserver._forkserver._forkserver_pid is None  # type: ignore[attr-defined]
    assert same([epoch[0], epoch[1]], [first, epoch[1]])


def test_a_fork_has_workers_of_its_own_and_leaves_those_of_its_parent(tree: Path) -> None:
    data = load(tree, num_workers=1)
    epoch = data.epoch(seed=0, epoch=0, batch_size=10)
    first = epoch[0]
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = same([epoch[0]], [first])
            data.close()
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(multiprocessing.active_children()) == 1
    assert len(list(epoch)) == 4


def test_a_data_set_lists_its_images_once_and_again_when_there_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_tree(tmp_path / "root")
    num_listed, read = 0, listing.read

    def count(found: listing.EncodedFiles, packs: Path) -> tuple[listing.Listing, listing.Listing]:
        nonlocal num_listed
        num_listed += 1
        return read(found, packs)

    monkeypatch.setattr(listing, "read", count)
    dataset = small(root)
    dataset.source()
    loaded(dataset)
    assert num_listed == 1
    (root / "train" / CLASSES[0] / "train_000.JPEG").rename(root / "train" / CLASSES[0] / "other.JPEG")
    assert loaded(dataset).listing.files != LOADED[0].listing.files
    assert num_listed == 2
