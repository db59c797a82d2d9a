"""Base of the launchers: a whole grid is checked before its workers start. Imports no PyTorch.

Hydra's and hydra-submitit-launcher's names for the same launchers are aliases. Launchers and sweepers that are not of this
project are refused: they would give every job a numbered folder, in which the results of another sweep may lie.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig

from bimp_exp.errors import ConfigError

if TYPE_CHECKING:
    from bimp_exp.run.process import Process
    from bimp_exp.sweep.grid import Started

ALIASES = {
    "hydra/launcher": {"basic": "local", "submitit_local": "local", "submitit_slurm": "slurm"},
    "hydra/sweeper": {"basic": "grids"},
}
OF_SWEEPS = ("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper", "hydra.sweep.")


class GridLauncher(Launcher):
    """Base of the launchers: ``work`` starts the workers of a sweep."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra once, with the configuration of the multirun."""
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Do the grid; UserError where a run is impossible (then nothing is started) or has failed."""
        from bimp_exp.run.process import Process
        from bimp_exp.sweep import grid

        sweeper = str(self.config.hydra.sweeper._target_)
        if sweeper.rpartition(".")[2] != "GridsSweeper":
            raise ConfigError(
                f"hydra/sweeper={_chosen(self.config.hydra, 'sweeper')}: choose grids, which lists all runs"
            )
        self.check()
        setup_globals()
        folder = Path(str(self.config.hydra.sweep.dir))
        load = lambda overrides: self.context.config_loader.load_sweep_config(self.config, overrides)  # noqa: E731
        with Process() as process:
            try:
                started = grid.start(job_overrides, load, folder, process)
            finally:
                grid.discard(folder)
            if started is not None:
                self.work(folder, started, process)
        return []

    @abstractmethod
    def check(self) -> None:
        """ConfigError where a key of hydra.launcher has a value that it cannot have."""

    @abstractmethod
    def work(self, folder: Path, started: Started, process: Process) -> None:
        """Do what is left of the sweep in ``folder``."""


def check_at_least_one(**counts: int | None) -> None:
    """ConfigError unless every value of hydra.launcher's keys ``counts`` is positive, or null."""
    for key, count in counts.items():
        if count is not None and count < 1:
            raise ConfigError(f"hydra.launcher.{key}={count} must be at least 1")


def check_launcher(launcher: object, hydra: HydraConf) -> None:
    """ConfigError unless ``launcher`` is one of this project."""
    if not isinstance(launcher, GridLauncher):
        raise ConfigError(
            f"hydra/launcher={_chosen(hydra, 'launcher')}: choose local or slurm, which keep sweeps apart"
        )


def check_single_run(hydra: HydraConf) -> None:
    """ConfigError unless ``hydra`` is of a single run that is to be done by this process.

    Without -m the keys of launchers and sweepers have no effect.
    """
    if hydra.mode == RunMode.MULTIRUN:
        raise ConfigError(
            f"hydra/launcher={_chosen(hydra, 'launcher')}: choose local or slurm, which keep sweeps apart"
        )
    for override in hydra.overrides.hydra:
        if override.lstrip("+~").startswith(OF_SWEEPS):
            raise ConfigError(f"{override} has no effect on a single run: add -m to make it a sweep")


def register_aliases() -> None:
    """Give what Hydra and hydra-submitit-launcher call basic, submitit_local and submitit_slurm the configs of this project.

    Only in this process: other programs in the same environment keep the launchers that they know.
    """
    Plugins.instance()  # the plugins register their own configs first
    store = ConfigStore.instance()
    for group, names in ALIASES.items():
        for name, ours in names.items():
            node: Any = store.load(f"{group}/{ours}.yaml").node
            store.store(group=group, name=name, node=node, provider="bimp-exp")


def _chosen(hydra: HydraConf, kind: str) -> str:
    return str(hydra.runtime.choices[f"hydra/{kind}"])
