"""COCO's annotations, and folders of masks: what is kept, rasterised and read, and what is said where it is wrong."""

from __future__ import annotations

import json
import multiprocessing
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bimp_exp.dataset import coco_masks
from bimp_exp.dataset.coco import COCO
from bimp_exp.dataset.data import Batch
from bimp_exp.dataset.segmented_data import SegmentedData
from bimp_exp.errors import ConfigError, DataError
from tests.conftest import golden
from tests.dataset.helpers import CPU
from tests.dataset.scenes import NUM_SMALL, NUM_TRAIN, NUM_VAL, coco, scene, write_coco, write_masks

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools'

LOADED: list[SegmentedData] = []  # by the test that runs
KEPT = NUM_TRAIN - NUM_SMALL
FIRST = "000000000000.png"


@pytest.fixture(autouse=True)
def _no_worker_stays() -> Iterator[None]:
    yield
    for data in LOADED:
        data.close()
    LOADED.clear()
    assert not multiprocessing.active_children()


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco(tmp_path_factory.mktemp("annotated") / "root")


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_masks(tmp_path_factory.mktemp("masks") / "root")


def load(folder: Path, *, augment_validation: bool = False, **changes: Any) -> SegmentedData:
    data = coco(folder, **changes).load(CPU, augment_validation=augment_validation)
    assert isinstance(data, SegmentedData)
    LOADED.append(data)
    return data


def same(one: Iterator[Batch] | list[Batch], other: Iterator[Batch] | list[Batch]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return bool(pairs) and all(torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets) for a, b in pairs)


def everything(data: SegmentedData) -> list[Batch]:
    return [
        *data.epoch(seed=0, epoch=0, batch_size=3),
        *(batch for split in (data.train, data.validation, data.test) for batch in data.batches(split, 1)),
    ]


@pytest.mark.parametrize("case", golden("tasks", kind="coco_target"))
def test_targets_and_kept_images_are_the_golden_ones(case: dict[str, Any]) -> None:
    given = case["inputs"]
    known = [each for each in given["annotations"] if each["category_id"] in coco_masks.CLASS_OF]
    objects = [(coco_masks.CLASS_OF[each["category_id"]], each["segmentation"]) for each in known]
    found = coco_masks.target(given["height"], given["width"], objects)
    assert found.tolist() == case["expected"]["target"]
    image = coco_masks.Annotated("", 1, 1, objects, [each["area"] for each in known])
    assert coco_masks.is_kept(image) is case["expected"]["keep_for_training"]


@pytest.mark.parametrize(("area", "kept"), [(1000, False), (1000.5, True)])
def test_an_image_is_kept_with_more_than_a_thousand_pixels(area: float, kept: bool) -> None:
    assert coco_masks.is_kept(coco_masks.Annotated("", 1, 1, [], [area / 2, area / 2])) is kept


def test_a_polygon_of_two_corners_covers_nothing() -> None:
    """pycocotools would take its four numbers for a box."""
    assert not coco_masks.target(8, 8, [(1, [[1, 1, 6, 6]])]).any()
    assert not coco_masks.target(8, 8, [(1, [])]).any()


def test_annotations_and_masks_are_the_same_data(annotated: Path, masks: Path) -> None:
    """Polygons, run lengths and compressed ones; images by rising id, which here is falling name."""
    one, other = load(annotated), load(masks)
    assert (len(one.train), len(one.validation), len(one.test)) == (14, 2, NUM_VAL)
    assert same(everything(one), everything(other))
    numbers = [int(Path(entry.image).stem) for entry in one.entries]
    assert numbers == [*range(KEPT - 1, -1, -1), *range(NUM_TRAIN + NUM_VAL - 1, NUM_TRAIN - 1, -1)]


