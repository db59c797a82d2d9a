"""hydra/launcher=slurm: the runs of a multirun by workers on a SLURM cluster, each of which does several in one warm process.

The keys are those of hydra-submitit-launcher, and ``jobs``, ``packed``, ``wait`` and ``requeue``: docs/cluster.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf
from omegaconf import OmegaConf

from bimp_exp.run.process import Process
from bimp_exp.sweep.grid import Started
from bimp_exp.sweep.launcher import GridLauncher, check_at_least_one

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


class BimpSlurmLauncher(GridLauncher):
    """Submits workers; ``settings``: the keys of hydra-submitit-launcher."""

    def __init__(self, *, jobs: int | None, packed: int, wait: bool, **settings: Any) -> None:
        self.jobs, self.packed, self.wait = jobs, packed, wait
        self.settings: dict[str, Any] = {
            key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for key, value in settings.items()
        }

    def check(self) -> None:
        from bimp_exp.errors import ConfigError

        check_at_least_one(jobs=self.jobs, packed=self.packed)
        for key in ("nodes", "tasks_per_node"):
            if self.settings[key] != 1:
                raise ConfigError(
                    f"hydra.launcher.{key}={self.settings[key]} must be 1: a worker is one task; jobs says how many, packed how "
                    "many runs each does at a time"
                )
        if "%" in self.settings["submitit_folder"]:
            raise ConfigError(
                "hydra.launcher.submitit_folder must be a plain folder; each job gets one of its own there"
            )

    def work(self, folder: Path, started: Started, process: Process) -> None:
        """With ``wait``, or where nothing is left to do, to the end of the sweep; UserError where SLURM refuses the jobs."""
        from bimp_exp.sweep import grid, slurm

        submitted = slurm.submit(
            folder,
            self.settings,
            most=self.jobs,
            packed=self.packed,
            again=started.num_retried > 0,
            allow=started.allow,
        )
        slurm.say(submitted, folder)
        if self.wait or not submitted.runs:
            slurm.wait(folder, POLL)
            grid.finish(folder, self.config, process)
            grid.raise_if_failed(folder)
