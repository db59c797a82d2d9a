"""Every method, selector and network on every task, found in conf/: a few steps, or a refusal in one line before them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from hydra.utils import get_object, instantiate
from torch import Tensor

from bimp_exp.errors import ConfigError
from bimp_exp.run.experiment import Experiment
from bimp_exp.run.process import Process
from tests import toy_runs
from tests.conftest import ROOT, composed

METHODS, SELECTORS, MODELS = (
    sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml")) for group in ("method", "selector", "model")
)
FEW = [
    "runtime.threads=1", "runtime.device=cpu", "optim.batch_size=4", "budget.epochs=4", "budget.finetune_epochs=1",
    "optim.clip_norm=1", "task.label_smoothing=0.1", "store=own", "tracking=none",
]  # fmt: skip
DATA = {
    "classification": ["dataset=digits", "dataset.subset=9"],
    "segmentation": ["dataset=digit_scenes", "dataset.num_train_images=9", "dataset.num_test_images=6"],
    "translation": [
        "dataset=number_words", "dataset.num_train_pairs=90", "dataset.num_test_pairs=6", "dataset.subset=9",
        "dataset.max_length=12",
    ],
}  # fmt: skip
SMALL = {
    "maxvit_tiny": "classification",
    "deeplab_tiny": "segmentation",
    "pspnet_tiny": "segmentation",
    "t5_tiny": "translation",
}


@dataclass(kw_only=True)
class Memory(toy_runs.Forgetful):
    """A store that keeps the state after each phase, and after the first step of all; it finds again what it is given."""

    every: float = math.inf
    finished: dict[str, Any] = field(default_factory=dict)
    partial: dict[str, Any] = field(default_factory=dict)
    states: list[dict[str, Any]] = field(default_factory=list)
    steps: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def load(self, key: str) -> Any:
        return copy.deepcopy(self.finished.get(key))

    def load_partial(self, key: str) -> Any:
        return copy.deepcopy(self.partial.get(key))

    def open(self, run_dir: Any) -> Memory:
        return self

    def save(self, key: str, header: Any, state: dict[str, Any]) -> None:
        super().save(key, header, state)
        self.finished[key] = self.states[-1]

    def save_partial(self, key: str, header: Any, state: dict[str, Any]) -> None:
        if not self.steps:
            self.steps.append((key, copy.deepcopy(state)))


@cache
def configuration(model: str, *overrides: str) -> dict[str, Any]:
    return composed(*DATA[SMALL[model]], f"model={model}", *FEW, *overrides)


def experiment(config: dict[str, Any], **memory: Any) -> Experiment:
    """Of a configuration, with a store in memory."""
    parts = {
        name: instantiate(value, _convert_="all") if isinstance(value, dict) else value
        for name, value in config.items()
        if name not in ("_target_", "store")
    }
    return Experiment(**parts, store=Memory(**memory))


def configured(model: str, method: str, *overrides: str) -> dict[str, Any]:
    budget = ["budget=dense"] if method == "dense" else ["budget=bimp", "budget.dense_epochs=2", "budget.cycles=1"]
    return configuration(model, *budget, f"method={method}", *overrides)


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    """One for all runs: they share the data."""
    with Process() as shared:
        yield shared


def check_plain(made: Experiment, result: dict[str, Any]) -> dict[str, Tensor]:
    """The network that a run ends with is an ordinary one, finite, with the zeros that the result counts; its state_dict."""
    assert isinstance(made.store, Memory)
    fresh = made.network()
    fresh.load_state_dict(made.store.states[-1]["model"])
    state = fresh.state_dict()
    assert all(tensor.isfinite().all() for tensor in state.values())
    if made.method.prunes == "between phases":  # else an earlier network may be the best
        for layer in result["final"]["layers"]:
            assert int((state[layer["name"]] == 0).sum()) == layer["num_zeros"], layer["name"]
    return state


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_every_task(method: str, model: str, process: Process) -> None:
    config = configured(model, method)
    made = experiment(config)
    made.check()
    result = toy_runs.run_in(process, made, config=config)
    state = check_plain(made, result)
    final = result["final"]
    if made.method.prunes == "never":
        assert final["sparsity"] < 1e-3
    elif made.method.has_target:
        num_weights = sum(layer["num_weights"] for layer in final["layers"])
        assert sum(layer["num_zeros"] for layer in final["layers"]) == round(0.9 * num_weights)
    if model == "t5_tiny":
        assert "t5.shared.weight" in final["not_prunable"]
        assert state["t5.lm_head.weight"].count_nonzero() == state["t5.lm_head.weight"].numel()


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_every_task_as_published_runs_or_is_refused(method: str, model: str, process: Process) -> None:
    """What the published code cannot do is said by name before a run starts; with that left out the rest runs."""
    off = {
        "deeplab_tiny": ["padding_blind_multiply_adds"],
        "t5_tiny": ["prune_every_weight", *(["rank_all_parameters"] if method in ("gsm", "lc") else [])],
    }.get(model, [])
    for number, key in enumerate(off):
        config = configured(model, method, "conventions=paper", *(f"conventions.{k}=false" for k in off[:number]))
        with pytest.raises(ConfigError, match=f"{key}( must be |=)false") as refused:
            experiment(config).check()
        assert "\n" not in str(refused.value)
    config = configured(model, method, "conventions=paper", *(f"conventions.{key}=false" for key in off))
    made = experiment(config)
    made.check()
    check_plain(made, toy_runs.run_in(process, made, config=config))


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("selector", SELECTORS)
def test_every_selector_on_every_task(selector: str, model: str, process: Process) -> None:
    config = configured(model, "imp", f"selector={selector}", "sparsity=0.6")
    made = experiment(config)
    if (selector, model) == ("filter_l2", "t5_tiny"):
        with pytest.raises(
            ConfigError, match=r"^selector=filter_l2 .* this network has none: choose another selector$"
        ):
            made.check()
        return
    made.check()
    result = toy_runs.run_in(process, made, config=config)
    check_plain(made, result)
    final = result["final"]
    if selector == "filter_l2":
        pruned = [layer for layer in final["layers"] if layer["num_zeros"]]
        assert all(made.selector.prunes(made.network().get_parameter(layer["name"]).shape) for layer in pruned)
        selectable = final.get("sparsity_selectable", final["sparsity"])
        assert selectable == pytest.approx(0.6, abs=0.06)  # whole filters of narrow layers
        assert (final["sparsity"] < 0.4) == (model == "maxvit_tiny")  # most of whose weights are linear
    else:
        assert final["sparsity"] == pytest.approx(0.6, abs=0.002)
        assert "sparsity_selectable" not in final


@pytest.mark.parametrize("schedule", ["acc_allr"])
@pytest.mark.parametrize("model", SMALL)
def test_the_damage_to_the_metric_on_training_items_is_known_for_every_task(
    schedule: str, model: str, process: Process
) -> None:
    config = configured(model, "imp", f"schedule={schedule}")
    made = experiment(config)
    made.check()
    (_, cycle) = toy_runs.run_in(process, made, config=config)["phases"]
    dense, pruned = (cycle["pruning"][when]["train"] for when in ("before", "right_after"))
    damage = min(max((dense - pruned) / dense, 0), 1) if dense else 0
    assert cycle["pruning"]["d"] == pytest.approx(max(damage, cycle["pruning"]["d2"]))


def task_of(model: str) -> str:
    return getattr(get_object(composed(f"model={model}")["model"]["_target_"]), "task", "classification")


def stand_in(model: str) -> list[str]:
    """The smallest data that a network takes."""
    if task_of(model) != "classification" or model in SMALL:
        return DATA[task_of(model)]
    side = 224 if model == "maxvit_t" else 32
    few = ["dataset.num_train_images=20", "dataset.subset=9", "dataset.num_test_images=10"]
    return ["dataset=synthetic", f"dataset.image_shape=[3,{side},{side}]", *few]


@pytest.mark.parametrize("model", MODELS)
def test_every_network_trains_and_resumes_inside_an_epoch_to_the_same_bits(model: str, process: Process) -> None:
    """An epoch of two or three steps, cut after the first."""
    config = composed(
        *stand_in(model),
        f"model={model}",
        *FEW,
        "optim.batch_size=3",
        "method=dense",
        "budget=dense",
        "budget.epochs=1",
    )
    whole = experiment(config, every=0)
    whole.check()
    before = {name: parameter.clone() for name, parameter in whole.network().named_parameters()}
    result = toy_runs.run_in(process, whole, config=config)
    assert isinstance(whole.store, Memory)
    (first, *_), (end,) = whole.store.steps, whole.store.states
    assert first[1]["underway"]["loop"]["num_done"] == 1
    stuck = [name for name, tensor in before.items() if torch.equal(tensor, end["model"][name])]
    assert not stuck
    resumed = experiment(config, partial=dict([first]))
    again = toy_runs.run_in(process, resumed, config=config)
    assert isinstance(resumed.store, Memory)
    (other,) = resumed.store.states
    assert all(torch.equal(tensor, other["model"][name]) for name, tensor in end["model"].items())
    for key in ("metrics", "clipped_steps", "largest_gradient_norm"):
        assert again["phases"][0][key] == result["phases"][0][key]
