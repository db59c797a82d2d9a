"""Every option of conf/model: sizes, shapes, what it refuses, and that weights follow the random state."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import torch
import torchvision
import yaml
from torch import nn

from bimp_exp.errors import ConfigError
from bimp_exp.model.resnet18 import ResNet18
from bimp_exp.model.resnet_cifar import Block, ResNetCifar
from bimp_exp.model.vgg import VGG16
from bimp_exp.model.wrn import WideResNet
from bimp_exp.pruning.metrics import multiply_adds
from bimp_exp.pruning.weights import prunable
from tests.conftest import ROOT

# Six more layers of ResNetCifar are a block more per stage, each two 3x3 convolutions and two BN:
# 2 * 9 * (16**2 + 32**2 + 64**2) + 2 * 2 * (16 + 32 + 64) = 97,216 parameters. ResNet-56 has 853,018.
NUM_PARAMETERS = {
    "resnet20": 853_018 - 6 * 97_216,
    "resnet32": 853_018 - 4 * 97_216,
    "resnet44": 853_018 - 2 * 97_216,
    "resnet56": 853_018,
    "resnet110": 853_018 + 9 * 97_216,
    "resnet18": 11_173_962,
    "vgg16": 14_728_266,
    "wrn28_10": 36_546_980,
    "resnet50": 25_557_032,
}
NUM_CLASSES = {"wrn28_10": 100, "resnet50": 1000}  # 10 for the others
# Prunable weights, prunable tensors, multiply-adds of an image of 3x32x32, or 3x224x224; docs/method.md, Networks.
SIZES = {
    "resnet56": (848_944, 56, 125_485_696),
    "resnet18": (11_164_352, 21, 555_422_720),
    "vgg16": (14_715_584, 14, 313_201_664),
    "wrn28_10": (36_518_832, 29, 5_951_175_168),
    "resnet50": (25_502_912, 54, 4_089_184_256),
}


def build(name: str, image_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10) -> nn.Module:
    target, config = read(name)
    model = target(**config, image_shape=image_shape, num_classes=num_classes)
    assert isinstance(model, nn.Module)
    return model


def read(name: str) -> tuple[Any, dict[str, Any]]:
    config = yaml.safe_load((ROOT / "conf" / "model" / f"{name}.yaml").read_text())
    module, _, target = config.pop("_target_").rpartition(".")
    return getattr(importlib.import_module(module), target), config


def num_classes_of(name: str) -> int:
    return NUM_CLASSES.get(name, 10)


ELSEWHERE = {  # test_segmentation_models.py, test_t5.py, test_timm.py; ../test_counting.py
    "deeplabv3", "deeplab_tiny", "pspnet", "pspnet_tiny", "t5_small", "t5_tiny", "timm", "maxvit_t", "maxvit_tiny",
}  # fmt: skip


def test_every_option_is_tested_here() -> None:
    assert {path.stem for path in (ROOT / "conf" / "model").glob("*.yaml")} - ELSEWHERE == set(NUM_PARAMETERS)


@pytest.mark.parametrize("name", NUM_PARAMETERS)
def test_config_has_every_parameter_and_python_has_no_default(name: str) -> None:
    target, config = read(name)
    parameters = inspect.signature(target).parameters
    assert set(parameters) == {*config, "image_shape", "num_classes"}
    assert all(parameter.default is parameter.empty for parameter in parameters.values())


@pytest.mark.parametrize("name", NUM_PARAMETERS)
def test_num_parameters(name: str) -> None:
    with torch.device("meta"):
        model = build(name, num_classes=num_classes_of(name))
    assert sum(parameter.numel() for parameter in model.parameters()) == NUM_PARAMETERS[name]


@pytest.mark.parametrize("name", SIZES)
def test_prunable_weights_and_multiply_adds(name: str) -> None:
    with torch.device("meta"):
        model = build(name, num_classes=num_classes_of(name))
    weights = prunable(model)
    shape = (3, 224, 224) if name == "resnet50" else (3, 32, 32)
    counts = multiply_adds(model, shape)
    num_weights = sum(weight.numel() for weight in weights.values())
    assert (num_weights, len(weights), sum(counts.values())) == SIZES[name]
    assert counts == multiply_adds(model, shape, padding_blind=True)  # "same" padding everywhere
    assert all(counts.values())


@pytest.mark.parametrize("name", ["resnet20", "resnet110"])
def test_digits_go_through_the_thin_resnets(name: str) -> None:
    model = build(name, (1, 8, 8))
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    # The stem makes 16 channels out of one on 64 pixels, 9 weights each; the classifier sees one position.
    counts = list(multiply_adds(model, (1, 8, 8)).values())
    assert (counts[0], counts[-1]) == (16 * 9 * 64, 64 * 10)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet20", (4, 4)),
        ("resnet20", (28, 31)),
        ("resnet18", (8, 8)),
        ("resnet18", (9, 30)),
        ("vgg16", (32, 32)),
        ("vgg16", (33, 64)),
        ("resnet50", (32, 32)),
        ("resnet50", (33, 64)),
    ],
)
def test_any_size_from_the_smallest_on(name: str, size: tuple[int, int]) -> None:
    model = build(name, (2, *size), num_classes=3)
    assert model(torch.rand(2, 2, *size)).shape == (2, 3)


def test_wide_resnet_takes_its_smallest_size() -> None:
    model = WideResNet(10, 1, 0.3, 0.9, image_shape=(1, 4, 4), num_classes=3)
    assert model(torch.rand(2, 1, 4, 4)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "size", "smallest"),
    [
        ("vgg16", (8, 8), 32),
        ("vgg16", (31, 64), 32),
        ("resnet18", (8, 7), 8),
        ("resnet20", (3, 4), 4),
        ("wrn28_10", (3, 3), 4),
        ("resnet50", (31, 224), 32),
    ],
)
def test_too_small_images_are_refused(name: str, size: tuple[int, int], smallest: int) -> None:
    with pytest.raises(ConfigError) as error:
        build(name, (1, *size))
    message = str(error.value)
    assert message.startswith("model: ")
    assert f"at least {smallest}x{smallest} pixels, not {size[0]}x{size[1]}" in message
    assert "resnet20" in message
    assert "\n" not in message


@pytest.mark.parametrize("depth", [1, 2, 7, 18, 55, 57])
def test_thin_resnet_refuses_other_depths(depth: int) -> None:
    with pytest.raises(ConfigError, match=rf"^model\.depth: {depth} is not 6n\+2"):
        ResNetCifar(depth, image_shape=(3, 32, 32), num_classes=10)


@pytest.mark.parametrize("depth", [1, 4, 20, 29])
def test_wide_resnet_refuses_other_depths(depth: int) -> None:
    with pytest.raises(ConfigError, match=rf"^model\.depth: {depth} is not 6n\+4"):
        WideResNet(depth, 1, 0.3, 0.9, image_shape=(3, 32, 32), num_classes=10)


def tiny(family: str) -> nn.Module:
    match family:
        case "resnet_cifar":
            return ResNetCifar(8, image_shape=(1, 8, 8), num_classes=3)
        case "resnet18":
            return ResNet18(image_shape=(1, 8, 8), num_classes=3)
        case "vgg":
            return VGG16(image_shape=(1, 32, 32), num_classes=3)
        case _:
            return WideResNet(10, 1, 0.3, 0.9, image_shape=(1, 8, 8), num_classes=3)


@pytest.mark.parametrize("family", ["resnet_cifar", "resnet18", "vgg", "wrn"])
def test_weights_are_a_function_of_the_random_state(family: str) -> None:
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(tiny(family))
    first, again, other = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


@pytest.mark.parametrize("family", ["resnet_cifar", "resnet18", "vgg", "wrn"])
def test_every_parameter_is_used(family: str) -> None:
    torch.manual_seed(0)
    model = tiny(family)
    images = torch.rand(4, 1, 32, 32) if family == "vgg" else torch.rand(4, 1, 8, 8)
    model(images).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_resnet50_is_torchvisions() -> None:
    """Names, so that checkpoints are exchanged; with equal weights the same outputs; drawn at random, the same spread."""
    torch.manual_seed(0)
    ours, theirs = build("resnet50", (3, 64, 64), 7).eval(), torchvision.models.resnet50(num_classes=7).eval()
    for (name, weight), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        if weight.ndim == 4:
            assert weight.std().item() == pytest.approx(other.std().item(), rel=0.05), name
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 3, 64, 96)
    torch.testing.assert_close(ours(images), theirs(images))


def test_option_a_shortcut_takes_every_second_pixel_and_pads_channels() -> None:
    block = Block(2, 4, stride=2).eval()
    nn.init.zeros_(block.conv2.weight)  # only the shortcut is left
    images = torch.arange(2 * 4 * 4.0).view(1, 2, 4, 4)
    out = block(images)
    assert torch.equal(out[0, 1], torch.tensor([[0.0, 2.0], [8.0, 10.0]]))
    assert torch.equal(out[0, 2], torch.tensor([[16.0, 18.0], [24.0, 26.0]]))
    assert out[0, 0].abs().sum() == out[0, 3].abs().sum() == 0


def test_wide_resnet_follows_its_source() -> None:
    with torch.device("meta"):
        model = build("wrn28_10", num_classes=100)
    modules = dict(model.named_modules())
    assert modules["bn"].momentum == 0.9
    assert modules["blocks.4.bn1"].momentum == 0.1
    assert modules["blocks.4.dropout"].p == 0.3
    # The second stage begins with block 4: the stride is in its second convolution.
    assert modules["blocks.4.conv1"].stride == (1, 1)
    assert modules["blocks.4.conv2"].stride == (2, 2)
    assert isinstance(modules["blocks.4.shortcut"], nn.Conv2d)
    assert all(module.bias is not None for module in modules.values() if isinstance(module, nn.Conv2d))
    assert sum(isinstance(module, nn.Dropout) for module in modules.values()) == 12
