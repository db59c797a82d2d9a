"""model=timm: networks by name, with what the data say of them, and weights from files alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from bimp_exp.config.check import check
from bimp_exp.errors import ConfigError, DataError
from bimp_exp.model.timm_ import create
from bimp_exp.pruning.weights import prunable
from bimp_exp.run.code import reached
from tests.conftest import composed
from tests.test_run import load, run

SHAPE = (1, 32, 32)
NAMES = ["test_convnext", "test_vit", "test_resnet", "test_efficientnet"]


@pytest.mark.parametrize("name", NAMES)
def test_a_network_has_the_channels_the_size_and_the_classes_of_the_data(name: str) -> None:
    model = create(name, None, image_shape=SHAPE, num_classes=7)
    assert model(torch.zeros(2, *SHAPE)).shape == (2, 7)
    assert prunable(model)


def test_an_architecture_that_asks_for_the_size_is_told() -> None:
    """224 x 224 pixels in patches of 16 x 16 and a token are 197 places; 32 x 48 are 7."""
    model = create("vit_tiny_patch16_224", None, image_shape=(3, 32, 48), num_classes=7)
    assert model.pos_embed.shape == (1, 7, 192)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("convnext_ato", "has no such network; did you mean convnext_atto, "),
        ("hf-hub:timm/resnet18.a1_in1k", "has no such network"),
        ("", "has no such network"),
        ("mixer_b16_224", "not for images of 1 x 0 x 32 ("),
    ],
)
def test_what_cannot_be_made_is_one_line(name: str, words: str) -> None:
    shape = (1, 0, 32) if "1 x 0" in words else SHAPE
    with pytest.raises(ConfigError) as caught:
        create(name, None, image_shape=shape, num_classes=7)
    assert str(caught.value).startswith(f"model.name={name}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_come_from_a_file_and_a_classifier_of_other_classes_stays_out(tmp_path: Path) -> None:
    theirs = timm.create_model("test_resnet", num_classes=20, in_chans=1).state_dict()
    torch.save(theirs, tmp_path / "w.pth")
    save_file(theirs, tmp_path / "w.safetensors")
    for file in ("w.pth", "w.safetensors"):
        for num_classes in (20, 7):
            torch.manual_seed(1)
            ours = create("test_resnet", str(tmp_path / file), image_shape=SHAPE, num_classes=num_classes).state_dict()
            torch.manual_seed(1)
            fresh = create("test_resnet", None, image_shape=SHAPE, num_classes=num_classes).state_dict()
            head = {name for name in ours if name.startswith("fc.")}
            assert len(head) == 2
            for name in ours:
                expected = fresh if num_classes == 7 and name in head else theirs
                assert torch.equal(ours[name], expected[name]), name
    for name, words in [
        ("test_vit", "not a checkpoint of this model"),
        ("test_resnet", "model.weights=nowhere.pth: there is no"),
    ]:
        path = str(tmp_path / "w.pth") if name == "test_vit" else "nowhere.pth"
        with pytest.raises(DataError, match=words):
            create(name, path, image_shape=SHAPE, num_classes=20)


def test_the_version_of_timm_is_in_the_key_of_its_phases_and_of_no_others() -> None:
    assert reached(["bimp_exp.model.timm_.create"]).installed == {"timm": timm.__version__}
    assert reached(["bimp_exp.model.resnet18.ResNet18"]).installed == {}


def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    check(composed("model=timm"))  # needs no timm
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"^model=timm needs timm: pip install 'bimp-exp\[tasks\]'$"):
        create("resnet18", None, image_shape=SHAPE, num_classes=7)


@pytest.mark.parametrize("name", ["test_convnext", "test_vit", "test_resnet"])
def test_a_run_prunes_and_counts_and_other_weights_are_another_run(name: str, tmp_path: Path) -> None:
    line = [
        "model=timm", f"model.name={name}", "dataset=synthetic", "dataset.num_train_images=100", "dataset.num_test_images=20",
        "budget.epochs=2", "budget.dense_epochs=1", "budget.cycles=1", "lr.initial=0.001", "tracking=none", "runtime.threads=1",
        "sparsity=0.5", "model.weights=w.pth",
    ]  # fmt: skip
    keys = []
    for number in (1, 2):
        torch.manual_seed(number)
        model = timm.create_model(name, num_classes=10, **({"img_size": 32} if name == "test_vit" else {}))
        torch.save(model.state_dict(), tmp_path / "w.pth")
        run(tmp_path, *line, f"hydra.run.dir=out{number}")
        result = load(tmp_path / f"out{number}" / "result.json")
        keys.append(result["phases"][0]["key"])
    assert keys[0] != keys[1]
    assert load(tmp_path / "out1" / "run.json")["choices"]["model"] == f"timm {name} weights=w.pth"
    assert abs(result["final"]["sparsity"] - 0.5) < 1e-4
    assert result["final"]["theoretical_speedup"] > 1.2
