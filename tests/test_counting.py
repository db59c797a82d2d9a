"""Multiply-adds of whole networks against the golden counts, and against PyTorch's own counter."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.maxvit import MaxVit, maxvit_t

from bimp_exp.errors import ConfigError
from bimp_exp.model.deeplabv3 import DeepLabV3
from bimp_exp.model.pspnet import PSPNet
from bimp_exp.model.t5 import T5
from bimp_exp.pruning import metrics
from bimp_exp.pruning.counting import count
from bimp_exp.pruning.weights import dilated, prunable, suited, tied_embedding
from bimp_exp.selector.base import PruningTarget, Selector, select
from bimp_exp.selector.filter_l2 import FilterL2
from bimp_exp.selector.uniform import Uniform
from bimp_exp.selector.uniform_plus import UniformPlus
from bimp_exp.task.translation import Pairs
from tests.conftest import golden

Case = dict[str, Any]
T5_SMALL = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}


def t5(vocab_size: int, **sizes: int) -> T5:
    return T5(vocab_size, **sizes, dropout=0.0, weights=None, vocab_size=vocab_size)


def built(case: Case) -> nn.Module:
    """The network of a golden case; without values where it can do without, as full-size ones then take no memory."""
    given, shape = case["inputs"], case["inputs"].get("input_shape")
    name = given["model"].rpartition(".")[2]
    if name == "T5ForConditionalGeneration":
        sizes = {"vocab_size": 32128, **T5_SMALL} | given["arguments"]
        return t5(**sizes)
    with torch.device("meta"):
        if name == "deeplabv3_resnet50":
            return DeepLabV3("resnet50", False, None, image_shape=shape, num_classes=21)
        if name == "maxvit_t":
            return maxvit_t(weights=None)  # type: ignore[no-any-return]
        if name == "MaxVit":
            return MaxVit(**given["arguments"])
        return PSPNet("resnet101", 512, 256, 0.1, None, image_shape=shape, num_classes=19)


def pairs(source: int, target: int) -> Pairs:
    return Pairs(torch.ones(1, source, dtype=torch.int64), torch.ones(1, target, dtype=torch.int64))


@pytest.mark.parametrize("case", golden("tasks", kind="task_model_facts"))
def test_golden_model_facts(case: Case) -> None:
    given, expected = case["inputs"], case["expected"]
    model = built(case)
    item = given.get("input_shape") or pairs(given["source_tokens"], given["target_tokens"])
    weights, counted = prunable(model), count(model, item)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected["parameters"]
    assert len(weights) == expected["prunable_layers"]
    assert sum(weight.numel() for weight in weights.values()) == expected["prunable_weights"]
    assert sum(counted.weights[name] or 0 for name in weights) == expected["macs_prunable"]
    assert counted.attention == expected["macs_attention_products"]
    assert (metrics.total(counted.weights) or 0) + counted.attention == expected["macs_all"]
    assert sum(n or 0 for name, n in counted.weights.items() if name not in weights) == expected.get("macs_head", 0)
    assert list(next(iter(weights.values())).shape) == expected["first_weight_shape"]
    if "macs_head" not in expected:
        assert list(list(weights.values())[-1].shape) == expected["output_layer_weight_shape"]


@pytest.mark.parametrize(
    ("source", "target", "total"), [(16, 16, 972_554_240), (16, 8, 662_831_104), (64, 100, 5_382_176_768)]
)
def test_t5_small_at_other_lengths(source: int, target: int, total: int, t5_small: T5) -> None:
    counted = count(t5_small, pairs(source, target))
    assert (metrics.total(counted.weights) or 0) + counted.attention == total


@pytest.fixture(scope="module")
def t5_small() -> T5:
    return t5(32128, **T5_SMALL)


def flops(model: nn.Module, item: Any) -> int:
    """By PyTorch's counter, attention in matrix products; half of them are multiplications."""
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model.eval()(item)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops() // 2


