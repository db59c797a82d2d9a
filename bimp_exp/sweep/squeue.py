"""Questions to SLURM: which workers of a sweep it has, and how large an array may be; accounting is not needed.

The path of a worker's job script names its sweep, the code it runs and how many runs the sweep had when it was submitted.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bimp_exp.errors import UserError
from bimp_exp.sweep import snapshot

FIRST_PHASES = "first_phases"  # folder of the jobs that do only those


@dataclass(frozen=True, kw_only=True)
class QueuedWorker:
    """A worker as squeue shows it.

    code: hash of the snapshot that it runs. num_runs: those of the sweep at its submission, which alone it will do.
    first_phase_only: it ends each run after its first phase. reason: why SLURM does not start it yet.
    """

    code: str
    num_runs: int
    first_phase_only: bool
    state: str
    reason: str


def queue(sweep: Path, states: str = "PD,CF,R,S") -> list[QueuedWorker]:
    """The workers of ``sweep`` that are queued or running; UserError where squeue does not answer."""
    asked = subprocess.run(["squeue", "-h", "-r", "-t", states, "-o", "%T|%r|%o"], capture_output=True, text=True)
    if asked.returncode:
        raise UserError(f"squeue: {asked.stderr.strip() or 'failed'}")
    script = rf"{re.escape(str(sweep.absolute()))}/.*?([0-9a-f]{{{snapshot.LENGTH}}})\.(\d+)/({FIRST_PHASES}/)?[^/]*"
    found = re.finditer(rf"^(\w+)\|(.*?)\|{script}$", asked.stdout, re.MULTILINE)
    return [
        QueuedWorker(code=code, num_runs=int(runs), first_phase_only=bool(first), state=state, reason=reason)
        for state, reason, code, runs, first in map(re.Match.groups, found)
    ]


def lines(sweep: Path) -> list[str]:
    """One line: how many workers SLURM has for ``sweep``, and why some wait; none where it was not submitted, or not from here."""
    if not ((sweep / "code").is_dir() and shutil.which("squeue")):
        return []
    try:
        found = Counter((w.state.lower(), w.reason if w.state == "PENDING" else "") for w in queue(sweep))
    except UserError as error:
        return [f"workers: {' '.join(str(error).split())}"]
    each = [f"{count} {state}{f' ({reason})' if reason else ''}" for (state, reason), count in sorted(found.items())]
    return [f"workers: {', '.join(each) or 'none is queued or running; the same command submits more'}"]


def largest_array() -> int:
    """More jobs than this SLURM does not take as one array."""
    shown = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True).stdout
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", shown)
    return int(found[1]) if found else 1001
