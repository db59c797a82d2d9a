"""DeepLabV3 and PSPNet: sizes and work of the paper's, torchvision's outputs, and backbones from a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.segmentation import deeplabv3_resnet50

from bimp_exp.errors import DataError
from bimp_exp.model.pspnet import Pyramid, _pool
from bimp_exp.pruning import metrics
from bimp_exp.pruning.weights import prunable
from tests.conftest import composed, golden

OPTIONS = {"torchvision.models.segmentation.deeplabv3_resnet50": "deeplabv3", "PSPNet": "pspnet"}
FACTS = [case for case in golden("tasks", kind="task_model_facts") if case.values[0]["inputs"]["model"] in OPTIONS]


def network(option: str, *overrides: str, side: int = 64, num_classes: int = 21) -> nn.Module:
    """With tensors that have no values, unless it is made in another context."""
    config = composed(f"model={option}", *overrides)["model"]
    made: nn.Module = instantiate(config)(image_shape=(3, side, side), num_classes=num_classes)
    return made


@pytest.mark.parametrize("case", FACTS)
def test_the_networks_have_the_golden_sizes_and_work(case: dict[str, Any]) -> None:
    given, expected = case["inputs"], case["expected"]
    with torch.device("meta"):
        model = network(OPTIONS[given["model"]], num_classes=given["arguments"]["num_classes"])
        example = torch.zeros(1, *given["input_shape"])
    weights = prunable(model)
    assert sum(p.numel() for p in model.parameters()) == expected["parameters"]
    assert sum(w.numel() for w in weights.values()) == expected["prunable_weights"] == expected["conv_weights"]
    assert len(weights) == expected["prunable_layers"] == expected["conv_layers"]
    shapes = [list(weight.shape) for weight in weights.values()]
    assert (shapes[0], shapes[-1]) == (expected["first_weight_shape"], expected["output_layer_weight_shape"])
    counted = metrics.multiply_adds(model, example)
    unused = {name.removesuffix(".weight").removeprefix("aux_head") for name, num in counted.items() if not num}
    assert unused == {name.removeprefix("aux") for name in expected["info_only_unused_at_inference"]}
    assert sum(num or 0 for num in counted.values()) == expected["macs_all"]


@pytest.mark.parametrize(
    ("option", "overrides", "parameters"),
    [
        ("deeplabv3", ["model.aux_head=true"], 42_004_074),
        ("deeplabv3", ["model.backbone=resnet101"], 58_630_997),
        ("deeplabv3", ["model.backbone=resnet101", "model.aux_head=true"], 60_996_202),
    ],
)
def test_other_backbones_and_heads_have_the_sizes_of_torchvision(
    option: str, overrides: list[str], parameters: int
) -> None:
    with torch.device("meta"):
        model = network(option, *overrides)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("aux", [False, True])
def test_deeplabv3_gives_what_torchvision_gives(aux: bool) -> None:
    torch.manual_seed(0)
    theirs = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=aux)
    ours = network("deeplabv3", f"model.aux_head={str(aux).lower()}")
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 40, 56)
    theirs.eval(), ours.eval()
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images)["out"])
        theirs.train(), ours.train()
        torch.manual_seed(1)  # dropout
        given = ours(images)
        torch.manual_seed(1)
        wanted = theirs(images)
    pairs = [(given[name], wanted[name]) for name in ("out", "aux")] if aux else [(given, wanted["out"])]
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(6, 6), (13, 8), (4, 5)])
def test_the_pyramid_pools_as_torch_does(bins: int, size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(_pool(x, bins), nn.AdaptiveAvgPool2d(bins)(x))


def test_the_pyramid_keeps_its_input_and_adds_four_levels() -> None:
    pyramid = Pyramid(8, 2).eval()
    x = torch.randn(1, 8, 12, 10)
    out = pyramid(x)
    assert out.shape == (1, 16, 12, 10)
    assert torch.equal(out[:, :8], x)
    torch.testing.assert_close(out[:, 8:10], out[:, 8:10, :1, :1].expand(1, 2, 12, 10))  # one bin: the same everywhere


def test_pspnet_gives_its_auxiliary_logits_in_train_mode_alone() -> None:
    model = network("pspnet_tiny", side=32, num_classes=5)
    images = torch.randn(2, 3, 32, 48)
    trained = model.train()(images)
    assert {name: tuple(each.shape) for name, each in trained.items()} == dict.fromkeys(("out", "aux"), (2, 5, 32, 48))
    assert model.eval()(images).shape == (2, 5, 32, 48)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Of torchvision's ResNet-50 for ImageNet, at random."""
    torch.manual_seed(0)
    return resnet50(weights=None).state_dict()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_backbone_has_the_weights_of_its_file(suffix: str, weights: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / f"resnet50.{suffix}"
    save_file(weights, file) if suffix == "safetensors" else torch.save(weights, file)
    torch.manual_seed(1)
    state = network("deeplabv3", f"model.backbone_weights={file}").state_dict()
    torch.manual_seed(1)
    fresh = network("deeplabv3").state_dict()
    mine = {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
    assert mine.keys() == weights.keys() - {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, weights[name]) for name, value in mine.items())
    heads = [name for name in state if not name.startswith("backbone.")]
    assert all(torch.equal(state[name], fresh[name]) for name in heads)


def test_a_file_that_does_not_fit_is_refused_in_a_line_before_anything_is_made(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    file = tmp_path / "weights.pth"
    torch.save(weights, file)
    content = file.read_bytes()
    safe = tmp_path / "weights.safetensors"
    save_file(weights, safe)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(safe.read_bytes()[:1000])
    wide = {**weights, "conv1.weight": torch.zeros(64, 3, 3, 3)}
    infinite = {**weights, "conv1.weight": torch.full((64, 3, 7, 7), math.inf)}

    def refused(path: Path, message: str, *, option: str = "deeplabv3") -> None:
        with torch.device("meta"), pytest.raises(DataError) as error:
            network(option, f"model.backbone_weights={path}")
        assert str(error.value).startswith(f"model.backbone_weights={path}: {message}")
        assert "\n" not in str(error.value)

    refused(tmp_path / "none.pth", "there is no such file")
    refused(tmp_path, "there is no such file")
    refused(cut, "not a file of safetensors, or a damaged one")
    refused(file, "not a checkpoint of this model: layer3.10.bn1.bias is absent there", option="pspnet")  # ResNet-101
    for state, message in (
        (wide, "not a checkpoint of this model: conv1.weight is floating (64, 3, 3, 3) on cpu there"),
        (infinite, "conv1.weight holds numbers that are not finite"),
        ({"state_dict": weights}, "not a state_dict, a mapping of names to tensors"),
        (
            {f"module.{name}": value for name, value in weights.items()},
            "not a checkpoint of this model: bn1.bias is absent there",
        ),
    ):
        torch.save(state, file)
        refused(file, message)
    file.write_bytes(content[: len(content) // 2])
    refused(file, "not a file that torch.save wrote, or a damaged one")
