"""Metrics against the golden numbers, against sums a reader can do, and that measuring leaves no trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bimp_exp.errors import ConfigError
from bimp_exp.model.resnet_cifar import ResNetCifar
from bimp_exp.model.vgg import VGG16
from bimp_exp.pruning.metrics import (
    LayerCount,
    Speedup,
    images_per_second,
    layer_counts,
    multiply_adds,
    pruning_stability,
    sparsity,
    sparsity_all_parameters,
    theoretical_speedup,
    total,
)
from bimp_exp.pruning.weights import prunable
from tests.conftest import golden

Case = dict[str, Any]


def layer(spec: Case) -> list[nn.Module]:
    match spec["type"]:
        case "conv":
            options = {"groups": spec.get("groups", 1), "dilation": spec.get("dilation", 1)}
            return [nn.Conv2d(spec["in"], spec["out"], spec["k"], spec["stride"], spec["pad"], **options)]
        case "linear":
            return [nn.Linear(spec["in"], spec["out"])]
        case "bn":
            return [nn.BatchNorm2d(spec["out"])]
        case "relu":
            return [nn.ReLU()]
        case "maxpool2":
            return [nn.MaxPool2d(2)]
        case "gap":
            return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        case "flatten":
            return [nn.Flatten()]
    raise AssertionError(spec)


def keep_only(weight: Tensor, num_nonzero: int) -> None:
    """Ones, then zeros."""
    with torch.no_grad():
        weight.fill_(0).view(-1)[:num_nonzero] = 1


@pytest.mark.parametrize("case", golden("metrics_models", kind="theoretical_speedup"))
def test_golden_speedup(case: Case) -> None:
    given, expected = case["inputs"], case["expected"]
    model = nn.Sequential(*(module for spec in given["layers"] for module in layer(spec)))
    nonzero = given["nonzero_weights_per_conv_or_linear"]
    for weight, num_nonzero in zip(prunable(model).values(), nonzero, strict=True):
        keep_only(weight, num_nonzero)
    counts = layer_counts(model)
    assert [c.num_weights for c in counts] == given["weights_per_conv_or_linear"]
    assert [c.num_weights - c.num_zeros for c in counts] == nonzero

    exact = multiply_adds(model, given["input_shape"])
    assert list(exact.values()) == expected["exact"]["macs_per_layer"]
    check_speedup(theoretical_speedup(exact, counts), expected["exact"], "sparse")

    published = expected["shrinkbench_convention"]
    if isinstance(published, str):
        with pytest.raises(ConfigError, match=r"^conventions: .* dilation, which 0\.weight has"):
            multiply_adds(model, given["input_shape"], padding_blind=True)
        return
    blind = multiply_adds(model, given["input_shape"], padding_blind=True)
    speedup = theoretical_speedup(blind, counts, padding_blind=True)
    check_speedup(speedup, published, "sparse_truncated_to_int")


def check_speedup(found: Speedup, expected: Case, sparse: str) -> None:
    infinite = isinstance(expected["speedup"], str)  # "inf", or "undefined" in the published code
    speedup = math.inf if infinite else expected["speedup"]
    assert (found.dense, found.sparse) == (expected["dense"], expected[sparse])
    assert found.speedup == pytest.approx(speedup, rel=1e-9)


@pytest.mark.parametrize("case", golden("metrics_models", kind="pruning_stability"))
def test_golden_stability(case: Case) -> None:
    given, expected = case["inputs"], case["expected"]
    for clipped, key in ((False, "bimp_code_unclipped"), (True, "definition_clipped_to_0_1")):
        found = pruning_stability(given["acc_before"], given["acc_after"], clipped=clipped)
        assert found == pytest.approx(expected[key], rel=1e-9)


@pytest.mark.parametrize("case", golden("metrics_models", kind="images_per_second"))
def test_golden_images_per_second(case: Case) -> None:
    given, expected = case["inputs"], case["expected"]
    for mean_of_rates, key in (
        (True, "bimp_code_mean_of_rates"),
        (False, "total_images_over_total_time"),
    ):
        found = images_per_second(given["batch_sizes"], given["seconds"], mean_of_rates=mean_of_rates)
        assert found == pytest.approx(expected[key], rel=1e-9)


@pytest.mark.parametrize("case", golden("metrics_models", kind="sparsity"))
def test_golden_sparsity(case: Case) -> None:
    given, expected = case["inputs"], case["expected"]
    model = nn.Module()
    for index, (size, num_zeros) in enumerate(given["prunable_tensors_size_and_zeros"]):
        linear = nn.Linear(size, 1, bias=False)
        keep_only(linear.weight, size - num_zeros)
        model.add_module(f"linear{index}", linear)
    for index, (size, num_zeros) in enumerate(given["other_tensors_size_and_zeros"]):
        parameter = nn.Parameter(torch.empty(size))
        keep_only(parameter, size - num_zeros)
        model.register_parameter(f"other{index}", parameter)
    assert sparsity(layer_counts(model)) == pytest.approx(expected["sparsity_of_prunable"], rel=1e-9)
    found = sparsity_all_parameters(model)
    assert found == pytest.approx(expected["sparsity_of_all_parameters"], rel=1e-9)


def known_model(name: str) -> nn.Module:
    match name:
        case "ResNet56-CIFAR10":
            return ResNetCifar(56, image_shape=(3, 32, 32), num_classes=10)
        case "VGG16-CIFAR10":
            return VGG16(image_shape=(3, 32, 32), num_classes=10)
        case "ResNet50-ImageNet":
            return torchvision.models.resnet50(weights=None)  # type: ignore[no-any-return]
        case "DeepLabV3-ResNet50-21cls-noaux":
            build = torchvision.models.segmentation.deeplabv3_resnet50
            return build(weights=None, weights_backbone=None, num_classes=21)  # type: ignore[no-any-return]
    raise AssertionError(name)


@pytest.mark.parametrize("case", golden("metrics_models", kind="model_facts"))
def test_golden_model_facts(case: Case) -> None:
    given, expected = case["inputs"], case["expected"]
    with torch.device("meta"):  # shapes without the arithmetic
        model = known_model(given["model"])
    weights = prunable(model)
    shapes = [list(weight.shape) for weight in weights.values()]
    assert sum(parameter.numel() for parameter in model.parameters()) == expected["parameters"]
    assert sum(weight.numel() for weight in weights.values()) == expected["conv_linear_weights"]
    assert len(weights) == expected["conv_linear_layers"]
    assert (shapes[0], shapes[-1]) == (expected["first_prunable"], expected["last_prunable"])
    assert weights.keys() <= model.state_dict().keys()
    if given["input_shape"]:
        exact = multiply_adds(model, given["input_shape"])
        blind = multiply_adds(model, given["input_shape"], padding_blind=True)
        assert sum(exact.values()) == expected["exact_macs"]
        assert sum(blind.values()) == expected["shrinkbench_convention_macs"]


def test_maxvit_with_its_layer_norms_tokens_and_groups() -> None:
    with torch.device("meta"):
        model = torchvision.models.maxvit_t(weights=None)
    assert len(prunable(model)) == 151
    literal = prunable(model, every_weight=True)
    assert len(literal) == 196
    assert sum(w.numel() for w in literal.values()) - sum(w.numel() for w in prunable(model).values()) == 11_264
    assert sum(multiply_adds(model, (3, 224, 224)).values()) == 5_381_025_792
    blind = multiply_adds(model, (3, 224, 224), padding_blind=True)
    assert sum(blind.values()) / 1e9 == pytest.approx(22.3, abs=0.05)  # docs/method.md, Disagreements, row 19


def test_prunable_is_convolutions_and_linear_layers_only() -> None:
    model = nn.Sequential(
        nn.Embedding(5, 4),
        nn.Linear(4, 4),
        nn.LayerNorm(4),
        nn.BatchNorm1d(4),
        nn.Conv1d(4, 4, 1),
        nn.BatchNorm2d(4),
        nn.Conv3d(4, 4, 1),
        nn.InstanceNorm2d(4),  # has a `weight` that is None
    )
    assert list(prunable(model)) == ["1.weight", "4.weight", "6.weight"]
    literal = list(prunable(model, every_weight=True))
    assert literal == ["0.weight", "1.weight", "2.weight", "3.weight", "4.weight", "6.weight"]


def test_model_that_is_one_layer() -> None:
    model = nn.Linear(3, 2)
    assert list(prunable(model)) == ["weight"]
    assert multiply_adds(model, (3,)) == {"weight": 6}


def test_shared_weights_appear_once_and_count_at_every_use() -> None:
    first, tied = nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 2, 1, bias=False)
    tied.weight = first.weight
    keep_only(first.weight, 1)
    model = nn.Sequential(first, tied, first)
    assert list(prunable(model)) == ["0.weight"]
    counts = layer_counts(model)
    assert counts == [LayerCount(name="0.weight", num_weights=4, num_zeros=3)]
    assert sparsity_all_parameters(model) == 0.75
    # Three uses on 25 pixels, four multiply-adds each.
    exact = multiply_adds(model, (2, 5, 5))
    assert exact == {"0.weight": 3 * 25 * 4}
    assert theoretical_speedup(exact, counts) == (300, 75.0, 4.0)


class TwoLayers(nn.Module):
    """The second layer is not called; with ``reads`` its weight is used, though not as a factor of a product."""

    def __init__(self, *, reads: bool) -> None:
        super().__init__()
        self.first, self.second, self.reads = nn.Linear(3, 2), nn.Linear(3, 2), reads

    def forward(self, x: Tensor) -> Any:
        return self.first(x * self.second.weight.sum(0) if self.reads else x)


def test_a_layer_without_use_costs_nothing() -> None:
    adds = multiply_adds(TwoLayers(reads=False), (3,))
    assert adds == {"first.weight": 6, "second.weight": 0}
    assert total(adds) == 6


def test_a_weight_whose_use_is_no_product_leaves_no_speedup() -> None:
    model = TwoLayers(reads=True)
    adds = multiply_adds(model, (3,))
    assert adds == {"first.weight": 6, "second.weight": None}
    assert total(adds) is None
    assert theoretical_speedup(adds, layer_counts(model)) == (None, None, None)


def test_linear_layer_counts_every_token_unless_padding_blind() -> None:
    model = nn.Linear(3, 2)
    assert multiply_adds(model, (7, 3)) == {"weight": 42}
    assert multiply_adds(model, (7, 3), padding_blind=True) == {"weight": 6}


def test_convolution_with_unequal_sides_and_strides() -> None:
    model = nn.Conv2d(1, 1, (3, 1), stride=(2, 3))
    # 3 weights; (9 - 3) // 2 + 1 = 4 rows, (10 - 1) // 3 + 1 = 4 columns.
    # Padding-blind: ceil(9 / 2) = 5 rows, ceil(10 / 3) = 4 columns.
    assert multiply_adds(model, (1, 9, 10)) == {"weight": 3 * 16}
    assert multiply_adds(model, (1, 9, 10), padding_blind=True) == {"weight": 3 * 20}


def test_published_speedup_truncates() -> None:
    counts = [LayerCount(name="a", num_weights=4, num_zeros=1)]
    assert theoretical_speedup({"a": 6}, counts) == (6, 4.5, 6 / 4.5)
    assert theoretical_speedup({"a": 6}, counts, padding_blind=True) == (6, 4.0, 1.5)


def test_nothing_to_measure() -> None:
    assert multiply_adds(nn.ReLU(), (3,)) == {}
    assert layer_counts(nn.ReLU()) == []
    assert sparsity([]) == sparsity_all_parameters(nn.ReLU()) == 0
    assert images_per_second([], [], mean_of_rates=True) is None
    assert images_per_second([], [], mean_of_rates=False) is None
    assert pruning_stability(0.0, 0.5, clipped=True) is None  # and not a NaN, which JSON does not know
    assert pruning_stability(0.0, 0.0, clipped=False) is None


def test_negative_zero_is_a_zero_and_nan_is_not() -> None:
    model = nn.Linear(4, 1, bias=False)
    model.weight.data = torch.tensor([[-0.0, 0.0, math.nan, 1e-45]])
    assert layer_counts(model) == [LayerCount(name="weight", num_weights=4, num_zeros=2)]


def test_sizes_and_seconds_must_pair() -> None:
    for mean_of_rates in (True, False):
        with pytest.raises(ValueError, match="shorter"):
            images_per_second([128, 128], [0.1], mean_of_rates=mean_of_rates)


class Restless(nn.Module):
    """Draws a random number, changes one buffer and replaces another in every forward, in eval mode too."""

    seen: Tensor
    last: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("last", torch.zeros(()))
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        self.last = torch.rand(())
        if self.fails:
            raise RuntimeError("on purpose")
        return x


def restless_model() -> nn.Sequential:
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    return nn.Sequential(block, Restless(), nn.BatchNorm2d(4, momentum=None), nn.Flatten(), nn.LazyLinear(2))


def state(model: nn.Module) -> tuple[Any, ...]:
    buffers = {name: (id(buffer), buffer.tolist()) for name, buffer in model.named_buffers()}
    weights = {name: (id(p), p.tolist(), p.grad) for name, p in model.named_parameters()}
    flags = [module.training for module in model.modules()]
    hooks = [len(module._forward_hooks) for module in model.modules()]
    return buffers, weights, flags, hooks, torch.get_rng_state().tolist()


def set_flags(model: nn.Module, flags: Sequence[bool]) -> None:
    for module, training in zip(model.modules(), flags, strict=True):
        module.training = training


@settings(max_examples=30, deadline=None)
@given(flags=st.lists(st.booleans(), min_size=9, max_size=9), fails=st.booleans())
def test_measuring_leaves_no_trace(flags: list[bool], fails: bool) -> None:
    model = restless_model()
    model(torch.rand(2, 3, 5, 5))
    set_flags(model, flags)
    setattr(model[1], "fails", fails)  # noqa: B010 (mypy takes an attribute of a module for a module)
    before = state(model)
    if fails:
        with pytest.raises(RuntimeError, match="on purpose"):
            multiply_adds(model, (3, 5, 5))
    else:
        # 3x3 pixels of 4 * 27 weights, then 36 inputs to 2 outputs.
        assert list(multiply_adds(model, (3, 5, 5)).values()) == [9 * 108, 72]
    assert state(model) == before


def test_measured_in_eval_mode() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    # One value per channel: in training mode batch normalisation would refuse a single image.
    assert multiply_adds(model, (3, 3, 3)) == {"0.weight": 108}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_image_has_the_type_of_the_weights(dtype: torch.dtype) -> None:
    assert multiply_adds(nn.Linear(3, 2, dtype=dtype), (3,)) == {"weight": 6}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_the_cpu() -> None:
    model = ResNetCifar(8, image_shape=(3, 32, 32), num_classes=10)
    exact, counts = multiply_adds(model, (3, 32, 32)), layer_counts(model)
    model.cuda()
    before = torch.cuda.get_rng_state().tolist()
    assert (multiply_adds(model, (3, 32, 32)), layer_counts(model)) == (exact, counts)
    assert torch.cuda.get_rng_state().tolist() == before
