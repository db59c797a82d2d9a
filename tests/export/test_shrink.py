"""The smaller network computes what the masked one does, whatever is masked; and it is smaller where it can be."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bimp_exp.errors import ConfigError
from bimp_exp.export.shrink import Offset, Widen, shrink
from bimp_exp.model.resnet18 import ResNet18
from bimp_exp.model.resnet50 import ResNet50
from bimp_exp.model.resnet_cifar import ResNetCifar
from bimp_exp.model.vgg import VGG16
from bimp_exp.model.wrn import WideResNet
from tests.conftest import ROOT
from tests.export.helpers import MAKE, SHAPES, convolutions, network, relative_difference, without_filters

Sums = Literal["free", "coupled"]
BOTH: tuple[Sums, Sums] = ("free", "coupled")


def test_every_family_of_conf_model_is_tested_here() -> None:
    others = {
        "deeplabv3.DeepLabV3",
        "pspnet.PSPNet",
        "t5.T5",
        "maxvit.MaxViT",
        "timm_.create",
    }  # not exported, or by chance
    targets = {yaml.safe_load(path.read_text())["_target_"] for path in (ROOT / "conf" / "model").glob("*.yaml")}
    targets -= {f"bimp_exp.model.{name}" for name in others}
    assert targets == {f"{family.__module__}.{family.__name__}" for family in MAKE}


def assert_equal(model: nn.Module, image_shape: tuple[int, ...]) -> None:
    """1e-5 as it is, 1e-10 in float64, where hardly anything is lost by adding up in another order."""
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        images = torch.randn(3, *image_shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        expected = model.to(dtype)(images)
        for sums in BOTH:
            outputs = shrink(model, image_shape, sums=sums)(images)
            assert outputs.dtype == dtype
            assert relative_difference(expected, outputs) <= tolerance, (sums, dtype)


SHARES = st.sampled_from([0.0, 0.1, 0.5, 0.8, 0.95])
SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("family", [ResNetCifar, WideResNet])
@settings(max_examples=12, deadline=None)
@given(share=SHARES, seed=SEEDS)
def test_equal_to_the_masked_network(family: type[nn.Module], share: float, seed: int) -> None:
    assert_equal(without_filters(network(family, seed), share, seed), SHAPES[family])


@pytest.mark.parametrize("family", [ResNet18, VGG16, ResNet50])
@settings(max_examples=2, deadline=None)
@given(share=SHARES, seed=SEEDS)
def test_equal_to_the_masked_network_of_many_weights(family: type[nn.Module], share: float, seed: int) -> None:
    assert_equal(without_filters(network(family, seed), share, seed), SHAPES[family])


@pytest.mark.parametrize("family", MAKE)
def test_one_filter_left_in_every_layer(family: type[nn.Module]) -> None:
    model = network(family)
    for layer in convolutions(model):
        layer.weight[: len(layer.weight) // 2] = 0
        layer.weight[len(layer.weight) // 2 + 1 :] = 0
    assert_equal(model, SHAPES[family])
    assert all(layer.weight.shape[0] == 1 for layer in convolutions(shrink(model, SHAPES[family], sums="free")))


@pytest.mark.parametrize(
    ("family", "emptied"),
    [
        *((family, emptied) for family in (ResNetCifar, WideResNet) for emptied in ("first", "second", "last", "all")),
        (ResNet18, "second"),
    ],
)
def test_layers_without_any_filter(family: type[nn.Module], emptied: str) -> None:
    model = network(family)
    layers = convolutions(model)
    chosen = {"first": layers[:1], "second": layers[1:2], "last": layers[-1:], "all": layers}[emptied]
    for layer in chosen:
        layer.weight.zero_()
    assert_equal(model, SHAPES[family])


def test_single_weights_left_anywhere() -> None:
    """Unstructured: some channels happen to be dead, some read nothing but dead channels."""
    model = network(ResNetCifar)
    generator = torch.Generator().manual_seed(0)
    for layer in [*convolutions(model), model.classifier]:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        layer.weight[torch.rand(layer.weight.shape, generator=generator) < 0.99] = 0
    assert_equal(model, SHAPES[ResNetCifar])


def stack() -> nn.Sequential:
    """Of two channels the first has no filter; batch-norm makes it 3. It is summed up by a 3x3 convolution."""
    first, norm, second = nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 3, padding=1, bias=False)
    first.weight.data = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    norm.bias.data = torch.tensor([3.0, 0.0])
    second.weight.data = torch.ones(1, 2, 3, 3)
    return nn.Sequential(first, norm, nn.ReLU(), second).eval().requires_grad_(False)


def test_a_constant_channel_becomes_a_map_that_knows_the_border() -> None:
    model = shrink(stack(), (1, 3, 3), sums="free")
    assert [layer.weight.shape for layer in convolutions(model)] == [(1, 1, 1, 1), (1, 1, 3, 3)]
    (offset,) = (layer for layer in model.modules() if isinstance(layer, Offset))
    # 3 times the number of neighbours inside the image: 4 in a corner, 6 at an edge, 9 in the middle.
    assert offset.value.tolist() == [[[[12, 18, 12], [18, 27, 18], [12, 18, 12]]]]


def test_without_a_border_it_becomes_a_bias() -> None:
    model = stack()
    model[3].padding = (0, 0)
    small = shrink(model, (1, 3, 3), sums="free")
    assert not [layer for layer in small.modules() if isinstance(layer, Offset)]
    bias = convolutions(small)[1].bias
    assert bias is not None
    assert bias.tolist() == [27]


def test_what_reads_dead_channels_only_is_dead_too() -> None:
    model = stack()
    model[3].weight[:, 1] = 0  # the second convolution sees the 3 alone
    model.extend([nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)]).requires_grad_(False)
    small = shrink(model, (1, 3, 3), sums="free")
    assert convolutions(small)[2].weight.shape == (1, 1, 1, 1)
    assert_equal(model, (1, 3, 3))


def test_inner_channels_of_a_block_go_without_a_trace() -> None:
    model = network(ResNetCifar)
    model.get_submodule("blocks.0.bn1").bias.data.fill_(-100.0)  # dead channels are 0 after ReLU
    model.get_submodule("blocks.0.conv1").weight[:6] = 0
    small = shrink(model, SHAPES[ResNetCifar], sums="coupled")
    shapes = [tuple(layer.weight.shape[:2]) for layer in convolutions(small)]
    assert shapes[:4] == [(16, 2), (10, 16), (16, 10), (16, 16)]
    assert not [layer for layer in small.modules() if isinstance(layer, Offset | Widen)]


def test_a_channel_of_the_residual_stream_goes_where_all_that_write_it_pruned_it() -> None:
    model = network(ResNetCifar)
    # Channel 3 of 16; half of the new channels come before the old ones: channel 8 + 3 of 32, channel 16 + 11 of 64.
    writers = [
        ("conv", 3), ("blocks.0.conv2", 3), ("blocks.1.conv2", 3), ("blocks.2.conv2", 11), ("blocks.3.conv2", 11),
        ("blocks.4.conv2", 27), ("blocks.5.conv2", 27),
    ]  # fmt: skip
    for name, channel in writers:
        model.get_submodule(name).weight[channel] = 0
    shape = SHAPES[ResNetCifar]
    small = shrink(model, shape, sums="coupled")
    assert [small.get_submodule(name).weight.shape[0] for name, _ in writers] == [15, 15, 15, 31, 31, 63, 63]
    assert small.get_submodule("classifier").in_features == 63
    # The padding still makes channels that live; nothing else was needed.
    assert not [layer for layer in small.modules() if isinstance(layer, Widen)]
    model.get_submodule("blocks.3.conv2").weight[11, 0, 0, 0] = 1
    model = shrink(model, shape, sums="coupled")
    assert [model.get_submodule(name).weight.shape[0] for name, _ in writers] == [16, 16, 16, 32, 32, 64, 64]


def test_free_sums_cut_what_coupled_ones_keep() -> None:
    model = network(ResNetCifar)
    model.get_submodule("blocks.0.conv2").weight[:10] = 0
    free, coupled = (shrink(model, SHAPES[ResNetCifar], sums=sums) for sums in BOTH)
    assert [small.get_submodule("blocks.0.conv2").weight.shape[0] for small in (free, coupled)] == [6, 16]


@pytest.mark.parametrize("sums", BOTH)
def test_the_model_stays_as_it_is_and_nothing_goes_where_all_live(sums: Sums) -> None:
    model = network(ResNetCifar).train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    small = shrink(model, SHAPES[ResNetCifar], sums=sums)
    assert model.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert {name: t.shape for name, t in small.named_parameters()} == {n: t.shape for n, t in model.named_parameters()}


class Odd(nn.Module):
    """What is not known to keep channels apart: groups, normalisation over channels, a layer used twice, concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.twice = nn.Conv2d(4, 4, 3, padding=2, dilation=2, padding_mode="reflect")
        self.grouped = nn.Conv2d(8, 4, 3, groups=2)
        self.strided = nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0))
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        a, b = self.norm(y), self.twice(self.twice(y))
        y = self.strided(self.grouped(torch.cat([a + y, b + b], 1)).relu() + 1)
        return self.last(y.amax(3).mean(2))


@pytest.mark.parametrize("layers", [["first"], ["twice"], ["grouped"], ["strided"], ["first", "strided", "grouped"]])
def test_unknown_operations_get_all_channels(layers: list[str]) -> None:
    torch.manual_seed(0)
    model = Odd().requires_grad_(False)
    for name in layers:
        model.get_submodule(name).weight[:2] = 0
    assert_equal(model, (1, 9, 9))


def test_a_forward_pass_that_depends_on_the_data_is_refused() -> None:
    class Depends(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() > 0 else x

    with pytest.raises(ConfigError, match=r"^model: its forward pass cannot be exported") as error:
        shrink(nn.Sequential(Depends(2, 2)), (2,), sums="free")
    assert "\n" not in str(error.value)