def test_evaluation_is_image_by_image_and_of_all(annotated: Path) -> None:
    data = load(annotated)
    for split, size in ((data.train, 14), (data.validation, 2), (data.test, NUM_VAL)):
        assert [batch.size for batch in data.batches(split, 5)] == [1] * size
    for entry, batch in zip(data.entries[KEPT:], data.batches(data.test, 1), strict=True):
        width, height = Image.open(entry.image).size
        assert min(batch.inputs.shape[2:]) == 48
        assert batch.inputs.shape[2:] == batch.targets.shape[1:]
        assert (height > width) == (batch.targets.shape[1] > batch.targets.shape[2])


def test_targets_of_original_size_are_the_masks(annotated: Path) -> None:
    data = load(annotated, evaluate_at="original")
    for entry, batch in zip(data.entries[KEPT:], data.batches(data.test, 1), strict=True):
        assert np.array_equal(batch.targets[0].numpy(), scene(int(Path(entry.image).stem))[1])
        assert min(batch.inputs.shape[2:]) == 48
    assert {batch.targets.shape for batch in data.epoch(seed=0, epoch=0, batch_size=3)} == {(3, 32, 32)}


def test_pixels_are_normalised(annotated: Path) -> None:
    plain = load(annotated, mean=[0, 0, 0], std=[1, 1, 1], resize=60)
    other = load(annotated, mean=[0.5, 0.25, 0], std=[1, 2, 0.5], resize=60)
    one, two = (next(data.batches(data.test, 1)).inputs for data in (plain, other))
    shift, scale = torch.tensor([0.5, 0.25, 0]).view(1, 3, 1, 1), torch.tensor([1, 2, 0.5]).view(1, 3, 1, 1)
    torch.testing.assert_close(two, (one - shift) / scale)
    assert 0 < one.max() <= 1


def test_the_last_smaller_batch_of_an_epoch_is_left_out(annotated: Path) -> None:
    data = load(annotated)
    epoch = data.epoch(seed=0, epoch=0, batch_size=4)
    assert [batch.size for batch in epoch] == [4, 4, 4]  # of 14
    assert len(epoch) == data.num_batches(4) == 3
    with pytest.raises(IndexError):
        _ = epoch[3]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batches_have_the_same_bits_with_any_number_of_workers_and_from_any_start(
    annotated: Path, tmp_path: Path, num_workers: int
) -> None:
    alone, helped = load(annotated), load(annotated, num_workers=num_workers, cache=str(tmp_path))  # rasterise, too
    assert helped.fingerprint == alone.fingerprint
    assert same(everything(helped), everything(alone))
    whole = list(alone.epoch(seed=3, epoch=1, batch_size=5))
    middle = helped.epoch(seed=3, epoch=1, batch_size=5)
    assert same([middle[1], middle[0]], [whole[1], whole[0]])
    others = [alone.epoch(seed=seed, epoch=epoch, batch_size=5)[0] for seed, epoch in ((3, 2), (4, 1))]
    assert not any(same([other], whole[:1]) for other in others)


def test_the_split_is_the_one_of_every_family(annotated: Path) -> None:
    data = load(annotated)
    order = torch.randperm(KEPT, generator=torch.Generator().manual_seed(42))
    assert torch.equal(torch.cat([data.train, data.validation]), order)
    assert data.test.tolist() == list(range(KEPT, KEPT + NUM_VAL))
    few = load(annotated, eval_subset=1, subset=12)
    assert torch.equal(few.train, order[:10])
    assert torch.equal(few.train_sample, order[:1])
    assert torch.equal(few.validation, order[10:11])
    assert len(few.test) == NUM_VAL


def test_validation_images_are_plain_unless_they_are_to_be_augmented(annotated: Path) -> None:
    plain, turned = load(annotated), load(annotated, augment_validation=True)
    first, second = (list(turned.batches(turned.validation, 1)) for _ in range(2))
    assert same(first, second)
    assert {batch.targets.shape for batch in first} == {(1, 32, 32)}
    assert same(list(turned.batches(turned.test, 1)), list(plain.batches(plain.test, 1)))


