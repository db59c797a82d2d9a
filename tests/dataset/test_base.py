from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.utils.data import random_split

from bimp_exp.config.signatures import parameters
from bimp_exp.dataset.base import Dataset
from bimp_exp.dataset.images import Images, Source, identify
from bimp_exp.errors import ConfigError, DataError
from tests.conftest import ROOT
from tests.dataset.helpers import CPU, make

NAMES = sorted(path.stem for path in (ROOT / "conf" / "dataset").glob("*.yaml"))


def synthetic(**changes: object) -> Dataset:
    return make("synthetic", **({"num_train_images": 203, "num_test_images": 30, "image_shape": [3, 8, 8]} | changes))


@pytest.mark.parametrize("name", NAMES)
def test_configuration_names_every_parameter(name: str) -> None:
    values = yaml.safe_load((ROOT / "conf" / "dataset" / f"{name}.yaml").read_text())
    target, _ = values.pop("_target_"), values.pop("defaults", None)
    assert values.keys() == parameters(target).keys()
    try:
        make(name).check()
    except ConfigError as error:  # where the items are counted in files
        if not re.match(r"dataset\.(root|file|tokenizer)=null ", str(error)):
            raise


@pytest.mark.parametrize(
    "module", ["base", "images", "cifar", "digits", "digit_scenes", "imagenet", "number_words", "synthetic"]
)
def test_the_planner_need_not_load_pytorch(module: str) -> None:
    code = f"import sys, bimp_exp.dataset.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert f"bimp_exp.dataset.{module}" in loaded
    assert not loaded & {"torch", "torchvision", "sklearn", "pyarrow", "PIL"}


def test_split_is_that_of_random_split() -> None:
    dataset = synthetic()
    source, data = dataset.read(), dataset.load(CPU)
    first, rest = random_split(range(203), [182, 21], generator=torch.Generator().manual_seed(42))  # int(.9 * 203)
    assert dataset.num_fit_items == len(data.train) == 182
    for split, index in ((data.train, list(first)), (data.validation, list(rest))):
        assert np.array_equal(split.images.numpy(), source.train.images[index])
        assert split.labels.tolist() == source.train.labels[index].tolist()
    assert np.array_equal(data.test.images.numpy(), source.test.images)


def test_subset_is_the_start_of_the_same_permutation() -> None:
    whole, part = synthetic().load(CPU), synthetic(subset=50).load(CPU)
    assert (len(part.train), len(part.validation), len(part.test)) == (45, 5, 30)
    used = torch.cat([part.train.images, part.validation.images])
    assert torch.equal(used, whole.train.images[:50])


def test_fingerprint_names_content_and_split_and_nothing_else() -> None:
    base = synthetic().load(CPU).fingerprint
    assert synthetic(crop_padding=0, flip=False, mean=[0, 0, 0]).load(CPU, augment_validation=True).fingerprint == base
    changes = [{"subset": 203}, {"validation_fraction": 0.2}, {"split_seed": 1}, {"seed": 1}, {"noise": 0.1}]
    others = {synthetic(**change).load(CPU).fingerprint for change in changes}
    assert len(others | {base}) == 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_shape": [3, 8]}, "dataset.image_shape=[3, 8] must be [channels, height, width]"),
        ({"mean": [0.5]}, "dataset.mean must have 3 values"),
        ({"std": [0.5] * 4}, "dataset.std must have 3 values, one per channel, not 4"),
        ({"crop_padding": 8}, "dataset.crop_padding=8 must be less than 8"),
        ({"rotation": 181}, "dataset.rotation=181 must be in [0, 180]"),
        ({"subset": 204}, "dataset.subset=204 must be at most dataset.num_train_images=203"),
        ({"subset": 1}, "dataset.validation_fraction=0.1 of 1 images leaves none to train on"),
        ({"validation_fraction": 1e-17}, "leaves none to validate on"),
    ],
)
def test_values_that_do_not_fit(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        synthetic(**changes).check()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_channels_of_files_are_those_pillow_makes() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.image_shape=\[2, 8, 8\] must have 1 or 3 channels"):
        make("cifar10", image_shape=[2, 8, 8], mean=[0.5] * 2, std=[0.5] * 2).check()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_train_images": 1500}, "1437 training images, but dataset.num_train_images=1500"),
        ({"num_test_images": 300}, "360 test images, but dataset.num_test_images=300"),
        ({"num_classes": 9}, "training label 9 is not in 0..8 (dataset.num_classes=9)"),
    ],
)
def test_facts_are_checked_against_the_data(changes: dict[str, object], words: str) -> None:
    with pytest.raises(DataError) as caught:
        make("digits", **changes).load(CPU)
    assert words in str(caught.value)


def test_shape_is_checked_against_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = synthetic(num_train_images=20, num_test_images=10)
    flat = [Images(images=np.zeros((n, 3, 8, 9), np.uint8), labels=np.zeros(n, np.int64)) for n in (20, 10)]
    source = Source(train=flat[0], test=flat[1], identity="")
    monkeypatch.setattr(type(dataset), "read", lambda self: source)
    with pytest.raises(DataError, match=r"shape \[3, 8, 9\], but dataset.image_shape=\[3, 8, 8\]"):
        dataset.load(CPU)


def test_digits() -> None:
    dataset = make("digits")
    source, data = dataset.read(), dataset.load(CPU)
    assert (len(data.train), len(data.validation), len(data.test)) == (1293, 144, 360)
    assert data.train.images.shape[1:] == (1, 8, 8)
    both = np.concatenate([source.train.images, source.test.images])
    assert len(both) == 1797
    assert set(np.unique(both)) == {round(255 * grey / 16) for grey in range(17)}
    counts = np.bincount(source.test.labels)
    share = np.bincount(np.concatenate([source.train.labels, source.test.labels])) * 360 / 1797
    assert (np.abs(counts - share) < 1).all()  # stratified
    values = source.train.images / 255
    assert [round(values.mean(), 4), round(values.std(), 4)] == [*dataset.mean, *dataset.std]
    assert dataset.read().identity == source.identity


def test_synthetic_images_can_be_learnt_and_repeated() -> None:
    dataset = synthetic(num_train_images=600, num_test_images=200)
    source = dataset.read()
    means = np.stack([source.train.images[source.train.labels == c].mean(0) for c in range(10)])
    distance = ((source.test.images[:, None] - means) ** 2).sum((2, 3, 4))
    assert (distance.argmin(1) == source.test.labels).mean() > 0.95
    assert np.bincount(source.train.labels).tolist() == [60] * 10
    assert not np.array_equal(source.train.images[:10], source.test.images[:10])
    assert dataset.read().identity == source.identity


def test_identity_sees_every_byte() -> None:
    images, labels = np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, np.int64)
    base = identify(Images(images=images, labels=labels))
    changed = images.copy()
    changed[1, 0, 1, 1] = 1
    assert identify(Images(images=changed, labels=labels)) != base
    assert identify(Images(images=images.reshape(2, 1, 1, 4), labels=labels)) != base
    assert identify(Images(images=images, labels=labels + 1)) != base


def test_no_path_of_a_machine_in_the_configuration() -> None:
    for name in NAMES:
        values = yaml.safe_load((ROOT / "conf" / "dataset" / f"{name}.yaml").read_text())
        assert not [v for v in values.values() if isinstance(v, str) and Path(v).is_absolute()]
