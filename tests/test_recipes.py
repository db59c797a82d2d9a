"""The recipes of conf/recipe/ are the paper's settings: learning rates of Table 3, and what they choose."""

from __future__ import annotations

import json

import pytest
from hydra.utils import instantiate

from bimp_exp.errors import ConfigError
from bimp_exp.run import plan
from tests.conftest import ROOT, composed

CASES = [
    case
    for case in json.loads((ROOT / "tests/golden/tasks.json").read_text())["cases"]
    if case["kind"] == "dense_lr_at"
]
RECIPES = {
    "DeepLabV3-COCO": "coco",
    "PSPNet-Cityscapes": "cityscapes",
    "T5-small-WMT16": "wmt16",
    "MaxViT-ImageNet": "maxvit",
}
TABLE_3 = {  # model, dataset, epochs, batch size, weight decay
    "cifar10": ("resnet_cifar.ResNetCifar", "cifar.Cifar", 200, 128, 5e-4),
    "cifar100": ("wrn.WideResNet", "cifar.Cifar", 200, 128, 5e-4),
    "imagenet": ("resnet50.ResNet50", "imagenet.ImageNet", 90, 256, 1e-4),
    "maxvit": ("maxvit.MaxViT", "imagenet.ImageNet", 200, 256, 1e-5),
    "coco": ("deeplabv3.DeepLabV3", "coco.COCO", 30, 36, 1e-5),
    "cityscapes": ("pspnet.PSPNet", "cityscapes.Cityscapes", 300, 12, 1e-5),
    "wmt16": ("t5.T5", "wmt16.WMT16", 5, 16, 1e-5),
}


def test_every_recipe_of_the_paper_is_here() -> None:
    assert {path.stem for path in (ROOT / "conf" / "recipe").glob("*.yaml")} == {*TABLE_3, "small_batches"}


@pytest.mark.parametrize("recipe", TABLE_3)
def test_a_recipe_chooses_what_table_3_says(recipe: str) -> None:
    cfg = composed(f"+recipe={recipe}")
    model, dataset, epochs, batch_size, weight_decay = TABLE_3[recipe]
    assert cfg["model"]["_target_"] == f"bimp_exp.model.{model}"
    assert cfg["dataset"]["_target_"] == f"bimp_exp.dataset.{dataset}"
    assert (cfg["budget"]["epochs"], cfg["optim"]["batch_size"]) == (epochs, batch_size)
    assert (cfg["optim"]["weight_decay"], cfg["optim"]["momentum"]) == (weight_decay, 0.9)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_recipe_trains_with_the_rates_of_table_3(case: dict[str, object]) -> None:
    inputs, expected = case["inputs"], case["expected"]
    cfg = composed(f"+recipe={RECIPES[inputs['setting']]}")  # type: ignore[index]
    per_epoch = inputs["dense"]["iterations_per_epoch"]  # type: ignore[index]
    schedule = instantiate(cfg["lr"], _convert_="all").schedule(cfg["budget"]["epochs"] * per_epoch, per_epoch)
    assert schedule.num_steps == expected["num_iterations"]  # type: ignore[index]
    rates = [schedule(i) for i in inputs["iterations_0_based"]]  # type: ignore[index]
    assert rates == pytest.approx(expected["lr"], rel=1e-9)  # type: ignore[index]


def test_a_recipe_under_bimp_has_a_linear_rate_with_the_same_peak_and_warmup() -> None:
    lr = composed("+recipe=cityscapes", "budget=bimp")["lr"]
    assert lr == {"_target_": "bimp_exp.lr.Linear", "initial": 0.1, "warmup_epochs": 20}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["model=t5_tiny"], "model: T5 is for translation, but this dataset is for classification"),
        (["dataset=number_words", "model=vgg16"], "model: VGG16 is for classification, but this dataset is for translation"),
        (
            ["task=segmentation"],
            "task=segmentation: this dataset is for classification; leave the task out, the dataset chooses it",
        ),
    ],
)  # fmt: skip
def test_a_network_or_a_task_that_does_not_fit_the_data_is_refused_before_anything_is_made(
    line: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        plan.from_config(composed(*line))
    assert str(refused.value) == said
