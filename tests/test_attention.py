"""Networks with weights that pruning or counting does not see: each is named, and no wrong number stands in their place."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from bimp_exp.pruning.metrics import not_prunable
from tests import toy_runs

DIM, PATCHES = 32, 4


class Block(nn.Module):
    """An encoder layer as in most code: PyTorch's attention and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(DIM, 2, batch_first=True)
        self.norm = nn.LayerNorm(DIM)
        self.mlp = nn.Sequential(nn.Linear(DIM, 64), nn.GELU(), nn.Linear(64, DIM))

    def forward(self, x: Tensor) -> Any:
        return x + self.mlp(self.norm(x + self.attention(x, x, x, need_weights=False)[0]))


class ViT(nn.Module):
    """A patch is a pixel."""

    def __init__(self, image_shape: Any, num_classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(image_shape[0], DIM, 1)
        self.position = nn.Parameter(torch.zeros(1, PATCHES, DIM))
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(DIM, num_classes)

    def forward(self, images: Tensor) -> Any:
        return self.head(self.blocks(self.patches(images).flatten(2).mT + self.position).mean(1))


LEFT_OUT = {
    "position": PATCHES * DIM,
    "blocks.0.attention.in_proj_weight": 3 * DIM**2,
    "blocks.1.attention.in_proj_weight": 3 * DIM**2,
}


@pytest.fixture(scope="module")
def vit() -> tuple[dict[str, Any], list[str]]:
    """The result of a run to 90 %, and its lines."""
    console = Console(file=StringIO(), width=80)
    result = toy_runs.run(toy_runs.experiment("imp", model=ViT, sparsity=0.9), console=console)
    return result, console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_no_speedup_where_a_pruned_weight_is_not_counted(vit: tuple[dict[str, Any], list[str]]) -> None:
    result, _ = vit
    for facts in (result["final"], result["phases"][1]["pruning"]):
        assert facts["theoretical_speedup"] is facts["multiply_adds_dense"] is facts["multiply_adds_sparse"] is None
    assert result["ledger"]["forward_multiply_adds"] is result["ledger"]["backward_multiply_adds"] is None
    adds = {layer["name"]: layer["multiply_adds"] for layer in result["final"]["layers"]}
    assert [name for name, num in adds.items() if num is None] == [
        "blocks.0.attention.out_proj.weight",
        "blocks.1.attention.out_proj.weight",
    ]
    assert adds["blocks.1.mlp.0.weight"] == PATCHES * DIM * 64


def test_what_is_not_pruned_is_named_with_its_size(vit: tuple[dict[str, Any], list[str]]) -> None:
    result, lines = vit
    assert result["final"]["not_prunable"] == result["phases"][1]["pruning"]["not_prunable"] == LEFT_OUT
    (line,) = [line for line in lines if "not pruned" in line]
    assert all(f"{name} ({size:,} weights)" in line for name, size in LEFT_OUT.items())
    (line,) = [line for line in lines if "no speed-up" in line]
    assert line.endswith("not counted: blocks.0.attention.out_proj.weight, blocks.1.attention.out_proj.weight")


def test_sparsity_of_all_parameters_counts_what_is_not_pruned(vit: tuple[dict[str, Any], list[str]]) -> None:
    result, _ = vit
    final, model = result["final"], ViT((1, 2, 2), 2)
    zeros = sum(layer["num_zeros"] for layer in final["layers"])
    assert final["sparsity"] == pytest.approx(0.9, abs=1e-3)
    assert 0 < final["sparsity_all_parameters"] < 0.6
    biases = final["sparsity_all_parameters"] * sum(p.numel() for p in model.parameters()) - zeros
    assert 0 <= biases < 100  # some biases are exactly 0 by themselves


def test_a_network_of_convolutions_and_linear_layers_has_none() -> None:
    console = Console(file=StringIO(), width=80)
    result = toy_runs.run(toy_runs.experiment("imp"), console=console)
    assert "not_prunable" not in result["final"]
    assert result["final"]["theoretical_speedup"] > 1
    assert "not pruned" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_an_embedding_is_prunable_by_the_published_rule_only() -> None:
    model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2))
    assert not_prunable(model) == {"0.weight": 6}
    assert not_prunable(model, every_weight=True) == {}


def test_a_weight_shared_with_a_linear_layer_is_prunable() -> None:
    model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 3))
    model[0].weight = model[1].weight
    assert not_prunable(model) == {}
