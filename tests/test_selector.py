"""Global magnitude, and the exact selection below it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bimp_exp.selector._smallest import smallest
from bimp_exp.selector.base import Cut
from bimp_exp.selector.global_ import Global
from tests.conftest import golden


def fixed_model(name: str) -> dict[str, Tensor]:
    """Weights of a golden model."""
    case = next(
        p.values[0] for p in golden("selectors", kind="selector_model") if p.values[0]["id"] == f"open.{name}.model"
    )
    return {
        layer["name"]: torch.tensor(layer["weight"], dtype=torch.float64).view(layer["shape"])
        for layer in case["inputs"]["layers"]
    }


def ones(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}


def text(mask: Tensor) -> str:
    return "".join("1" if kept else "0" for kept in mask.flatten().tolist())


def of(kind: str, selector: str) -> list[Any]:
    """Golden cases of one selector."""
    found = golden("selectors", kind=kind)
    return [p for p in found if p.values[0] is None or p.values[0]["inputs"]["selector"] == selector]


@pytest.mark.parametrize("case", of("selector", "global"))
def test_golden_global(case: dict[str, Any]) -> None:
    weights = fixed_model(case["inputs"]["model"])
    s = case["inputs"]["sparsity"]
    cut = Cut(fraction=s, num_pruned=round(s * sum(w.numel() for w in weights.values())))
    masks = Global()(weights, ones(weights), cut)
    assert [text(m) for m in masks.values()] == case["expected"]["masks"]


@pytest.mark.parametrize("case", of("selector_iterative", "global"))
def test_golden_global_iterative(case: dict[str, Any]) -> None:
    weights = fixed_model(case["inputs"]["model"])
    masks, num = ones(weights), sum(w.numel() for w in weights.values())
    gone = 0
    for fraction, expected in zip(case["inputs"]["fractions_of_remaining"], case["expected"]["cycles"], strict=True):
        gone += round(fraction * (num - gone))
        masks = Global()(weights, masks, Cut(fraction=fraction, num_pruned=gone))
        assert [text(m) for m in masks.values()] == expected["masks"]


def test_one_threshold_for_all_layers_may_empty_one() -> None:
    weights = {"a": torch.tensor([[0.5, -0.4, 0.3, -0.1]]), "b": torch.tensor([[2.0, -1.0]])}
    masks = Global()(weights, ones(weights), Cut(fraction=0.5, num_pruned=3))
    assert [text(m) for m in masks.values()] == ["1000", "11"]
    masks = Global()(weights, masks, Cut(fraction=0.34, num_pruned=4))
    assert [text(m) for m in masks.values()] == ["0000", "11"]


def test_ties_go_in_the_order_of_layers_and_entries() -> None:
    weights = {"a": torch.tensor([[0.3, -0.3], [0.3, 0.1]]), "b": torch.tensor([-0.3, 0.3])}
    masks = Global()(weights, ones(weights), Cut(fraction=0.5, num_pruned=3))
    assert [text(m) for m in masks.values()] == ["0010", "11"]  # 0.1, then the first two of five times 0.3


def test_the_order_of_entries_is_logical_whatever_the_memory_format() -> None:
    weight = torch.full((2, 3, 2, 2), 0.5)
    a = Global()({"w": weight}, ones({"w": weight}), Cut(fraction=0.5, num_pruned=7))
    channels_last = weight.to(memory_format=torch.channels_last)
    b = Global()({"w": channels_last}, ones({"w": channels_last}), Cut(fraction=0.5, num_pruned=7))
    assert torch.equal(a["w"], b["w"])
    assert text(a["w"]) == "0" * 7 + "1" * 17


def test_a_zero_that_is_not_masked_counts_as_there() -> None:
    weights = {"a": torch.tensor([0.0, 0.0, 1.0, 2.0])}
    masks = {"a": torch.tensor([False, True, True, True])}
    found = Global()(weights, masks, Cut(fraction=1 / 3, num_pruned=2))
    assert text(found["a"]) == "0011"


def test_a_pruned_weight_that_grew_stays_pruned() -> None:
    weights = {"a": torch.tensor([9.0, 0.1, 0.2, 0.3])}
    masks = {"a": torch.tensor([False, True, True, True])}
    assert text(Global()(weights, masks, Cut(fraction=1 / 3, num_pruned=2))["a"]) == "0011"


small = st.lists(st.integers(0, 6), min_size=1, max_size=60)  # few values: many ties


@given(values=small, data=st.data())
@settings(max_examples=200)
def test_smallest_equals_a_stable_sort(values: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(values)))
    found = smallest(torch.tensor(values, dtype=torch.float32), count)
    expected = sorted(range(len(values)), key=lambda i: (values[i], i))[:count]
    assert found.nonzero().flatten().tolist() == sorted(expected)


@given(layers=st.lists(small, min_size=1, max_size=4), data=st.data())
def test_exact_counts_nesting_and_untouched_inputs(layers: list[list[int]], data: st.DataObject) -> None:
    weights = {str(i): torch.tensor(layer, dtype=torch.float32) - 3 for i, layer in enumerate(layers)}
    num = sum(len(layer) for layer in layers)
    first = data.draw(st.integers(0, num))
    second = data.draw(st.integers(first, num))
    before = {name: w.clone() for name, w in weights.items()}
    one = Global()(weights, ones(weights), Cut(fraction=first / num, num_pruned=first))
    kept = {name: m.clone() for name, m in one.items()}
    two = Global()(weights, one, Cut(fraction=0.5, num_pruned=second))
    assert sum(int((~m).sum()) for m in one.values()) == first
    assert sum(int((~m).sum()) for m in two.values()) == second
    assert all(not (two[n] & ~one[n]).any() for n in weights)
    assert all(torch.equal(before[n], weights[n]) and torch.equal(kept[n], one[n]) for n in weights)


def test_nan_scores_last() -> None:
    scores = torch.tensor([float("nan"), 2.0, 1.0])
    assert smallest(scores, 2).tolist() == [False, True, True]
    assert smallest(scores, 3).tolist() == [True, True, True]


def test_a_count_beyond_the_scores_is_an_error() -> None:
    with pytest.raises(ValueError, match="count 4 of 3"):
        smallest(torch.zeros(3), 4)
