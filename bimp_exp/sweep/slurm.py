"""A sweep on SLURM: jobs that are workers of ``bimp_exp.sweep.worker``, how they are submitted, which of them are there.

Built on submitit's executor, of which a job takes its pickle and its log files. SLURM says by itself which workers a sweep
has: the path of their job script names the sweep, the code they run and how many runs the sweep had when they were submitted.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from bimp_exp import cores
from bimp_exp.errors import ConfigError, UserError
from bimp_exp.paths import ROOT
from bimp_exp.sweep import pool as crew
from bimp_exp.sweep import snapshot, worker
from bimp_exp.sweep.squeue import largest_array, queue

ATTEMPTS = 5
MOST = 16  # workers, unless hydra.launcher.jobs says otherwise
PYTHON = """sh -c 'trap "" USR2; exec "$0" "$@"'"""  # until a worker listens, the signal would end it for good


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What a job does: work on ``sweep`` with the code in ``code``.

    ``roots``: only on the first phases. ``packed``: processes that do so side by side. ``most_restarts``: so often it asks to be
    put into the queue again when SLURM signals that its time is over or that another job takes its place.
    """

    sweep: Path
    code: Path
    roots: bool
    packed: int
    most_restarts: int

    def __call__(self) -> None:
        """Exit status 1 where a run failed in any start of this job, so that SLURM says FAILED."""
        signal.signal(signal.SIGUSR2, self.leave)
        if self.code.resolve() != ROOT:
            sys.exit(f"this job runs the code in {ROOT}, not that of its submission in {self.code}")
        lost = 0
        if self.packed == 1:
            os.environ.setdefault("OMP_NUM_THREADS", str(cores.usable(hyperthreads=False)))
            worker.work(self.sweep, roots=self.roots)
        else:
            lost = crew.work(self.sweep, self.packed, roots=self.roots)
        if not self.roots:
            conclude(self.sweep)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # all is done; Python takes seconds to end, without our handler
        failed = worker.failed_in(self.sweep, os.environ["SLURM_JOB_ID"])
        if failed or lost:
            sys.exit(f"failed in this job: {', '.join(failed) or f'{lost} processes'}")

    def leave(self, number: int, frame: FrameType | None) -> None:
        """Into the queue again first, since SLURM ends the job only seconds after that; then out of whatever runs."""
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        if int(os.environ.get("SLURM_RESTART_COUNT", 0)) < self.most_restarts:
            array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
            job = (
                f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
            )  # one task's job id is that of its whole array
            for _ in range(ATTEMPTS):  # a controller under load may not answer
                if subprocess.run(["scontrol", "requeue", job], check=False).returncode == 0:
                    break
                time.sleep(1)
        sys.exit("SLURM asks this job to make room")


def conclude(sweep: Path) -> None:
    """The summary of a sweep, if all its runs are finished or have failed; one worker writes it."""
    from omegaconf import OmegaConf

    from bimp_exp.lease import Lease
    from bimp_exp.sweep import grid

    if worker.left(sweep):
        return
    how = json.loads((sweep / "cells.json").read_text())
    lease = Lease.take(sweep / "conclusion.lease")
    if lease is not None:
        with lease:
            grid.finish(sweep, OmegaConf.create({"tracking": next(iter(how.values()))["config"]["tracking"]}))


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """``workers`` new ones in the jobs ``ids``, after ``roots`` that do first phases; ``there``: workers from before.

    ``packed``: runs that a worker does at a time.
    """

    workers: int
    roots: int
    there: int
    packed: int
    ids: Sequence[str]
    runs: int
    code: Path


def submit(sweep: Path, settings: Mapping[str, Any], *, most: int | None, packed: int, again: bool) -> Submitted:
    """Submit as many workers as the sweep lacks, at most ``most`` in all; UserError where SLURM does not take them.

    settings: keys of hydra-submitit-launcher. packed: runs that a worker does at a time. again: runs were failed and are to be
    done again, of which the workers that are there know nothing.
    """
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "hydra/launcher=slurm: no sbatch here; submit where there is one, or take hydra/launcher=local"
        )
    runs, there = worker.left(sweep), [each for each in queue(sweep) if not each.roots]
    code = snapshot.take(sweep)
    num_cells = len(json.loads((sweep / "cells.json").read_text()))
    knowing = 0 if again else sum(int(each.code.partition(".")[2]) == num_cells for each in there)
    wanted = max(0, min(most or MOST, ceil(len(runs) / packed)) - knowing)
    settings = {**settings, "name": settings["name"] or sweep.name}
    folder = sweep.absolute() / settings["submitit_folder"] / f"{code.name}.{num_cells}"
    num_roots = ceil(_num_roots(list(runs.values()), fewer_than=wanted * packed) / packed)
    restarts = settings["max_num_timeout"] if settings["requeue"] else 0
    first, others = (
        Worker(sweep=sweep.absolute(), code=code, roots=roots, packed=packed, most_restarts=restarts)
        for roots in (True, False)
    )
    ids: list[str] = []
    try:
        ids += _arrays(folder / "roots", settings, first, num_roots, after=())
        ids += _arrays(folder, settings, others, wanted, after=tuple(ids))
    except UserError:
        if ids:
            subprocess.run(["scancel", *ids], check=False)
        raise
    return Submitted(
        workers=wanted, roots=num_roots, there=len(there), packed=packed, ids=ids, runs=len(runs), code=code
    )  # fmt: skip


