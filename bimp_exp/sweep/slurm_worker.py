"""A SLURM job: a worker of a sweep that runs the code of its submission and asks for its own requeue.

Instances are pickled by ``bimp_exp.sweep.slurm`` and called by submitit in the job.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bimp_exp import cores
from bimp_exp.config.trust import from_file
from bimp_exp.paths import ROOT
from bimp_exp.run.process import Process
from bimp_exp.sweep import pool, worker

ATTEMPTS = 5  # at a requeue


@dataclass(frozen=True, kw_only=True)
class SlurmWorker:
    """Works on ``sweep`` with the code in ``code``.

    first_phase_only: ends each run after its first phase. packed: number of processes that do so side by side. allow: modules
    that its runs may name beside bimp_exp's own.
    most_restarts: how often it asks to be put into the queue again when SLURM signals that its time is over or that another
    job takes its place.
    """

    sweep: Path
    code: Path
    first_phase_only: bool
    packed: int
    allow: tuple[str, ...]
    most_restarts: int

    def __call__(self) -> None:
        """Exit status 1 where a run failed in any start of this job, so that SLURM says FAILED."""
        signal.signal(signal.SIGUSR2, self.leave)
        if self.code.resolve() != ROOT:
            sys.exit(f"this job runs the code in {ROOT}, not that of its submission in {self.code}")
        num_lost = 0
        if self.packed == 1:
            os.environ.setdefault("OMP_NUM_THREADS", str(cores.usable(hyperthreads=False)))
            with Process() as process:
                worker.work(self.sweep, process, first_phase_only=self.first_phase_only, allow=self.allow)
        else:
            num_lost = pool.work(self.sweep, self.packed, first_phase_only=self.first_phase_only, allow=self.allow)
        if not self.first_phase_only:
            conclude(self.sweep, self.allow)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # all is done; Python takes seconds to end, without our handler
        failed = worker.failed_in(self.sweep, os.environ["SLURM_JOB_ID"])
        if failed or num_lost:
            sys.exit(f"failed in this job: {', '.join(failed) or f'{num_lost} processes'}")

    def leave(self, number: int, frame: FrameType | None) -> None:
        """Ask for the requeue first, since SLURM ends the job only seconds after that; then leave whatever runs."""
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        if int(os.environ.get("SLURM_RESTART_COUNT", 0)) < self.most_restarts:
            array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
            # The job id of one task is that of its whole array.
            job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
            for _ in range(ATTEMPTS):  # a controller under load may not answer
                if subprocess.run(["scontrol", "requeue", job], check=False).returncode == 0:
                    break
                time.sleep(1)
        sys.exit("SLURM asks this job to make room")


def conclude(sweep: Path, allow: Collection[str]) -> None:
    """Write the summary of a sweep if all its runs are finished or have failed; one worker writes it."""
    from omegaconf import OmegaConf

    from bimp_exp.lease import Lease
    from bimp_exp.sweep import grid

    if worker.left(sweep):
        return
    how = json.loads((sweep / "cells.json").read_text())
    lease = Lease.take(sweep / "conclusion.lease")
    if lease is not None:
        tracking = {"tracking": next(iter(how.values()))["config"]["tracking"]}
        with lease, Process() as process:
            grid.finish(sweep, OmegaConf.create(from_file(tracking, sweep / "cells.json", allow)), process)
