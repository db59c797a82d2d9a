"""What runs are called: by what they really are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from bimp_exp.config import naming
from bimp_exp.config.compose import Composed, Composer
from bimp_exp.sweep.cells import identity
from tests.conftest import ROOT
from tests.dataset.helpers import pixels, write_folders
from tests.test_run import load, run

CONF = ROOT / "conf"
OPTIONS = [(group, path.stem) for group in ("model", "dataset") for path in sorted((CONF / group).glob("*.yaml"))]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def composed(*line: str) -> Composed:
    return Composer(lambda overrides: compose("config", overrides=overrides, return_hydra_config=True))(line)


def options(*line: str) -> dict[str, Any]:
    return composed(*line).options


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_an_option_as_it_is_written_is_called_by_its_name(group: str, option: str) -> None:
    name = "timm resnet18" if option == "timm" else option
    assert options(f"{group}={option}", "dataset.subset=200", "dataset.split_seed=1")[group] == name


@pytest.mark.parametrize(
    ("line", "group", "name"),
    [
        (["model.depth=8"], "model", "resnet20 depth=8"),
        (["model=resnet32", "model.depth=20"], "model", "resnet32 depth=20"),
        (["model=wrn28_10", "model.dropout=0", "model.widen_factor=1"], "model", "wrn28_10 widen_factor=1 dropout=0"),
        (["model._target_=torch.nn.Linear"], "model", "Linear"),
        (["model._target_=torch.nn.Linear", "model.depth=3"], "model", "Linear depth=3"),
        (["schedule._target_=torch.nn.Linear"], "schedule", "Linear"),
        (["model=timm", "model.name=resnet50"], "model", "timm resnet50"),  # not our resnet50
        (["dataset=image_folder", "dataset.root=pets/cats_dogs/"], "dataset", "cats_dogs"),
        (["dataset=arrays", "dataset.file=/data/faces.v2.npz"], "dataset", "faces.v2"),
        (["dataset=cifar10", "dataset.root=pets/cats_dogs/", "dataset.num_classes=2"], "dataset", "cats_dogs"),
        (["dataset=cifar10", "dataset.root=/data/cifar", "dataset.validation_fraction=0.2"], "dataset", "cifar10"),
        (["dataset=synthetic", "dataset.num_classes=7"], "dataset", "synthetic num_classes=7"),
    ],
)
def test_what_makes_another_network_or_other_data_is_in_the_name(line: list[str], group: str, name: str) -> None:
    assert options(*line)[group] == name


def test_the_name_of_a_run_is_made_of_them() -> None:
    made = composed("model.depth=8")
    found = identity(made.options, made.config)
    assert found["name"] == "digits resnet20 depth=8 bimp allr sparsity=0.9 seed=0"
    assert found["choices"]["model"] == "resnet20 depth=8"
    plain = composed()
    assert identity(plain.options, plain.config)["name"] == "digits resnet20 bimp allr sparsity=0.9 seed=0"


def test_options_in_a_folder_of_the_users_own_are_compared_with_their_file(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "small.yaml").write_text("defaults: [resnet20]\ndepth: 8\n")
    folders = [str(CONF), str(tmp_path)]
    for depth, name in ((8, "small"), (14, "small depth=14")):
        config = composed(f"model.depth={depth}").config
        assert naming.options({"model": "small", "hydra/help": "default"}, config, folders) == {"model": name}


def test_a_sweep_and_a_run_on_other_data_say_so_in_their_files(tmp_path: Path) -> None:
    write_folders(tmp_path / "pets", pixels(20, 0), pixels(6, 1))
    line = [
        "dataset=cifar10", "dataset.root=pets", "dataset.num_classes=3", "dataset.num_train_images=20",
        "dataset.num_test_images=6", "model.depth=8", "budget.epochs=2", "budget.dense_epochs=1", "budget.cycles=1",
        "tracking=none", "runtime.threads=1",
    ]  # fmt: skip
    run(tmp_path, *line, "hydra.run.dir=one")
    run(tmp_path, "-m", "schedule=clr", *line, "hydra.sweep.dir=many")
    (many,) = (tmp_path / "many").glob("*/run.json")
    for facts in (load(tmp_path / "one" / "run.json"), load(many)):
        assert (facts["choices"]["dataset"], facts["choices"]["model"]) == ("pets", "resnet20 depth=8")
    assert load(tmp_path / "one" / "run.json")["name"].startswith("pets resnet20 depth=8 bimp allr")
