"""When the summary of a sweep is written: as its runs go on, but seldom, by one process at a time; and at the end.

Writing it reads every run of the sweep, 1 to 2 ms each on a local disk, so the time between two grows with their number and
the cost stays at about 2 % of one process, whatever the size of the sweep and the number of its workers.
"""

from __future__ import annotations

import time
from pathlib import Path

from bimp_exp.lease import Lease
from bimp_exp.results.reader import read_sweep, read_sweep_facts

EVERY = 30.0  # seconds
PER_RUN = 0.1  # seconds
POLL = 0.2  # seconds


def if_due(folder: Path) -> bool:
    """Write it if it is older than ``EVERY``, and than ``PER_RUN`` for each run, and no other process is at it; whether so."""
    age = time.time() - _written(folder)
    if age < EVERY or age < PER_RUN * len(read_sweep_facts(folder).runs):
        return False
    lease = Lease.take(folder / "summary.lease")
    if lease is None:
        return False
    with lease:
        if time.time() - _written(folder) < EVERY:  # by another process, since we looked
            return False
        _write(folder)
    return True


def now(folder: Path) -> None:
    """Write it, after another process that is at it has finished."""
    while (lease := Lease.take(folder / "summary.lease")) is None:
        time.sleep(POLL)
    with lease:
        _write(folder)


def _written(folder: Path) -> float:
    path = folder / "summary.html"
    return path.stat().st_mtime if path.exists() else 0.0


def _write(folder: Path) -> None:
    from bimp_exp.report.summary import write_summary  # pandas takes a while

    write_summary(read_sweep(folder), folder)
