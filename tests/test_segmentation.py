"""The task of segmentation: its metric and loss, and whole runs on files as users have them."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bimp_exp.errors import DataError
from bimp_exp.task.base import Batch
from bimp_exp.task.segmentation import IGNORED, MeanIoU, Segmentation, resized
from tests.conftest import ROOT, composed, golden
from tests.dataset.scenes import write_cityscapes, write_coco
from tests.test_imagenet_run import at_work_in
from tests.test_resume import do, same
from tests.test_run import load, run

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools'


def task(num_classes: int = 3, *, aux_weight: float = 0.4, label_smoothing: float = 0) -> Segmentation:
    return Segmentation(
        aux_weight=aux_weight,
        label_smoothing=label_smoothing,
        image_shape=(3, 8, 8),
        class_names=[f"c{i}" for i in range(num_classes)],
    )


def row(values: list[int]) -> Tensor:
    """Targets of an image that is one row of pixels, int64 [1, 1, W]."""
    return torch.tensor(values, dtype=torch.int64).view(1, 1, -1)


@pytest.mark.parametrize("case", golden("tasks", kind="miou_accumulated") + golden("metrics_models", kind="miou"))
def test_mean_iou_is_that_of_one_matrix_over_all_images(case: dict[str, Any]) -> None:
    given, expected = case["inputs"], case["expected"]
    num_classes = given["num_classes"]
    metric = task(num_classes).metric
    statistics = metric.new_statistics(torch.device("cpu"))
    for image in given.get("images", [given]):
        targets = row([IGNORED if t == given["ignore_index"] else t for t in image["target"]])
        outputs = nn.functional.one_hot(row(image["prediction"]), num_classes).movedim(-1, 1).float()
        metric.add(statistics, outputs, Batch(None, targets, 1))
    assert statistics.tolist() == expected["confusion_rows_target_cols_prediction"]
    assert metric.value(statistics) == pytest.approx(expected["miou_over_classes_present"], rel=1e-9)
    details = metric.details(statistics)
    assert details.pop("pixel_accuracy") == pytest.approx(expected["pixel_accuracy"], rel=1e-9)
    assert list(details) == [f"iou_c{i}" for i in range(num_classes)]
    assert list(details.values()) == [
        None if iou is None else pytest.approx(iou, rel=1e-9) for iou in expected["iou_per_class"]
    ]


def test_of_equal_logits_the_lowest_class_is_predicted() -> None:
    metric = task().metric
    statistics = metric.new_statistics(torch.device("cpu"))
    metric.add(statistics, torch.zeros(1, 3, 1, 2), Batch(None, row([0, 1]), 1))
    assert statistics.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_without_a_target_there_is_no_number() -> None:
    metric = MeanIoU(["a", "b"])
    statistics = metric.new_statistics(torch.device("cpu"))
    metric.add(statistics, torch.zeros(1, 2, 1, 3), Batch(None, row([255, 255, 255]), 1))
    with pytest.raises(DataError, match="no pixel of the images has a target"):
        metric.value(statistics)
    assert metric.details(statistics) == {"pixel_accuracy": None, "iou_a": None, "iou_b": None}


def pixels(values: list[list[float]]) -> Tensor:
    """Logits of an image that is one row of pixels, [1, K, 1, W]."""
    return torch.tensor(values).T[None, :, None, :]


@pytest.mark.parametrize("case", golden("tasks", kind="segmentation_loss"))
def test_the_loss_is_the_golden_one(case: dict[str, Any]) -> None:
    given, expected = case["inputs"], case["expected"]
    assert given["ignore_index"] == IGNORED
    some = task(2, aux_weight=given["aux_weight"])
    out, aux = pixels(given["logits_out"]), pixels(given["logits_aux"])
    batch = Batch(None, row(given["targets"]), 1)
    both, num = some.loss({"out": out, "aux": aux}, batch)
    assert both.item() == pytest.approx(expected["loss"], rel=1e-6)  # fp32
    assert some.loss(out, batch)[0].item() == pytest.approx(expected["loss_out"], rel=1e-6)
    assert some.loss({"out": aux}, batch)[0].item() == pytest.approx(expected["loss_aux"], rel=1e-6)
    total, num = some.loss_sum({"out": out, "aux": aux}, batch)
    assert num == 2
    assert total.item() == pytest.approx(2 * expected["loss_out"], rel=1e-6)


def test_smoothing_is_of_the_training_loss_alone_and_a_batch_without_targets_has_loss_0() -> None:
    out, batch = torch.tensor([[2.0, 0.0]]).view(1, 2, 1, 1), Batch(None, row([0]), 1)
    some = task(2, label_smoothing=0.1)
    right, wrong = -math.log(1 / (1 + math.exp(-2))), -math.log(1 / (1 + math.exp(2)))
    assert some.loss(out, batch)[0].item() == pytest.approx(0.95 * right + 0.05 * wrong, rel=1e-6)
    assert some.loss_sum(out, batch)[0].item() == pytest.approx(right, rel=1e-6)
    empty = Batch(None, row([IGNORED]), 1)
    assert some.loss(out, empty)[0].item() == 0


def test_logits_are_enlarged_to_the_size_of_the_targets() -> None:
    given = torch.randn(1, 2, 3, 4)
    assert resized(given, torch.zeros(1, 3, 4)) is given
    wanted = nn.functional.interpolate(given, size=(6, 8), mode="bilinear", align_corners=False)
    assert torch.equal(resized({"out": given}, torch.zeros(1, 6, 8)), wanted)


SMALL = [
    "optim.batch_size=4", "runtime.threads=1", "tracking=none", "store=own", "sparsity=0.5",
    "budget=imp", "budget.epochs=2", "budget.retrain_epochs=1",
]  # fmt: skip
COCO = [
    "dataset=coco",
    "dataset.root=images",
    "dataset.resize=48",
    "dataset.crop=32",
    "dataset.cache=cache",
    "model=deeplab_tiny",
]
CITYSCAPES = [
    "dataset=cityscapes", "dataset.root=images", "dataset.resize=[32,64]", "dataset.crop=[16,32]", "model=pspnet_tiny",
    "dataset.eval_subset=2",
]  # fmt: skip


@pytest.mark.parametrize(
    ("write", "keys", "num_images"),
    [(write_coco, COCO, 12), (write_cityscapes, CITYSCAPES, 16)],  # in an epoch, without a last batch of 2
    ids=["coco", "cityscapes"],
)
def test_a_killed_run_ends_with_the_bits_of_one_that_decoded_by_itself(
    write: Any, keys: list[str], num_images: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    do(tmp_path / "whole", composed(*keys, *SMALL, "dataset.num_workers=0"))
    result = load(tmp_path / "whole" / "result.json")
    assert [phase["num_images"] for phase in result["phases"]] == [2 * num_images, num_images]
    assert 0 <= result["final"]["test"] <= 1
    given = [*keys, *SMALL, "dataset.num_workers=2", "store.every=0", "hydra.run.dir=killed"]
    first = subprocess.Popen([sys.executable, str(ROOT / "run.py"), *given], cwd=tmp_path, stderr=subprocess.DEVNULL)
    phases = tmp_path / "killed" / "phases"
    while not [file for file in phases.glob("*/*.pt") if file.name != "done.pt"]:
        assert first.poll() is None
        time.sleep(0.005)
    first.kill()
    first.wait()
    assert not (tmp_path / "killed" / "result.json").exists()
    end = time.monotonic() + 600
    while at_work_in(tmp_path):  # what was decoding ends by itself
        assert time.monotonic() < end
        time.sleep(0.05)
    run(tmp_path, *given)
    same(tmp_path / "whole", tmp_path / "killed")


def test_an_image_that_cannot_be_read_ends_a_run_in_a_line(tmp_path: Path) -> None:
    write_coco(tmp_path / "images")
    (tmp_path / "images" / "val2017" / "000000000021.png").write_bytes(b"\x89PNG")
    done = run(tmp_path, *COCO, *SMALL, "dataset.num_workers=2", expect=2)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {tmp_path}/images/val2017/000000000021.png with {tmp_path}/images/annotations/")
    assert "Traceback" not in done.stderr
