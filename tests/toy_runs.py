"""Whole runs on eight images of four pixels, in a few milliseconds and without a file."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from hydra.utils import instantiate
from rich.console import Console
from torch import Tensor, nn

from bimp_exp.dataset.data import ImageData
from bimp_exp.results.schema import Result
from bimp_exp.results.writer import RunWriter
from bimp_exp.run.execute import execute
from bimp_exp.run.experiment import Experiment
from bimp_exp.run.log import Log
from bimp_exp.run.process import Process
from bimp_exp.run.progress import Display
from bimp_exp.run.state import make_env
from bimp_exp.tracking.mlflow import NoTracking
from tests import toys
from tests.conftest import ROOT, composed

FEW = [
    "budget.dense_epochs=4", "budget.epochs=6", "budget.cycles=1", "budget.finetune_epochs=2", "optim.batch_size=8",
    "runtime.threads=1",
]  # fmt: skip


@cache
def parts(group: str, option: str) -> Mapping[str, Any]:
    """The configuration with one option chosen; composing costs more than a toy run."""
    return composed(f"{group}={option}", *FEW)


def configured(method: str, selector: str, schedule: str) -> dict[str, Any]:
    """The configuration of a triple, put together of parts."""
    triple = {"method": method, "selector": selector, "schedule": schedule}
    return {**parts("method", "imp"), **{group: parts(group, option)[group] for group, option in triple.items()}}


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """A step an epoch; ``loaded`` keeps what was asked for."""

    num_fit_items: int = 8
    image_shape: tuple[int, int, int] = (1, 2, 2)
    num_classes: int = 2
    loaded: dict[str, Any] = field(default_factory=dict)

    task: ClassVar[str] = "classification"
    items: ClassVar[str] = "images"
    drops_last: ClassVar[bool] = False

    @property
    def facts(self) -> dict[str, Any]:
        return {"image_shape": self.image_shape, "num_classes": self.num_classes}

    def check_files(self) -> None: ...

    def load(self, device: torch.device, **how: Any) -> ImageData:
        self.loaded.update(how)
        return toys.data(self.num_fit_items)


@dataclass(frozen=True, kw_only=True)
class Nowhere(RunWriter):
    """A record that writes nothing."""

    folder: Path = ROOT / "nowhere"
    tracking: Any = field(default_factory=NoTracking)

    def restart(self, points: list[dict[str, Any]]) -> None: ...

    def append(self, point: dict[str, Any]) -> None: ...

    def save(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in weights.items()}

    def attach(self, name: str, content: bytes) -> None: ...

    def finish(self, result: Result) -> None: ...


class Forgetful:
    """A store that finds nothing again; ``states`` are those after each phase."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []

    every = math.inf

    def check(self) -> None: ...

    def open(self, run_dir: Path) -> Forgetful:
        return self

    def load(self, key: str) -> None: ...

    def load_partial(self, key: str) -> None: ...

    def save(self, key: str, header: Any, state: dict[str, Any]) -> None:
        self.states.append(copy.deepcopy(state))

    def lease(self, key: str) -> Any:
        return contextlib.nullcontext()


def network(image_shape: Any, num_classes: int) -> nn.Module:
    """A convolution with batch-norm and two linear layers: 24 + 48 + 16 prunable weights."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 2, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6, 8), nn.Linear(8, 2)
    )


def experiment(method: str, selector: str = "global", schedule: str = "allr", **changes: Any) -> Experiment:
    """The experiment of a triple: four steps, then one cycle of two; a rival has all six, and two of fine-tuning."""
    kept = {
        "dataset": Pixels(),
        "model": network,
        "tracking": NoTracking(),
        "store": Forgetful(),
        "sparsity": 0.5,
    } | changes
    made = {
        name: instantiate(value, _convert_="all") if isinstance(value, dict) else value
        for name, value in configured(method, selector, schedule).items()
        if name != "_target_" and name not in kept
    }
    return Experiment(**made, **kept)


def run(
    made: Experiment,
    *,
    writer: RunWriter | None = None,
    config: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """The result of a run as JSON; ``console`` shows what a terminal would."""
    made.check()
    with Process() as process:
        return run_in(process, made, writer=writer, config=config, console=console)


def run_in(
    process: Process,
    made: Experiment,
    *,
    writer: RunWriter | None = None,
    config: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """The same in a process that may serve other runs."""
    env = make_env(made, config or parts("method", "imp"), process)
    log = Log(writer=writer or Nowhere(), display=Display(console or Console(quiet=True), env.plan, "toy"))
    result = execute(env, made.store.open(log.writer.folder), log)
    assert result is not None
    return result.to_json()
