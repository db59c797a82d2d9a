"""hydra/launcher=slurm: the runs of a multirun by workers on a SLURM cluster, each of which does several in one warm process.

The keys are those of hydra-submitit-launcher, and ``jobs``, ``packed``, ``wait`` and ``requeue``. See docs/cluster.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, setup_globals
from hydra.types import TaskFunction
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher
from omegaconf import DictConfig

POLL = 5.0  # seconds


@dataclass
class SlurmConf(SlurmQueueConf):  # type: ignore[misc]  # it has no hints that mypy sees
    """``jobs``: workers, null: as many as there is work for, at most 16; ``packed``: runs that a worker does at a time, which
    share its cores and its GPU; ``wait``: stay until the sweep is over; what differs from the plugin's defaults: names, one
    log file, and a worker that is cut off goes on by itself.
    """

    _target_: str = "hydra_plugins.bimp_exp_slurm.BimpSlurmLauncher"
    jobs: int | None = None
    packed: int = 1
    wait: bool = False
    requeue: bool = True
    name: str = ""
    submitit_folder: str = "slurm"
    stderr_to_stdout: bool = True
    max_num_timeout: int = 1000


ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SlurmConf, provider="bimp-exp")


class BimpSlurmLauncher(SlurmLauncher):  # type: ignore[misc]
    """See the module."""

    def __init__(self, *, jobs: int | None, packed: int, wait: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self.jobs, self.packed, self.wait = jobs, packed, wait

    def setup(self, *, hydra_context: Any, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra once, with the configuration of the multirun."""
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit the grid; UserError where a run is impossible or SLURM refuses it, and with ``wait`` where a run fails."""
        from bimp_exp.errors import ConfigError
        from bimp_exp.sweep import grid, slurm

        if self.jobs is not None and self.jobs < 1:
            raise ConfigError(f"hydra.launcher.jobs={self.jobs} must be null or at least 1")
        if self.packed < 1:
            raise ConfigError(f"hydra.launcher.packed={self.packed} must be at least 1")
        for key in ("nodes", "tasks_per_node"):
            if self.params[key] != 1:
                raise ConfigError(
                    f"hydra.launcher.{key}={self.params[key]} must be 1: a worker is one task; jobs says how many, packed how "
                    "many runs each does at a time"
                )
        if "%" in self.params["submitit_folder"]:
            raise ConfigError(
                "hydra.launcher.submitit_folder must be a plain folder; each job gets one of its own there"
            )
        setup_globals()
        folder = Path(str(self.config.hydra.sweep.dir))
        load = lambda overrides: self.context.config_loader.load_sweep_config(self.config, overrides)  # noqa: E731
        failed = slurm.num_failed(folder)
        try:
            started = grid.start(job_overrides, load, folder)
        finally:
            grid.discard(folder)
        if started:
            again = slurm.num_failed(folder) < failed
            submitted = slurm.submit(folder, self.params, most=self.jobs, packed=self.packed, again=again)
            slurm.say(submitted, folder)
            if self.wait or not submitted.runs:
                slurm.wait(folder, POLL)
                grid.finish(folder, self.config)
                grid.complain(folder)
        return []
