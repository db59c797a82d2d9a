"""Confusion matrices are counted in two ways, which give the same numbers."""

from __future__ import annotations

import pytest
import torch

from bimp_exp.task.base import Batch
from bimp_exp.task.segmentation import IGNORED, MeanIoU, occurrences


@pytest.mark.parametrize("by_sorting", [True, False])
@pytest.mark.parametrize(
    ("numbers", "counts"), [([3, 0, 3, 3], [1, 0, 0, 3, 0]), ([], [0, 0, 0, 0, 0]), ([4, 4], [0, 0, 0, 0, 2])]
)
def test_occurrences(by_sorting: bool, numbers: list[int], counts: list[int]) -> None:
    found = occurrences(torch.tensor(numbers, dtype=torch.int64), 5, by_sorting=by_sorting)
    assert found.tolist() == counts
    assert found.dtype == torch.int64


def test_pixels_without_a_target_are_left_out_of_the_matrix() -> None:
    metric = MeanIoU(["ground", "digit"])
    logits = torch.tensor([[2.0, 0.0, 0.0, 1.0], [1.0, 3.0, 5.0, 1.0]]).view(
        1, 2, 2, 2
    )  # predicted 0 1 / 1 0: ties go down
    statistics = metric.new_statistics(torch.device("cpu"))
    metric.add(statistics, logits, Batch(None, torch.tensor([[[0, IGNORED], [0, 1]]]), 1))
    assert statistics.tolist() == [[1, 1], [1, 0]]
