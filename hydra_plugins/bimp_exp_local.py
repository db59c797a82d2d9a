"""hydra/launcher=local: the runs of a multirun one after the other on this machine.

Unlike Hydra's basic launcher it refuses an impossible grid before any run starts, names the runs by what differs between
them, goes on after a run has failed, and ends with the table of the whole grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


@dataclass
class LocalConf:
    """The launcher has no settings."""

    _target_: str = "hydra_plugins.bimp_exp_local.LocalLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalConf, provider="bimp-exp")


class LocalLauncher(Launcher):
    """See the module."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra once, with the configuration of the multirun."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the grid; UserError where a run is impossible (nothing is started) or has failed (the others are done)."""
        from bimp_exp import grid, sweep
        from bimp_exp.errors import ConfigError, UserError

        setup_globals()
        folder = Path(str(self.config.hydra.sweep.dir))
        started = False
        try:
            if self.config.hydra.sweeper.get("max_batch_size"):
                raise ConfigError(
                    "hydra.sweeper.max_batch_size must be null: hydra/launcher=local checks a grid as a whole"
                )
            cells = sweep.cells(job_overrides)
            configs = [self._compose(cell, initial_job_idx + i) for i, cell in enumerate(cells)]
            started = grid.start(cells, configs, folder)
        finally:
            if not started:
                grid.discard(folder)
        if not started:
            return []
        returns: list[JobReturn] = []
        try:
            for config in configs:
                returns.append(
                    run_job(
                        hydra_context=self.context,
                        task_function=self.task,
                        config=config,
                        job_dir_key="hydra.sweep.dir",
                        job_subdir_key="hydra.sweep.subdir",
                    )
                )
                if returns[-1].status == JobStatus.FAILED:
                    grid.say_failed(cells[len(returns) - 1], returns[-1]._return_value)
        finally:
            grid.finish(folder, configs[0])
        failed = sum(r.status == JobStatus.FAILED for r in returns)
        if failed:
            raise UserError(f"{failed} of {len(cells)} runs failed; each says why in its folder below {folder}")
        return returns

    def _compose(self, cell: Any, number: int) -> DictConfig:
        config = self.context.config_loader.load_sweep_config(self.config, list(cell.overrides))
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
            config.hydra.sweep.subdir = cell.folder
        return config