def say(submitted: Submitted, sweep: Path) -> None:
    """What was submitted and how to look at it and end it, for people."""
    s, console = submitted, Console(soft_wrap=True, highlight=False)
    others = [path for path in sorted(s.code.parent.iterdir()) if path != s.code and not path.name.startswith(".")]
    lines = [
        f"{s.runs} runs to do: {s.workers} workers submitted, {s.there} there already" if s.runs else "no runs to do"
    ]
    if s.runs and s.packed > 1:
        lines[0] += f" (each does {s.packed} at a time)"
    if s.roots:
        lines[0] += f"; before them {s.roots} train what the runs have in common"
    for other in others:
        changed = snapshot.differing(other, s.code)
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        lines.append(
            f"the code is not that of an earlier submission of this sweep: {', '.join(changed[:3])}{more} differ; workers "
            f"from then keep {other}, new ones run {s.code.name}"
        )
    if s.ids:
        lines += [f"look: make status, squeue -j {','.join(s.ids)}    end: scancel {' '.join(s.ids)}    {sweep}"]
    for line in lines:
        console.print(line, markup=False)


def wait(sweep: Path, poll: float) -> None:
    """Until the sweep has no worker any more; it looks every ``poll`` seconds, and goes on where SLURM does not answer."""
    while True:
        with contextlib.suppress(UserError):
            if not queue(sweep, "PD,CF,R,S,CG"):  # CG: on its way out, or into the queue again
                return
        time.sleep(poll)


def num_failed(sweep: Path) -> int:
    """Runs with a failure on record."""
    return sum(1 for _ in sweep.glob("*/failed.json"))


def _arrays(
    folder: Path, settings: Mapping[str, Any], worker: Worker, number: int, *, after: Sequence[str]
) -> list[str]:
    """Submit ``number`` jobs that do the same, once the jobs ``after`` are over; the ids of their arrays."""
    from submitit import AutoExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    own = ("submitit_folder", "max_num_timeout", "requeue")
    shared = (
        "timeout_min",
        "cpus_per_task",
        "gpus_per_node",
        "tasks_per_node",
        "mem_gb",
        "nodes",
        "name",
        "stderr_to_stdout",
    )
    given = {key if key in shared else f"slurm_{key}": value for key, value in settings.items() if key not in own}
    path = f"export PYTHONPATH={shlex.quote(str(worker.code))}${{PYTHONPATH:+:$PYTHONPATH}}"
    given["slurm_setup"] = [*(given["slurm_setup"] or []), path]
    given["slurm_additional_parameters"] = {
        "requeue" if settings["requeue"] else "no-requeue": True,
        **settings["additional_parameters"],
    }
    if settings["cpus_per_task"]:  # since SLURM 22.05 srun does not take it from the job
        given["slurm_srun_args"] = [f"--cpus-per-task={settings['cpus_per_task']}"]
    if after:
        given["slurm_dependency"] = f"afterany:{':'.join(after)}"
    largest = largest_array()
    python = f"{PYTHON} {shlex.quote(sys.executable)} -P"  # -P: not what lies in the current directory
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # sbatch's, which comes with the error
            executor = AutoExecutor(folder=folder / "%j", cluster="slurm", slurm_python=python)
            executor.update_parameters(**given)
            sizes = [min(largest, number - first) for first in range(0, number, largest)]
            return [executor.submit_array([worker] * size)[0].job_id.partition("_")[0] for size in sizes]
    except (FailedJobError, FailedSubmissionError) as error:
        raise UserError(f"SLURM does not take the sweep: {' '.join(str(error).split())[-300:]}") from None


def _num_roots(configs: Sequence[Mapping[str, Any]], *, fewer_than: int) -> int:
    """How many first phases these runs of a sweep have, which have data and machine in common; 0 if not ``fewer_than``."""
    from hydra.utils import get_class

    from bimp_exp.run import keys as numerics
    from bimp_exp.run import plan

    found: set[str] = set()
    for config in configs:
        method, facts = get_class(config["method"]["_target_"]), {"start": config["dense_checkpoint"]}
        found.add(numerics.phase_keys(config, plan.from_config(config), facts)[0])
        if len(found) >= fewer_than:
            return 0
    return len(found)
