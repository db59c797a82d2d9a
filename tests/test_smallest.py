"""The exact selection below every selector."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bimp_exp.selector._smallest import smallest

few = st.sampled_from([-math.inf, -2.0, -1.0, -1e-40, -0.0, 0.0, 1e-40, 0.5, 1.0, 3.0, math.inf])  # ties, both zeros
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int64]


def stable(values: list[float], count: int) -> list[int]:
    """The same by sorting: NaN last, then by value, then by index."""
    last = [(math.isnan(v), 0.0 if math.isnan(v) else v, i) for i, v in enumerate(values)]
    return sorted(i for _, _, i in sorted(last)[:count])


@given(values=st.lists(few, min_size=1, max_size=60), data=st.data())
@settings(max_examples=200)
def test_equals_a_stable_sort(values: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(values)))
    for dtype in (torch.float32, torch.float64):
        scores = torch.tensor(values, dtype=dtype)
        before = scores.clone()
        assert smallest(scores, count).nonzero().flatten().tolist() == stable(scores.tolist(), count)
        assert torch.equal(scores.view(torch.uint8), before.view(torch.uint8))  # zeros keep their signs


@given(values=st.lists(st.one_of(few, st.just(math.nan)), min_size=1, max_size=30), data=st.data())
@settings(max_examples=100)
def test_nan_of_either_sign_is_largest(values: list[float], data: st.DataObject) -> None:
    scores = torch.tensor(values)
    scores[::2].neg_()  # flips the sign of NaN as well
    count = data.draw(st.integers(0, len(values)))
    assert smallest(scores, count).nonzero().flatten().tolist() == stable(scores.tolist(), count)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 40, 250, 499, 500])
def test_every_type(dtype: torch.dtype, count: int) -> None:
    scores = torch.randint(-9, 10, (500,), generator=torch.Generator().manual_seed(0)).to(dtype)
    assert smallest(scores, count).nonzero().flatten().tolist() == stable(scores.tolist(), count)


@pytest.mark.parametrize("masked", [0.0, 0.5, 0.95])
def test_many(masked: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(200_000, generator=generator).abs()
    scores[: int(masked * len(scores))] = -1.0
    order = scores.sort(stable=True).indices
    for count in (1, 10_000, 190_000, 199_999, 200_000):
        assert smallest(scores, count).nonzero().flatten().tolist() == order[:count].sort().values.tolist()


def test_views() -> None:
    every = torch.rand(18)
    for scores in (every[::2], every[3:], torch.ones(1).expand(7)):
        assert smallest(scores, 3).nonzero().flatten().tolist() == stable(scores.tolist(), 3)


def test_nothing_of_nothing() -> None:
    assert smallest(torch.zeros(0), 0).tolist() == []


@pytest.mark.parametrize("count", [-1, 4])
def test_a_count_beyond_the_scores_is_an_error(count: int) -> None:
    with pytest.raises(ValueError, match=f"count {count} of 3"):
        smallest(torch.zeros(3), count)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("count", [0, 1, 40, 250, 500])
def test_on_a_gpu_as_on_the_cpu(count: int) -> None:
    scores = torch.randint(-9, 10, (500,), generator=torch.Generator().manual_seed(0)).float()
    scores[::50] = torch.nan
    found = smallest(scores.cuda(), count)
    assert found.is_cuda
    assert torch.equal(found.cpu(), smallest(scores, count))
