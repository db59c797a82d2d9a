"""A network of the user's own is given what it has parameters for, and is refused in one line before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bimp_exp.errors import ConfigError
from bimp_exp.run import own_network
from bimp_exp.task.base import build
from bimp_exp.task.classification import Classification
from bimp_exp.task.segmentation import Segmentation
from tests.test_run import load, run

TASK = Classification(label_smoothing=0.0, image_shape=(1, 4, 4), num_classes=3)
TINY = [
    "budget.epochs=2", "budget.dense_epochs=1", "budget.cycles=1", "dataset.subset=100", "tracking=none", "runtime.threads=1",
]  # fmt: skip


class Given(nn.Module):
    """Keeps what it was given."""

    def __init__(self, **given: Any) -> None:
        super().__init__()
        self.given = given


def both(depth: int = 2, *, image_shape: Sequence[int], num_classes: int) -> nn.Module:
    return Given(depth=depth, image_shape=image_shape, num_classes=num_classes)


def classes(depth: int = 2, num_classes: int = 1000) -> nn.Module:
    return Given(depth=depth, num_classes=num_classes)


def none(depth: int = 2) -> nn.Module:
    return Given(depth=depth)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (both, {"depth": 2, "image_shape": (1, 4, 4), "num_classes": 3}),
        (partial(both, depth=5), {"depth": 5, "image_shape": (1, 4, 4), "num_classes": 3}),
        (partial(classes, depth=5), {"depth": 5, "num_classes": 3}),
        (none, {"depth": 2}),
        (Given, {"num_classes": 3}),  # **kwargs, as torchvision's and timm's functions have them
    ],
)
def test_a_network_is_given_what_it_has_parameters_for(
    model: Callable[..., nn.Module], expected: dict[str, Any]
) -> None:
    made = TASK.build(model)
    assert isinstance(made, Given)
    assert made.given == expected
    assert build(Given, vocab_size=7).given == {}


class Net(nn.Module):
    """[N, 1, 4, 4] -> whatever ``change`` makes of logits [N, 3]; ``values``: does not work without values of tensors."""

    def __init__(
        self, change: Callable[[Tensor], Any] = lambda logits: logits, *, values: bool = False, num_in: int = 16
    ) -> None:
        super().__init__()
        if values:
            self.rates = torch.linspace(0, 1, 3).tolist()
        self.linear, self.change, self.values = nn.Linear(num_in, 3), change, values

    def forward(self, images: Tensor) -> Any:
        if self.values:
            assert images.sum().item() == 0
        return self.change(self.linear(images.flatten(1)))


@pytest.mark.parametrize("values", [False, True])
def test_a_network_that_does_its_work_passes_be_it_without_values_or_with(values: bool) -> None:
    make = partial(Net, values=values)
    before = torch.get_rng_state()
    model = own_network.without_values(make)
    assert next(model.parameters()).is_meta != values
    own_network.check(model, TASK, make)
    if not values:
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"num_in": 15},
            "model: Net does not take this dataset's inputs (RuntimeError: mat1 and mat2 shapes cannot be multiplied",
        ),
        (
            {"change": lambda x: x[:, :2]},
            "model: Net gives (2, 2) for 2 images of 3 classes; it must give logits, (2, 3)",
        ),
        ({"change": lambda x: x[0]}, "model: Net gives (3,) for 2 images"),
        ({"change": lambda x: {"out": x}}, "model: Net gives dict for 2 images"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_one_line(changes: dict[str, Any], words: str, values: bool) -> None:
    make = partial(Net, values=values, **changes)
    with pytest.raises(ConfigError) as caught:
        own_network.check(own_network.without_values(make), TASK, make)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_a_network_that_cannot_be_made_is_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"^model: cannot be made \(TypeError: .*'wrong'; HYDRA_FULL_ERROR=1 shows where\)$"
    ):
        own_network.without_values(partial(none, wrong=3))


def test_what_a_network_for_another_task_gives_is_left_to_it() -> None:
    task = Segmentation(aux_weight=0.4, label_smoothing=0.0, image_shape=(1, 4, 4), class_names=["a", "b"])
    own_network.check(Net(lambda x: {"out": x}), task, Net)


def test_a_network_of_torchvision_needs_no_file(tmp_path: Path) -> None:
    """Its function takes any keyword, and neither image_shape nor the keys of the default network."""
    line = ["dataset=synthetic", "model._target_=torchvision.models.mobilenet_v3_small", "+model.weights=null", *TINY]
    run(tmp_path, *line, "hydra.run.dir=out")
    assert load(tmp_path / "out" / "run.json")["name"].startswith("synthetic mobilenet_v3_small weights=null bimp allr")
    done = run(
        tmp_path,
        "model._target_=torchvision.models.resnet18",
        "+model.weights=null",
        *TINY,
        "hydra.run.dir=no",
        expect=2,
    )
    assert done.stderr.startswith(
        "error: model: ResNet does not take this dataset's inputs (RuntimeError: Given groups=1"
    )
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "no").exists()


def test_an_edit_replaces_what_was_computed_with_the_class_before(tmp_path: Path) -> None:
    """Named on the command line alone; a schedule's edit leaves the dense phase."""
    (tmp_path / "mine").mkdir()
    source = (
        "from dataclasses import dataclass\nfrom bimp_exp.schedule.base import Discounted\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Half(Discounted):\n    def discount(self, report):\n        return 0.5\n"
    )
    keys, peaks = [], []
    for number, text in enumerate([source, source.replace("0.5", "0.25"), source + "# a comment\n"]):
        (tmp_path / "mine" / "half.py").write_text(text)
        run(tmp_path, "schedule._target_=mine.half.Half", *TINY, f"hydra.run.dir=out{number}")
        result = load(tmp_path / f"out{number}" / "result.json")
        keys.append([phase["key"] for phase in result["phases"]])
        peaks.append(result["phases"][1]["pruning"]["d"])
    assert peaks == [0.5, 0.25, 0.5]
    assert keys[0] == keys[2]
    assert keys[0][0] == keys[1][0]
    assert keys[0][1] != keys[1][1]
    assert load(tmp_path / "out0" / "run.json")["choices"]["schedule"] == "Half warmup=0.1"