def test_the_first_images_of_a_split_come_one_at_a_time(annotated: Path) -> None:
    data = load(annotated)
    assert same(list(data.first(data.test, 3)), list(data.batches(data.test[:3], 1)))


def test_images_to_train_on_are_counted_once_and_without_rasterising(
    annotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = str(tmp_path / "cache")
    assert coco(annotated, cache=cache).num_train_items == KEPT
    assert not list((tmp_path / "cache").glob("*.masks"))
    monkeypatch.setattr(coco_masks, "read", lambda *_: pytest.fail("read again"))
    assert coco(annotated, cache=cache).num_train_items == KEPT


def test_a_cache_that_cannot_be_written_costs_no_more_than_time(annotated: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    dataset = coco(annotated, cache=str(tmp_path / "cache"))
    assert dataset.num_fit_items == 14
    with pytest.raises(DataError, match=r"^dataset.cache=[^\n]+ cannot keep the prepared data there \([^\n]+\)$"):
        dataset.source()


def test_masks_are_rasterised_once_however_many_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, made = write_coco(tmp_path / "root"), []
    encode = COCO._encode

    def counting(self: COCO, file: Path, images: list[coco_masks.Annotated]) -> Iterator[bytes]:
        made.append(file.name)
        return encode(self, file, images)

    monkeypatch.setattr(COCO, "_encode", counting)
    with ThreadPoolExecutor(4) as several:
        found = list(several.map(lambda _: coco(root).source(), range(4)))
    assert sorted(made) == ["instances_train2017.json", "instances_val2017.json"]
    assert all(each == found[0] for each in found)
    for file in (root / "annotations").iterdir():
        file.write_text(file.read_text())  # another time, the same content
    assert coco(root).source() == found[0]
    assert len(made) == 2
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir() if path.is_file() and path.suffix) == [
        ".masks", ".masks", ".npz", ".npz",
    ]  # fmt: skip


def test_an_interrupted_rasterising_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_coco(tmp_path / "root")
    encode, target = COCO._encode, coco_masks.target
    num_made = 0

    def broken(*arguments: Any) -> np.ndarray:
        nonlocal num_made
        num_made += 1
        if num_made == 5:
            raise KeyboardInterrupt
        return target(*arguments)

    monkeypatch.setattr(coco_masks, "target", broken)
    with pytest.raises(KeyboardInterrupt):
        coco(root).source()
    assert not list((tmp_path / "cache").glob("*.masks"))
    assert not list((tmp_path / "cache").glob(".writing-*"))
    monkeypatch.setattr(coco_masks, "target", target)
    assert encode is COCO._encode
    assert len(coco(root).source()[0].entries) == KEPT


def test_damaged_masks_in_the_cache_are_named(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "root")
    coco(root).source()
    pack = next((tmp_path / "cache").glob("*.masks"))
    pack.write_bytes(pack.read_bytes()[:-1])
    with pytest.raises(DataError) as error:
        coco(root).source()
    assert str(error.value) == f"{pack}: damaged; delete it and its .npz, they will be made again"


def fingerprint(root: Path, **changes: Any) -> str:
    return load(root, **changes).fingerprint


def test_the_fingerprint_tells_annotations_masks_classes_sizes_and_split(tmp_path: Path) -> None:
    annotated, masks = write_coco(tmp_path / "one" / "root"), write_masks(tmp_path / "two" / "root")
    seen = {
        fingerprint(annotated),
        fingerprint(annotated, num_workers=1),
        fingerprint(annotated, cache=str(tmp_path / "c")),
    }
    assert len(seen) == 1
    seen |= {fingerprint(annotated, split_seed=1), fingerprint(masks)}
    file = annotated / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["category_id"] = 72
    file.write_text(json.dumps(content))
    seen.add(fingerprint(annotated))
    Image.new("RGB", (80, 60)).save(annotated / "train2017" / "000000000000.png")  # of another size in bytes
    seen.add(fingerprint(annotated))
    classes = tmp_path / "classes.json"
    for content in ({"1": 3}, {"1": 4}):
        classes.write_text(json.dumps(content))
        seen.add(fingerprint(masks, classes=str(classes)))
    mask = sorted((masks / "masks" / "train").iterdir())[0]
    mask.write_bytes(mask.read_bytes() + b"\0")
    seen.add(fingerprint(masks))
    assert len(seen) == 8


def test_values_of_masks_are_mapped_to_classes(masks: Path, tmp_path: Path) -> None:
    file = tmp_path / "classes.json"
    file.write_text('{"0": 1, "1": 0, "2": 255}')
    data = load(masks, classes=str(file), class_names=["thing", "ground"])
    seen = [set(batch.targets.unique().tolist()) for batch in data.batches(data.test, 1)]
    assert seen == [{1, 255}, {1, 255}, {1, 255}, {1, 0}]  # of the classes 4 and 3, which are no keys, 2 and 1


def refuses(folder: Path, message: str, kind: type[ValueError] = DataError, **changes: Any) -> None:
    """Loading, or the first pass, ends with one line that has ``message`` in it."""
    with pytest.raises(kind) as error:  # noqa: PT012
        data = load(folder, **changes)
        everything(data)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def removed(path: str) -> Callable[[Path], object]:
    def remove(root: Path) -> None:
        place = root / path
        place.rename(root.parent / f"gone{random.random()}")

    return remove


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (removed("val2017"), "{root}/val2017 is missing"),
        (removed("annotations/instances_train2017.json"), "{root}/annotations/instances_train2017.json is missing"),
        (removed("annotations"), "{root}/annotations/instances_train2017.json is missing"),
        (
            removed("train2017/000000000003.png"),
            "{root}/train2017/000000000003.png: is missing, but {root}/annotations/instances_train2017.json names it",
        ),
        (
            lambda root: (root / "val2017" / "000000000021.png").write_bytes(b"\x89PNG"),
            "{root}/val2017/000000000021.png with {root}/annotations/instances_val2017.json: the image is not readable (",
        ),
        (
            lambda root: Image.new("RGB", (9, 9)).save(root / "val2017" / "000000000021.png"),
            "{root}/annotations/instances_val2017.json: the image has 9 x 9 pixels, the mask 60 x 80",
        ),
    ],
)
def test_files_that_are_missing_or_damaged_are_named(
    change: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    root = write_coco(tmp_path / "root")
    change(root)
    refuses(root, message.format(root=root))


def annotation(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["annotations"][0].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("images"), "not annotations as COCO has them ('images' is not there)"),
        (lambda c: c["images"][0].pop("height"), "not annotations as COCO has them ('height' is not there)"),
        (annotation(image_id=-1), "not annotations as COCO has them (-1 is not there)"),
        (annotation(segmentation=[[0, 0, 1, 1, 2]]), f"{FIRST}: a segmentation is not readable (a polygon with half a corner)"),
        (annotation(segmentation=7), f"{FIRST}: a segmentation is not readable ("),
        (
            annotation(segmentation={"size": [60, 80], "counts": [5, 3]}),
            f"{FIRST}: a segmentation is not readable (run lengths of 8 pixels)",
        ),
        (
            annotation(segmentation={"size": [80, 60], "counts": [4800]}),
            f"{FIRST}: a segmentation is not readable (run lengths of 60 x 80 pixels)",
        ),
        (lambda c: c["categories"][0].update(name="tree"), "category 5 is tree, but class 1 of dataset.class_names is airplane"),
        (lambda c: (c["images"].clear(), c["annotations"].clear()), "has no images"),
        (lambda c: c["annotations"].clear(), "on no image do the 20 classes have more than 1000 pixels together"),
    ],
)  # fmt: skip
def test_annotations_that_are_wrong_are_told(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    root = write_coco(tmp_path / "root")
    file = root / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    refuses(root, f"{file}: {message}", num_train_images=KEPT)


def test_a_truncated_file_of_annotations_is_named(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "root")
    file = root / "annotations" / "instances_train2017.json"
    file.write_bytes(file.read_bytes()[:-100])
    refuses(root, f"{file}: not a JSON file, or a damaged one (")
    file.write_text("[]")
    refuses(root, f"{file}: not annotations as COCO has them (")
    file.write_bytes(b"\xff\xfe\x00")
    refuses(root, f"{file}: not a JSON file, or a damaged one (")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_masks_that_are_missing_or_wrong_are_named(tmp_path: Path, num_workers: int) -> None:
    root = write_masks(tmp_path / "root")
    mask = root / "masks" / "val" / f"{1000 - NUM_TRAIN:012}.png"
    image = root / "images" / "val" / mask.name
    changes = {"num_workers": num_workers}
    Image.new("L", (80, 60), 200).save(mask)
    refuses(root, f"{image} with {mask}: the mask has the value 200, which is no class", **changes)
    Image.new("L", (60, 80)).save(mask)
    refuses(root, f"{image} with {mask}: the image has 80 x 60 pixels, the mask 60 x 80", **changes)
    mask.unlink()
    refuses(root, f"{image}: has no mask {mask}", **changes)
    for file in (root / "images" / "val").iterdir():
        file.unlink()
    refuses(root, f"{root}/images/val: no images (", **changes)
    (root / "masks").rename(root / "other")
    refuses(root, f"{root}/masks/train is missing", **changes)


def test_wrong_roots_and_values_are_refused_in_a_line(annotated: Path, masks: Path, tmp_path: Path) -> None:
    refuses(annotated, "dataset.root=null must be a folder with {train,val}2017/", ConfigError, root=None)
    refuses(annotated, "there is no such folder", root=str(tmp_path / "none"))
    refuses(tmp_path, f"dataset.root={tmp_path}: {tmp_path}/train2017 is missing; needs ")
    refuses(annotated, "16 train images, but dataset.num_train_images=20", num_train_images=20)
    refuses(annotated, "4 test images, but dataset.num_test_images=5", num_test_images=5)
    refuses(annotated, "dataset.subset=17 must be at most 16, the number of training images", ConfigError, subset=17)
    refuses(annotated, "dataset.crop=49 must be at most dataset.resize=48", ConfigError, crop=49)
    refuses(annotated, "dataset.scale=[2, 1] must be [lowest, highest]", ConfigError, scale=[2, 1])
    refuses(annotated, "dataset.mean must have 3 values", ConfigError, mean=[0.5])
    refuses(annotated, "dataset.class_names must be 21 names for", ConfigError, class_names=["a", "b"])
    refuses(masks, "dataset.class_names must be 2 to 254 different names", ConfigError, class_names=["a", "a"])
    refuses(annotated, "is for PNG masks, but", ConfigError, classes="any.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("{", "must be JSON that maps values of masks to classes"),
        ("[1]", "must be JSON that maps values of masks to classes"),
        ('{"one": 1}', "must be JSON that maps values of masks to classes"),
        ('{"1": 21}', "1 -> 21: values are 0 to 255, classes 0 to 20 (dataset.class_names) or 255 for none"),
        ('{"256": 0}', "256 -> 0: values are 0 to 255"),
        ('{"1": "person"}', "1 -> person: values are 0 to 255"),
    ],
)
def test_a_wrong_map_of_classes_is_told(content: str | None, message: str, masks: Path, tmp_path: Path) -> None:
    file = tmp_path / "classes.json"
    if content is not None:
        file.write_text(content)
    refuses(masks, f"dataset.classes={file}: {message}", classes=str(file))
    with pytest.raises(DataError, match=r"^dataset\.classes="):
        coco(masks, classes=str(file)).check_files()


def test_without_pycocotools_a_line_names_the_extra(
    annotated: Path, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    refuses(
        annotated, "dataset=coco needs pycocotools: pip install 'bimp-exp[tasks]'", ConfigError, cache=str(tmp_path)
    )
    assert len(load(masks).train) == 14
