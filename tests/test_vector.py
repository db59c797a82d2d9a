"""Many tensors as one vector in C order, whatever their layouts, on the CPU and elsewhere."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import Tensor

from bimp_exp.selector._smallest import smallest
from bimp_exp.selector._vector import join, part
from tests.second_device import num_waits, second_device
from tests.test_smallest import stable

LAST = torch.channels_last


def tensors(*, gaps: bool) -> list[Tensor]:
    """1, 6, 12 and 24 numbers that count on, in several layouts; with gaps: every second of 10 as well."""
    one, six, twelve, all_24 = torch.arange(43.0).split([1, 6, 12, 24])
    made = [
        one.view(()),
        six.view(2, 3),
        twelve.view(2, 3, 1, 2).contiguous(memory_format=LAST),
        all_24.view(4, 6).T.contiguous().T,
    ]
    return [*made, torch.arange(43.0, 53.0)[::2]] if gaps else made


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_there_and_back(elsewhere: bool, gaps: bool) -> None:
    with second_device() if elsewhere else contextlib.nullcontext(torch.device("cpu")) as device:
        many = [tensor.to(device) for tensor in tensors(gaps=gaps)]
        vector = join(many)
        assert vector.cpu()[:43].tolist() == list(range(43))
        back = part(vector > 20, many)
        for tensor, found in zip(many, back, strict=True):
            assert torch.equal(found.cpu(), tensor.cpu() > 20)
            assert gaps or found.stride() == tensor.stride()


@pytest.mark.parametrize("count", [0, 1, 40, 250, 499, 500])
def test_the_k_smallest_elsewhere_without_waiting(count: int) -> None:
    scores = torch.randint(-9, 10, (500,), generator=torch.Generator().manual_seed(0)).float()
    scores[::50], scores[1::50] = torch.nan, -0.0
    with second_device() as device:
        there, waits = scores.to(device), num_waits()
        found = smallest(there, count)
        assert num_waits() == waits
        assert found.cpu().nonzero().flatten().tolist() == stable(scores.tolist(), count)
