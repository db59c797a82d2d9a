"""Cityscapes' tree: which labels are read, and as which classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import Cityscapes as Theirs

from bimp_exp.config.build import build
from bimp_exp.dataset import cityscapes
from bimp_exp.dataset.segmented_data import SegmentedData
from bimp_exp.errors import ConfigError, DataError
from bimp_exp.run import plan
from tests.conftest import composed, golden
from tests.dataset.helpers import CPU, make
from tests.dataset.scenes import cityscapes as small
from tests.dataset.scenes import scene, write_cityscapes


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cityscapes(tmp_path_factory.mktemp("tree") / "root")


def load(folder: Path, **changes: Any) -> SegmentedData:
    data = small(folder, **changes).load(CPU)
    assert isinstance(data, SegmentedData)
    return data


def test_label_ids_become_the_classes_of_torchvision() -> None:
    for kind in Theirs.classes:
        if kind.id >= 0:
            assert cityscapes.OF_LABEL_IDS[kind.id] == (kind.train_id if 0 <= kind.train_id < 19 else 255)
    trained = sorted((kind.train_id, kind.name.replace(" ", "_")) for kind in Theirs.classes if 0 <= kind.train_id < 19)
    assert small(Path()).facts["class_names"] == tuple(name for _, name in trained)
    assert set(cityscapes.OF_LABEL_IDS[34:255]) == {254}  # unknown
    assert cityscapes.OF_LABEL_IDS[255] == 255
    assert list(cityscapes.OF_TRAIN_IDS) == [*range(19), *[254] * 236, 255]


@pytest.mark.parametrize("case", golden("tasks", kind="validation_split"))
def test_the_validation_images_are_the_golden_share(case: dict[str, Any]) -> None:
    given, expected = case["inputs"], case["expected"]
    facts = {key: given[key] for key in ("validation_fraction", "split_seed")}
    dataset = make("cityscapes", num_train_images=given["num_train"], **facts)
    assert dataset.num_fit_items == expected["num_fit"]
    assert dataset.num_train_items - dataset.num_fit_items == expected["num_validation"]


@pytest.mark.parametrize("case", golden("tasks", kind="iterations_per_epoch"))
def test_an_epoch_has_the_golden_number_of_steps(case: dict[str, Any]) -> None:
    cfg = composed("budget=imp")
    parts = {name: build(cfg[name]) for name in ("lr", "budget", "schedule")}
    for drops_last, key in ((False, "keep_last"), (True, "drop_last")):
        made = plan.make(
            num_fit_items=case["inputs"]["num_fit"],
            batch_size=case["inputs"]["batch_size"],
            drops_last=drops_last,
            items="images",
            prunes="between phases",
            sparsity=0.5,
            loads_dense=False,
            has_target=True,
            **parts,
        )
        assert made.steps_per_epoch == case["expected"][key]
        if not drops_last:
            assert made.last_batch == case["expected"]["last_batch"]


def test_the_plan_of_the_paper_leaves_a_last_image_out() -> None:
    """2,677 = 223 x 12 + 1: a batch of one image would have batch-norm of a single number."""
    made = plan.from_config(
        composed("dataset=cityscapes", "dataset.num_train_images=2975", "optim.batch_size=12", "budget=imp")
    )
    assert (made.steps_per_epoch, made.last_batch) == (223, 12)


def test_images_have_their_labels_in_both_kinds_of_ids(tree: Path) -> None:
    data = load(tree, mean=[0, 0, 0], std=[1, 1, 1])
    names = [Path(entry.image).name for entry in data.entries]
    assert names == [
        f"{'aachen' if i < 12 else 'bochum' if i < 20 else 'ulm'}_{i:06}_000019_leftImg8bit.png" for i in range(24)
    ]
    assert [entry.mask.endswith("labelTrainIds.png") for entry in data.entries] == [False] * 20 + [True] * 4
    for split in (data.train, data.validation, data.test):
        for number, batch in zip(split.tolist(), data.batches(split, 1), strict=True):
            pixels, classes = scene(number, 20, (64, 32))
            expected = np.where(classes > 0, classes.astype(int) - 1, 255)
            assert np.array_equal(batch.targets[0].numpy(), expected)
            assert np.array_equal((batch.inputs[0, 0] * 255).round().numpy(), pixels[:, :, 0])


def test_labels_keep_their_size_where_images_are_reduced(tree: Path) -> None:
    data = load(tree, resize=[16, 32])
    batch = next(data.batches(data.test, 1))
    assert batch.inputs.shape == (1, 3, 16, 32)
    assert batch.targets.shape == (1, 32, 64)
    assert small(tree, resize=[16, 32]).facts["image_shape"] == (3, 16, 32)
    assert {b.targets.shape for b in data.epoch(seed=0, epoch=0, batch_size=5)} == {(5, 16, 32)}


def test_the_last_smaller_batch_is_left_out_and_others_have_the_same_bits(tree: Path) -> None:
    one, other = load(tree), load(tree, num_workers=2)
    try:
        whole = list(one.epoch(seed=0, epoch=0, batch_size=4))
        assert len(whole) == one.num_batches(4) == 4  # of 18
        for a, b in zip(whole, other.epoch(seed=0, epoch=0, batch_size=4), strict=True):
            assert torch.equal(a.inputs, b.inputs)
            assert torch.equal(a.targets, b.targets)
    finally:
        other.close()


def test_the_fingerprint_tells_which_labels_are_read(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path / "root")
    seen = {load(root).fingerprint, load(root, num_workers=1).fingerprint}
    assert len(seen) == 1
    next((root / "gtFine" / "val" / "ulm").glob("*TrainIds.png")).unlink()
    assert load(root).fingerprint not in seen


def refuses(folder: Path, message: str, kind: type[ValueError] = DataError, **changes: Any) -> None:
    with pytest.raises(kind) as error:  # noqa: PT012
        data = load(folder, **changes)
        for split in (data.train, data.validation, data.test):
            list(data.batches(split, 1))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


NAME = "aachen_000003_000019"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "gtFine").rename(root / "other"), "dataset.root={root}: {root}/gtFine/train is missing; needs "),
        (
            lambda root: (root / "leftImg8bit" / "val").rename(root / "test"),
            "dataset.root={root}: {root}/leftImg8bit/val is missing; needs ",
        ),
        (
            lambda root: (root / f"gtFine/train/aachen/{NAME}_gtFine_labelIds.png").unlink(),
            "aachen/{name}_leftImg8bit.png: has no labels {root}/gtFine/train/aachen/{name}_gtFine_labelIds.png",
        ),
        (
            lambda root: Image.new("L", (64, 32), 40).save(root / f"gtFine/train/aachen/{NAME}_gtFine_labelIds.png"),
            "{name}_gtFine_labelIds.png: the mask has the value 40, which is no class",
        ),
        (
            lambda root: Image.new("L", (32, 64), 7).save(root / f"gtFine/train/aachen/{NAME}_gtFine_labelIds.png"),
            "{name}_gtFine_labelIds.png: the image has 64 x 32 pixels, the mask 32 x 64",
        ),
        (
            lambda root: [file.unlink() for file in (root / "leftImg8bit" / "val" / "ulm").iterdir()],
            "{root}/leftImg8bit/val: no images (CITY/*_leftImg8bit.png)",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_named(change: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path / "root")
    change(root)
    refuses(root, message.format(root=root, name=NAME))


def test_wrong_values_are_refused_in_a_line(tree: Path, tmp_path: Path) -> None:
    refuses(tree, "dataset.root=null must be a folder with leftImg8bit/{train,val}/CITY/", ConfigError, root=None)
    refuses(tree, f"dataset.root={tmp_path}/none: there is no such folder", root=str(tmp_path / "none"))
    refuses(tree, "dataset.crop=[16] must be [height, width]", ConfigError, crop=[16])
    refuses(tree, "dataset.crop=[16, 65] must be at most dataset.resize=[32, 64]", ConfigError, crop=[16, 65])
    refuses(tree, "20 train images, but dataset.num_train_images=2975", num_train_images=2975)
