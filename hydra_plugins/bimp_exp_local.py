"""hydra/launcher=local: the runs of a multirun on this machine, one after the other or ``jobs`` at a time.

Unlike Hydra's basic launcher it refuses an impossible grid before any run starts, names the runs by what differs between
them, continues a sweep that was broken off, goes on after a run has failed, and ends with the table of the whole grid. The
runs are done by ``bimp_exp.sweep.worker``, without Hydra, so callbacks of single jobs are not called.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from bimp_exp.run.process import Process
from bimp_exp.sweep.grid import Started
from bimp_exp.sweep.launcher import GridLauncher, check_at_least_one


@dataclass
class LocalConf:
    """``jobs``: processes that work on the sweep, which share cores and GPU; with one, this process does it.

    The other keys are those of submitit's jobs, which this machine does not have; a value is refused.
    """

    _target_: str = "hydra_plugins.bimp_exp_local.LocalLauncher"
    jobs: int = 1
    submitit_folder: Any = None
    timeout_min: Any = None
    cpus_per_task: Any = None
    gpus_per_node: Any = None
    tasks_per_node: Any = None
    mem_gb: Any = None
    nodes: Any = None
    name: Any = None
    stderr_to_stdout: Any = None


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalConf, provider="bimp-exp")


class LocalLauncher(GridLauncher):
    """Works on a sweep in this process, or in ``jobs`` processes; ``of_jobs``: keys that have no effect here."""

    def __init__(self, *, jobs: int, **of_jobs: Any) -> None:
        self.jobs, self.of_jobs = jobs, of_jobs

    def check(self) -> None:
        from bimp_exp.errors import ConfigError

        check_at_least_one(jobs=self.jobs)
        given = [f"hydra.launcher.{key}={value}" for key, value in self.of_jobs.items() if value is not None]
        if given:
            raise ConfigError(
                f"{', '.join(given)}: no effect without SLURM; this machine's key is hydra.launcher.jobs, the number of processes"
            )

    def work(self, folder: Path, started: Started, process: Process) -> None:
        from bimp_exp.errors import UserError
        from bimp_exp.sweep import grid, pool, worker

        try:
            if self.jobs == 1:
                worker.work(folder, process, allow=started.allow)
            elif pool.work(folder, self.jobs, allow=started.allow) and (left := worker.left(folder)):
                raise UserError(f"processes were lost, {len(left)} runs are not done; the same command continues them")
        finally:
            grid.finish(folder, self.config, process)
        grid.raise_if_failed(folder)
