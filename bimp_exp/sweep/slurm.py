"""A sweep on SLURM: how its workers are submitted, described and waited for. What they do is in ``slurm_worker``.

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
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from rich.console import Console

from bimp_exp.errors import ConfigError, UserError
from bimp_exp.run import code
from bimp_exp.sweep import snapshot, worker
from bimp_exp.sweep.slurm_worker import SlurmWorker
from bimp_exp.sweep.squeue import FIRST_PHASES, largest_array, queue
from bimp_exp.text import counted

MOST = 16  # workers, unless hydra.launcher.jobs says otherwise
PYTHON = """sh -c 'trap "" USR2; exec "$0" "$@"'"""  # until a worker listens, the signal would end it for good
OF_WORKERS = ("submitit_folder", "max_num_timeout", "requeue")  # keys of hydra.launcher that submitit does not get
# Keys that submitit has for every kind of cluster; it wants "slurm_" before those of SLURM alone.
OF_SUBMITIT = (
    "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name", "stderr_to_stdout",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """Result of a submission.

    num_workers: new ones. num_first: jobs before them that do only first phases. num_there, num_unaware: workers from before,
    and those of them that were submitted when the sweep had fewer runs. packed: runs that a worker does at a time.
    """

    runs: int
    num_workers: int
    num_first: int
    num_there: int
    num_unaware: int
    packed: int
    ids: Sequence[str]
    code: Path


def submit(
    sweep: Path, settings: Mapping[str, Any], *, most: int | None, packed: int, again: bool, allow: Sequence[str]
) -> Submitted:
    """Submit as many workers as the sweep lacks, at most ``most`` in all; UserError where SLURM does not take them.

    settings: keys of hydra-submitit-launcher. packed: runs that a worker does at a time. again: failed runs are to be done
    again, of which the workers that are there know nothing. allow: modules that the runs may name beside bimp_exp's own.
    """
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "hydra/launcher=slurm: no sbatch here; submit where there is one, or take hydra/launcher=local"
        )
    runs, there = worker.checked(sweep, allow), [each for each in queue(sweep) if not each.first_phase_only]
    how = json.loads((sweep / "cells.json").read_text())
    taken = snapshot.take(sweep, sorted({target for each in how.values() for target in code.targets(each["config"])}))
    num_unaware = len(there) if again else sum(each.num_runs != len(how) for each in there)
    wanted = max(0, min(most or MOST, ceil(len(runs) / packed)) - (len(there) - num_unaware))
    settings = {**settings, "name": settings["name"] or sweep.name}
    folder = sweep.absolute() / settings["submitit_folder"] / f"{taken.name}.{len(how)}"
    num_first = ceil(_num_first_phases(list(runs.values()), fewer_than=wanted * packed) / packed)
    restarts = settings["max_num_timeout"] if settings["requeue"] else 0
    first, others = (
        SlurmWorker(
            sweep=sweep.absolute(),
            code=taken,
            first_phase_only=only,
            packed=packed,
            allow=tuple(allow),
            most_restarts=restarts,
        )
        for only in (True, False)
    )
    ids: list[str] = []
    try:
        ids += _arrays(folder / FIRST_PHASES, settings, first, num_first, after=())
        ids += _arrays(folder, settings, others, wanted, after=tuple(ids))
    except UserError:
        if ids:
            subprocess.run(["scancel", *ids], check=False)
        raise
    return Submitted(
        runs=len(runs), num_workers=wanted, num_first=num_first, num_there=len(there), num_unaware=num_unaware,
        packed=packed, ids=ids, code=taken,
    )  # fmt: skip


def say(submitted: Submitted, sweep: Path) -> None:
    """Print what was submitted and how to look at it and end it."""
    s, console = submitted, Console(soft_wrap=True, highlight=False)
    lines = ["no runs to do"]
    if s.runs:
        lines = [
            f"{counted(s.runs, 'run')} to do: {counted(s.num_workers, 'worker')} submitted, {s.num_there} there already"
        ]
        if s.packed > 1:
            lines[0] += f" (each does {s.packed} at a time)"
        if s.num_unaware:
            lines[0] += f", {s.num_unaware} of which only what the sweep was before"
    if s.num_first:
        lines[0] += f"; before them {s.num_first} train{'s' * (s.num_first == 1)} what the runs have in common"
    for other in sorted(s.code.parent.iterdir()):
        if other == s.code or other.name.startswith("."):
            continue
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


def _arrays(
    folder: Path, settings: Mapping[str, Any], job: SlurmWorker, number: int, *, after: Sequence[str]
) -> list[str]:
    """Submit ``number`` jobs that do the same, once the jobs ``after`` are over; the ids of their arrays."""
    from submitit import AutoExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    given = {
        key if key in OF_SUBMITIT else f"slurm_{key}": value for key, value in settings.items() if key not in OF_WORKERS
    }
    paths = os.pathsep.join(map(str, snapshot.paths(job.code)))
    export = f"export PYTHONPATH={shlex.quote(paths)}${{PYTHONPATH:+:$PYTHONPATH}}"
    given["slurm_setup"] = [*(given["slurm_setup"] or []), export]
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
            return [executor.submit_array([job] * size)[0].job_id.partition("_")[0] for size in sizes]
    except (FailedJobError, FailedSubmissionError) as error:
        raise UserError(f"SLURM does not take the sweep: {' '.join(str(error).split())[-300:]}") from None


def _num_first_phases(configs: Sequence[Mapping[str, Any]], *, fewer_than: int) -> int:
    """Number of different first phases of these runs, which share data and machine; 0 unless it is below ``fewer_than``."""
    from bimp_exp.run import keys, plan

    found: set[str] = set()
    for config in configs:
        facts = {"start": config["dense_checkpoint"]}
        found.add(keys.phase_keys(config, plan.from_config(config), facts)[0])
        if len(found) >= fewer_than:
            return 0
    return len(found)
