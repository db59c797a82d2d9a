from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bimp_exp.dataset.augment import Augmentation
from bimp_exp.dataset.data import ImageData, Split
from tests.dataset.helpers import CPU, make


def numbered(count: int, **changes: object) -> ImageData:
    """Training image i is 2x2 pixels of i with label i; mean 0 and std 1/255 leave pixels as they are."""

    def split(first: int, n: int) -> Split:
        labels = torch.arange(first, first + n)
        return Split(images=labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(), labels=labels)

    nothing = Augmentation(crop_padding=0, flip=False, rotation=0)
    data = ImageData(
        train=split(0, count), validation=split(100, 5), test=split(200, 5), num_classes=255, fingerprint="f",
        mean=(0.0,), std=(1 / 255,), augmentation=nothing,
    )  # fmt: skip
    return replace(data, **changes)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**32), st.integers(0, 300))
def test_an_epoch_is_a_permutation(count: int, batch_size: int, seed: int, epoch: int) -> None:
    batches = numbered(count).epoch(seed=seed, epoch=epoch, batch_size=batch_size)
    assert len(batches) == math.ceil(count / batch_size)
    sizes = [batch.size for batch in batches]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    x, y = (torch.cat(parts) for parts in zip(*((b.inputs, b.targets) for b in batches), strict=True))
    assert sorted(y.tolist()) == list(range(count))
    assert torch.equal(x[:, 0, 0, 0].round().long(), y)  # images stay with their labels


def test_epochs_and_seeds_differ() -> None:
    data = numbered(50)
    orders = [
        torch.cat([y for _, y, _ in data.epoch(seed=s, epoch=e, batch_size=8)]).tolist()
        for s, e in [(0, 0), (0, 1), (1, 0)]
    ]
    assert len({tuple(order) for order in orders}) == 3


def test_any_batch_at_any_time_has_the_same_bits() -> None:
    data = make("synthetic", num_train_images=100, num_test_images=10, rotation=15).load(CPU)
    whole = list(data.epoch(seed=3, epoch=7, batch_size=16))
    again = data.epoch(seed=3, epoch=7, batch_size=16)
    for i in (5, 0, 3, 3):
        assert torch.equal(again[i][0], whole[i][0])
        assert torch.equal(again[i][1], whole[i][1])
    assert len(whole[5][1]) == 90 - 5 * 16
    other_size = torch.cat([x for x, *_ in data.epoch(seed=3, epoch=7, batch_size=90)])
    assert torch.equal(other_size, torch.cat([x for x, *_ in whole]))
    with pytest.raises(IndexError):
        again[6]


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    data = make("synthetic", num_train_images=100, num_test_images=10, rotation=15).load(CPU, augment_validation=True)
    first = [x for x, *_ in data.epoch(seed=0, epoch=0, batch_size=32)] + [
        x for x, *_ in data.batches(data.validation, 4)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    second = [x for x, *_ in data.epoch(seed=0, epoch=0, batch_size=32)] + [
        x for x, *_ in data.batches(data.validation, 4)
    ]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_normalisation() -> None:
    black_and_white = Split(
        images=torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1),
        labels=torch.zeros(2).long(),
    )
    data = replace(numbered(3), mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0), test=black_and_white)
    ((x, *_),) = data.batches(data.test, 2)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x[:, :, 0, 0], torch.tensor([[-1.0, -1.0, 0.0], [1.0, 3.0, 0.5]]))


def test_padding_is_black_before_normalisation() -> None:
    grey = Split(images=torch.full((200, 1, 4, 4), 128, dtype=torch.uint8), labels=torch.zeros(200).long())
    data = replace(
        numbered(1),
        train=grey,
        mean=(0.5,),
        std=(0.25,),
        augmentation=Augmentation(crop_padding=2, flip=False, rotation=0),
    )
    x, *_ = data.epoch(seed=0, epoch=0, batch_size=200)[0]
    assert x.min().item() == pytest.approx(-2)  # (0 - 0.5) / 0.25; padding after normalising would give 0
    plain, *_ = data.epoch(seed=0, epoch=0, batch_size=200, augment=False)[0]
    assert plain.min() == plain.max()


def test_evaluation_is_plain_in_order_and_whole() -> None:
    data = numbered(11, augmentation=Augmentation(crop_padding=1, flip=True, rotation=15))
    for split in (data.train, data.validation, data.test):
        batches = list(data.batches(split, 4))
        assert torch.equal(torch.cat([batch.targets for batch in batches]), split.labels)
        torch.testing.assert_close(torch.cat([batch.inputs for batch in batches]), split.images.float())
    assert [len(y) for _, y, _ in data.batches(data.train, 4)] == [4, 4, 3]


def test_augmented_validation_is_fixed_and_leaves_the_test_images_plain() -> None:
    data = numbered(11, augmentation=Augmentation(crop_padding=1, flip=True, rotation=0), validation_seed=42)
    first, second = (torch.cat([x for x, *_ in data.batches(data.validation, size)]) for size in (2, 5))
    assert torch.equal(first, second)
    assert not torch.equal(first, data.validation.images.float())
    torch.testing.assert_close(torch.cat([x for x, *_ in data.batches(data.test, 5)]), data.test.images.float())
    other = replace(data, validation_seed=43)
    assert not torch.equal(first, torch.cat([x for x, *_ in other.batches(data.validation, 5)]))


def test_memory_format() -> None:
    dataset = make("synthetic", num_train_images=50, num_test_images=10)
    plain, last = dataset.load(CPU), dataset.load(CPU, memory_format=torch.channels_last)
    for a, b in ((plain.epoch(seed=0, epoch=0, batch_size=8), last.epoch(seed=0, epoch=0, batch_size=8)),
                 (list(plain.batches(plain.test, 8)), list(last.batches(last.test, 8)))):  # fmt: skip
        assert torch.equal(a[0][0], b[0][0])
        assert b[0][0].is_contiguous(memory_format=torch.channels_last)
        assert a[0][0].is_contiguous()
