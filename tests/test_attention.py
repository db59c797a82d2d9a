"""Attention is pruned and counted; weights that pruning does not see are named."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from bimp_exp.pruning.metrics import not_prunable
from bimp_exp.pruning.weights import prunable
from tests import toy_runs, toys

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


LEFT_OUT = {"position": PATCHES * DIM}


@pytest.fixture(scope="module")
def vit() -> tuple[dict[str, Any], list[str]]:
    """The result of a run to 90 %, and its lines."""
    console = Console(file=StringIO(), width=80)
    result = toy_runs.run(toy_runs.experiment("imp", model=ViT, sparsity=0.9), console=console)
    return result, console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_attention_is_pruned_and_counted(vit: tuple[dict[str, Any], list[str]]) -> None:
    result, _ = vit
    layers = {layer["name"]: layer for layer in result["final"]["layers"]}
    for block in (0, 1):
        projections = layers[f"blocks.{block}.attention.in_proj_weight"]
        assert projections["num_weights"] == 3 * DIM**2
        assert projections["num_zeros"] > 0
        assert projections["multiply_adds"] == PATCHES * 3 * DIM**2
        assert layers[f"blocks.{block}.attention.out_proj.weight"]["multiply_adds"] == PATCHES * DIM**2
        assert layers[f"blocks.{block}.mlp.0.weight"]["multiply_adds"] == PATCHES * DIM * 64


def test_the_speedup_with_attention_has_its_products_in_both_networks(vit: tuple[dict[str, Any], list[str]]) -> None:
    result, _ = vit
    products = 2 * 2 * PATCHES * PATCHES * DIM  # two blocks, Q K^T and weights times V
    for facts in (result["final"], result["phases"][1]["pruning"]):
        assert facts["multiply_adds_attention"] == products
        dense, sparse = facts["multiply_adds_dense"], facts["multiply_adds_sparse"]
        assert dense == sum(layer["multiply_adds"] for layer in facts["layers"])
        assert facts["theoretical_speedup"] == dense / sparse
        assert facts["speedup_with_attention"] == (dense + products) / (sparse + products)
    ledger = result["ledger"]
    assert ledger["forward_multiply_adds"] == ledger["num_images"] * (result["final"]["multiply_adds_dense"] + products)


@pytest.mark.parametrize("method", ["gmp", "str"])
@pytest.mark.parametrize("training", [True, False])
def test_effective_weights_reach_attention_also_where_it_takes_its_fast_path(method: str, training: bool) -> None:
    """In eval mode PyTorch computes an encoder layer by one kernel, which is handed its weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.TransformerEncoderLayer(DIM, 2, 64, dropout=0.0, batch_first=True).train(training)
        x = torch.randn(3, PATCHES, DIM)
    made = toy_runs.experiment(method).method
    context = toys.method_context(model, num_steps=8, steps_per_epoch=1)
    assert "self_attn.in_proj_weight" in context.weights
    made.attach(context)
    with torch.no_grad():
        for module in context.modules.values():
            module.effective.mul_(torch.arange(module.effective.numel()).view_as(module.effective) % 2)  # type: ignore[operator, union-attr]
        outputs = model(x)
        plain = nn.TransformerEncoderLayer(DIM, 2, 64, dropout=0.0, batch_first=True).train(training)
        plain.load_state_dict(
            {n: t for n, t in model.state_dict().items() if "parametrizations" not in n}, strict=False
        )
        for name, module in context.modules.items():
            plain.get_parameter(name).copy_(module.effective)  # type: ignore[arg-type]
        assert torch.equal(outputs, plain(x))
    made.detach(context)
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_separate_projections_are_prunable_too() -> None:
    model = nn.MultiheadAttention(8, 2, kdim=4, vdim=2)
    assert {name: tuple(w.shape) for name, w in prunable(model).items()} == {
        "q_proj_weight": (8, 8),
        "k_proj_weight": (8, 4),
        "v_proj_weight": (8, 2),
        "out_proj.weight": (8, 8),
    }


def test_what_is_not_pruned_is_named_with_its_size(vit: tuple[dict[str, Any], list[str]]) -> None:
    result, lines = vit
    assert result["final"]["not_prunable"] == result["phases"][1]["pruning"]["not_prunable"] == LEFT_OUT
    (line,) = [line for line in lines if "not pruned" in line]
    assert all(f"{name} ({size:,} weights)" in line for name, size in LEFT_OUT.items())


def test_sparsity_of_all_parameters_counts_what_is_not_pruned(vit: tuple[dict[str, Any], list[str]]) -> None:
    result, _ = vit
    final, model = result["final"], ViT((1, 2, 2), 2)
    zeros = sum(layer["num_zeros"] for layer in final["layers"])
    assert final["sparsity"] == pytest.approx(0.9, abs=1e-3)
    assert 0.85 < final["sparsity_all_parameters"] < 0.9
    biases = final["sparsity_all_parameters"] * sum(p.numel() for p in model.parameters()) - zeros
    assert 0 <= biases < 100  # some biases are exactly 0 by themselves


def test_a_network_of_convolutions_and_linear_layers_has_none() -> None:
    console = Console(file=StringIO(), width=80)
    result = toy_runs.run(toy_runs.experiment("imp"), console=console)
    new = {"not_prunable", "multiply_adds_attention", "speedup_with_attention", "sparsity_selectable"}
    assert not new & result["final"].keys()
    assert result["final"]["theoretical_speedup"] > 1
    assert "not pruned" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_an_embedding_is_prunable_by_the_published_rule_only() -> None:
    model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2))
    assert not_prunable(model) == {"0.weight": 6}
    assert not_prunable(model, every_weight=True) == {}


def test_an_embedding_that_is_a_linear_layer_too_is_not_prunable() -> None:
    model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 3))
    model[0].weight = model[1].weight
    assert prunable(model) == {}
    assert not_prunable(model) == {"0.weight": 6}