class Grouped(nn.Module):
    """Groups, dilation, a transposed convolution, a weight that is standardised, and one that is applied to learnt queries."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(4, 8, 3, 2, padding=2, dilation=2, groups=2)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.standardised = nn.Conv2d(4, 6, 1)
        self.queries, self.project = nn.Parameter(torch.zeros(5, 6)), nn.Linear(6, 6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, images: Tensor) -> Any:
        weight = self.standardised.weight
        x = nn.functional.conv2d(self.up(self.grouped(images)), (weight - weight.mean()) / weight.std())
        tokens = x.flatten(2).mT
        return self.attention(self.project(self.queries)[None], tokens, tokens)[0]


def test_each_product_counts_once_as_for_pytorch() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    cases: list[tuple[nn.Module, Any, Any]] = [
        (nn.TransformerEncoder(layer, 2), (7, 16), torch.zeros(1, 7, 16)),
        (Grouped(), (4, 9, 8), torch.zeros(1, 4, 9, 8)),
        (t5(50, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4), pairs(5, 3), pairs(5, 3)),
    ]
    for model, item, given in cases:
        counted = count(model, item)
        assert None not in counted.weights.values(), model
        assert sum(n or 0 for n in counted.weights.values()) + counted.attention == flops(model, given), model
    assert count(Grouped(), (4, 9, 8)).weights["project.weight"] == 5 * 36
    assert torch.backends.mha.get_fastpath_enabled()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_vision_transformers_of_timm(name: str) -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model = timm.create_model(name)
        image = torch.zeros(1, 3, 224, 224)
    counted = count(model, (3, 224, 224))
    assert None not in counted.weights.values()
    assert sum(n or 0 for n in counted.weights.values()) + counted.attention == flops(model, image)


def test_padding_blind_counts_a_matrix_once_and_no_attention() -> None:
    model = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    counted = count(model, (7, 16), padding_blind=True)
    assert counted.weights == {name: weight.numel() for name, weight in prunable(model).items()}
    assert counted.attention == 0


def test_a_head_for_training_alone_costs_nothing_and_its_weights_count_for_the_sparsity() -> None:
    model = PSPNet("small", 8, 8, 0.1, None, image_shape=(3, 32, 32), num_classes=11)
    counted = count(model, (3, 32, 32))
    aux = [name for name in counted.weights if name.startswith("aux_head")]
    assert len(aux) == 2
    assert [counted.weights[name] for name in aux] == [0, 0]
    assert {c.name for c in metrics.layer_counts(model)} >= set(aux)


def test_speedup_of_t5_small_at_70_percent_has_its_dense_head_in_both_sums(t5_small: T5) -> None:
    """1 / (1 - 0.7 * 5.637 / 7.743) = 2.04; without the head a network would claim 3.33."""
    counted = count(t5_small, pairs(128, 128))
    pruned = [
        metrics.LayerCount(name=name, num_weights=w.numel(), num_zeros=round(0.7 * w.numel()))
        for name, w in prunable(t5_small).items()
    ]
    speedup = metrics.theoretical_speedup(counted.weights, pruned)
    assert speedup.speedup == pytest.approx(1 / (1 - 0.7 * 5_637_144_576 / 7_742_685_184), rel=1e-5)
    with_attention = metrics.speedup_with_attention(speedup, counted.attention)
    assert with_attention == pytest.approx(8_044_675_072 / (8_044_675_072 - 0.7 * 5_637_144_576), rel=1e-5)


@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.97])
def test_uniform_plus_on_t5_is_uniform_since_its_head_is_never_pruned(sparsity: float) -> None:
    model = t5(50, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4)
    weights = prunable(model)
    total = sum(w.numel() for w in weights.values())
    target = PruningTarget(fraction_of_remaining=sparsity, total_pruned=round(sparsity * total))
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    plus, plain = suited(UniformPlus(last_keeps=0.2), model), Uniform()
    kept = [{n: int(m.sum()) for n, m in select(s, weights, masks, target).items()} for s in (plus, plain)]
    assert all(abs(kept[0][name] - kept[1][name]) <= 1 for name in weights)  # one target is a count, the other a share


def test_uniform_plus_spares_the_convolution_that_gives_the_logits_not_the_auxiliary_one() -> None:
    models = [
        PSPNet("small", 8, 8, 0.1, None, image_shape=(3, 32, 32), num_classes=11),
        DeepLabV3("small", True, None, image_shape=(3, 32, 32), num_classes=11),
    ]
    for model, last in zip(models, ("head.4.weight", "classifier.4.weight"), strict=True):
        weights = prunable(model)
        selector = suited(UniformPlus(last_keeps=0.2), model)
        total = sum(w.numel() for w in weights.values())
        masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
        target = PruningTarget(fraction_of_remaining=0.9, total_pruned=round(0.9 * total))
        kept = {name: float(mask.float().mean()) for name, mask in select(selector, weights, masks, target).items()}
        assert [name for name, share in kept.items() if share == 1] == ["backbone.conv.weight"]
        assert [name for name, share in kept.items() if 0.15 < share < 1] == [last]


def test_filters_of_maxvit() -> None:
    """36,704 filters in 61 convolutions, 27.8 % of the prunable weights; linear layers stay whole."""
    with torch.device("meta"):
        model = maxvit_t(weights=None)
    selector, shapes = FilterL2(), {name: w.shape for name, w in prunable(model).items()}
    filters = {name: shape for name, shape in shapes.items() if selector.prunes(shape)}
    assert (len(filters), sum(shape[0] for shape in filters.values())) == (61, 36_704)
    share = sum(map(math.prod, filters.values())) / sum(map(math.prod, shapes.values()))
    assert share == pytest.approx(0.278, abs=5e-4)


@pytest.mark.parametrize("selector", [FilterL2()])
def test_filters_of_a_network_without_convolutions_are_refused(selector: Selector) -> None:
    with pytest.raises(ConfigError, match=r"^selector=filter_l2 .* this network has none: choose another selector$"):
        selector.check([(4, 4)], PruningTarget(fraction_of_remaining=0.5, total_pruned=8))


def test_what_the_published_rules_do_not_know_is_found() -> None:
    small = t5(50, d_model=16, d_kv=4, d_ff=32, num_layers=1, num_heads=4)
    assert tied_embedding(small) == "t5.shared.weight"
    assert tied_embedding(nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 3))) is None
    assert dilated(small) is None
    assert dilated(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3, dilation=2))) == "1"
