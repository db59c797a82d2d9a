"""hydra/launcher=local: the runs of a multirun on this machine, one after the other or ``jobs`` at a time.

Unlike Hydra's basic launcher it refuses an impossible grid before any run starts, names the runs by what differs between
them, continues a sweep that was broken off, goes on after a run has failed, and ends with the table of the whole grid. The
runs are done by ``bimp_exp.sweep.worker``, without Hydra, so callbacks of single jobs are not called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class LocalConf:
    """``jobs``: processes that work on the sweep, which share cores and GPU; with one, this process does it."""

    _target_: str = "hydra_plugins.bimp_exp_local.LocalLauncher"
    jobs: int = 1


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalConf, provider="bimp-exp")


class LocalLauncher(Launcher):
    """See the module."""

    def __init__(self, *, jobs: int) -> None:
        self.jobs = jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra once, with the configuration of the multirun."""
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the grid; UserError where a run is impossible (nothing is started) or has failed (the others are done)."""
        from bimp_exp.errors import ConfigError
        from bimp_exp.sweep import grid

        if self.jobs < 1:
            raise ConfigError(f"hydra.launcher.jobs={self.jobs} must be at least 1")
        setup_globals()
        folder = Path(str(self.config.hydra.sweep.dir))
        load = lambda overrides: self.context.config_loader.load_sweep_config(self.config, overrides)  # noqa: E731
        try:
            started = grid.start(job_overrides, load, folder)
        finally:
            grid.discard(folder)
        if started:
            try:
                self._work(folder)
            finally:
                grid.finish(folder, self.config)
            grid.complain(folder)
        return []

    def _work(self, folder: Path) -> None:
        from bimp_exp.errors import UserError
        from bimp_exp.sweep import pool as crew
        from bimp_exp.sweep import worker

        if self.jobs == 1:
            worker.work(folder)
        elif crew.work(folder, self.jobs) and (left := worker.left(folder)):
            raise UserError(f"processes were lost, {len(left)} runs are not done; the same command continues them")
