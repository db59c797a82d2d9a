"""How many processor cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path


def usable(*, hyperthreads: bool) -> int:
    """Cores in the affinity mask of this process, at most those that SLURM has given it.

    hyperthreads: count every hardware thread, else a physical core once. SLURM does not bind a job to its share everywhere.
    """
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    given = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE")
    siblings = [Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") for cpu in cpus]
    here = len(cpus) if hyperthreads else len({p.read_text() if p.exists() else str(p) for p in siblings})
    return min(here, int(given)) if given else here
