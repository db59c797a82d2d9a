"""Our side of every comparison: the loops of ``bimp_exp.training.loop`` on data, network and runtime of a configuration."""

from __future__ import annotations

import pickle
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.console import Console

from benchmarks.rounds import Sample
from bimp_exp import lr
from bimp_exp.config import signatures as config
from bimp_exp.config.check import plain
from bimp_exp.config.compose import Composed, Composer
from bimp_exp.dataset.data import ImageData, Split
from bimp_exp.method.base import MethodContext
from bimp_exp.pruning import weights as prune
from bimp_exp.results.writer import RunWriter
from bimp_exp.run.experiment import Experiment
from bimp_exp.run.process import Process
from bimp_exp.run.progress import Display
from bimp_exp.run.train_phase import LOGGED_PER_EPOCH
from bimp_exp.runtime import synchronize
from bimp_exp.tracking.mlflow import NoTracking
from bimp_exp.training.evaluation import evaluate
from bimp_exp.training.loop import fit
from bimp_exp.training.state import EpochMetrics, LoopState, Network

ROOT = Path(__file__).resolve().parents[1]
STEPS_PER_EPOCH = 352  # 45,000 images in batches of 128
NUM_STEPS = 200 * STEPS_PER_EPOCH
IMAGE = (3, 32, 32)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured, and on how much. ``root`` has CIFAR-10, ``folder`` is for what measuring writes.

    A sample of training is an epoch of ``train_images``, one of evaluation a pass over ``test_images``; files that a part makes up
    hold ``num_train`` images. ``weights`` are the sizes to select from, ``window`` is how many seconds packed trials run side by
    side. ``overrides`` hold for every run.
    """

    models: Sequence[str]
    rounds: int
    root: str
    folder: str
    num_train: int
    train_images: int
    test_images: int
    weights: dict[str, int]
    window: float
    batch_size: int = 128
    overrides: Sequence[str] = ()
    external: str | None = None

    def compose(self, *overrides: str) -> Composed:
        """The configuration of a run on ``root`` that neither shares phases nor tells MLflow; ``overrides`` win."""
        given = [
            "dataset=cifar10", f"dataset.root={self.root}", f"dataset.cache={self.folder}/cache",
            f"optim.batch_size={self.batch_size}", "store=own", "tracking=none", *self.overrides, *overrides,
        ]  # fmt: skip
        return composer()(given)


@cache
def composer() -> Composer:
    """One for all, since composing takes Hydra a while."""
    GlobalHydra.instance().clear()
    warnings.filterwarnings(
        "ignore", message="\\s*Error importing 'hydra_plugins"
    )  # of SLURM's launcher, on a bare machine
    initialize_config_dir(str(ROOT / "conf"), version_base="1.3")
    return Composer(lambda overrides: compose("config", overrides=overrides, return_hydra_config=True))


def made_up_cifar(folder: Path, num_train: int, num_test: int) -> list[str]:
    """Write random images as CIFAR-10's files; the overrides that say how many there are. Pixels do not change a speed."""
    batches = folder / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    generator = np.random.default_rng(0)
    counts = {**{f"data_batch_{i}": num_train // 5 for i in range(1, 6)}, "test_batch": num_test}
    for name, count in counts.items():
        data = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
        (batches / name).write_bytes(pickle.dumps({"data": data, "labels": [i % 10 for i in range(count)]}))
    return [f"dataset.num_train_images={5 * (num_train // 5)}", f"dataset.num_test_images={num_test}"]


def experiment(settings: Settings, *overrides: str) -> Experiment:
    """What a run of ``overrides`` is."""
    made: Experiment = instantiate(settings.compose(*overrides).config, _convert_="all")
    return made


PROCESS = Process()  # of the whole benchmark
_LOADED: dict[tuple[str, torch.device], ImageData] = {}


def data(x: Experiment, device: torch.device) -> ImageData:
    """The data of a run; loaded once for all that differ in their memory layout alone."""
    key = repr(x.dataset), device
    if key not in _LOADED:
        loaded = x.dataset.load(device)
        assert isinstance(loaded, ImageData)
        _LOADED[key] = loaded
    return replace(_LOADED[key], memory_format=x.runtime.memory_format)


def chosen(settings: Settings, *overrides: str) -> str:
    """What the runtime of ``overrides`` comes to here, in words."""
    runtime = experiment(settings, *overrides).runtime
    return ", ".join(f"{key}={plain(value)}" for key, value in runtime.resolved(runtime.check()).items())


def first(split: Split, count: int) -> Split:
    """The first ``count`` images."""
    return Split(images=split.images[:count], labels=split.labels[:count])


def of_method(method: str) -> list[str]:
    """The overrides that choose ``method`` and a budget that suits it."""
    target = OmegaConf.load(ROOT / "conf" / "method" / f"{method}.yaml")._target_
    between = config.constant(target, "prunes") == "between phases"
    return [f"budget={'bimp' if between else 'dense'}", f"method={method}"]


class Ours:
    """A network in training, as a run has it: a sample is an epoch of ``fit``, with what a run shows and logs of it.

    A method that prunes between phases is measured while it retrains, with masks at the sparsity of the run.
    """

    def __init__(self, settings: Settings, model: str, *overrides: str, method: str = "dense") -> None:
        x = self.x = experiment(settings, f"model={model}", *of_method(method), *overrides)
        self.device = PROCESS.start(x.runtime)
        whole = data(x, self.device)
        self.data = replace(
            whole, train=first(whole.train, settings.train_images), test=first(whole.test, settings.test_images)
        )
        self.model = x.network().to(self.device).to(memory_format=x.runtime.memory_format)
        weights = prune.prunable(self.model)
        context = MethodContext(
            model=self.model,
            weights=weights,
            selector=x.selector,
            sparsity=x.sparsity,
            weight_decay=x.optim.weight_decay,
            num_steps=NUM_STEPS,
            steps_per_epoch=STEPS_PER_EPOCH,
        )
        x.method.attach(context)
        how = x.runtime.resolved(self.device)
        masked = x.method.prunes == "between phases"
        self.record = RunWriter(folder=Path(settings.folder), tracking=NoTracking())
        plan = x.plan()
        self.display = Display(Console(quiet=True), plan, "benchmark")
        self.display.phase(plan.phases[0])
        self.state = LoopState()
        optimizer = x.optim.build(
            self.model.parameters(), x.method.parameters_without_weight_decay(context), update=how["update"]
        )
        masks = {name: torch.rand_like(w) >= x.sparsity for name, w in weights.items()} if masked else {}
        self.training = fit(
            Network(model=self.model, weights=weights, optimizer=optimizer, masks=masks),
            self.data,
            lr.constant(0.01, NUM_STEPS),
            method=x.method,
            context=context,
            task=x.learning_task,
            runtime=x.runtime,
            device=self.device,
            batch_size=x.optim.batch_size,
            clip_norm=x.optim.clip_norm,
            seed=0,
            progress=self.display.step,
            state=self.state,
            after_step=lambda: None,
        )

    def limit_threads(self, threads: int) -> None:
        """Use so many from now on."""
        self.x = replace(self.x, runtime=replace(self.x.runtime, threads=threads))

    def train(self) -> Sample:
        """Images of an epoch, and seconds with all that belongs to it."""
        PROCESS.start(self.x.runtime)  # the settings of the process may be another contender's
        synchronize(self.device)
        start = time.perf_counter()
        epoch = next(self.training)
        self._log(epoch)
        return epoch.num_items, time.perf_counter() - start

    def evaluate(self) -> Sample:
        """Test images, and the seconds of a pass over them."""
        PROCESS.start(self.x.runtime)
        synchronize(self.device)
        start = time.perf_counter()
        evaluate(
            self.model,
            self.data.batches(self.data.test, self.data.evaluation_batch),
            task=self.x.learning_task,
            runtime=self.x.runtime,
            device=self.device,
        )
        return len(self.data.test), time.perf_counter() - start

    def batches(self) -> Sample:
        """Images of an epoch over all training images, and the seconds of making its batches alone."""
        PROCESS.start(self.x.runtime)
        whole = data(self.x, self.device)
        synchronize(self.device)
        start = time.perf_counter()
        for _ in whole.epoch(seed=0, epoch=0, batch_size=self.x.optim.batch_size):
            pass
        synchronize(self.device)
        return len(whole.train), time.perf_counter() - start

    def _log(self, epoch: EpochMetrics) -> None:
        """As many lines as a run writes, in proportion."""
        every = max(1, STEPS_PER_EPOCH // LOGGED_PER_EPOCH)
        for i in range(0, epoch.num_steps, every):
            part = epoch.losses[i : i + every]
            self.record.append(
                {"step": self.state.num_done, "train_loss": sum(part) / len(part), "learning_rate": 0.01}
            )
        self.display.epoch(self.state.num_done, epoch, 0.0, 0.01)
