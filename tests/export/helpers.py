"""Small networks of every family with random batch-norm statistics, and filters of theirs set to zero."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bimp_exp.model.resnet18 import ResNet18
from bimp_exp.model.resnet50 import ResNet50
from bimp_exp.model.resnet_cifar import ResNetCifar
from bimp_exp.model.vgg import VGG16
from bimp_exp.model.wrn import WideResNet

SHAPES = {ResNetCifar: (2, 9, 7), WideResNet: (2, 7, 9), ResNet18: (1, 9, 8), VGG16: (1, 32, 33), ResNet50: (1, 33, 32)}
MAKE: dict[type[nn.Module], Callable[[], nn.Module]] = {
    ResNetCifar: lambda: ResNetCifar(14, image_shape=SHAPES[ResNetCifar], num_classes=3),
    WideResNet: lambda: WideResNet(10, 1, 0.3, 0.9, image_shape=SHAPES[WideResNet], num_classes=3),
    ResNet18: lambda: ResNet18(image_shape=SHAPES[ResNet18], num_classes=3),
    VGG16: lambda: VGG16(image_shape=SHAPES[VGG16], num_classes=3),
    ResNet50: lambda: ResNet50(image_shape=SHAPES[ResNet50], num_classes=3),
}


def network(family: type[nn.Module], seed: int = 0) -> nn.Module:
    """In eval mode; scales, shifts and means of batch-norm are of both signs."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MAKE[family]()
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                for tensor in (layer.weight.data, layer.bias.data, layer.running_mean):
                    tensor.normal_()
                layer.running_var.uniform_(0.5, 2)
    return model.eval().requires_grad_(False)


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]


def without_filters(model: nn.Module, share: float, seed: int = 0) -> nn.Module:
    """``model``, each of its filters gone with probability ``share``."""
    generator = torch.Generator().manual_seed(seed)
    for layer in convolutions(model):
        layer.weight[torch.rand(len(layer.weight), generator=generator) < share] = 0
    return model


def relative_difference(expected: Tensor, outputs: Tensor) -> float:
    return ((outputs - expected).abs().max() / expected.abs().max()).item()
