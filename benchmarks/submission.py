"""What it costs to submit a large sweep to SLURM and to look at it: seconds and memory of the two commands.

    python benchmarks/submission.py [--runs 5000]

Starts a cluster of its own, as the tests do (root on Debian), and submits to a partition that starts nothing. Bars: 30 s and
1 GB for the submission, 2 s for the status.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.slurm_cluster import Cluster, install  # noqa: E402

GRID = "schedule=ft,lrw,slr,clr,llr,allr", "budget.cycles=1,2,3", "sparsity=.9,.95,.98"  # 54 runs a seed


def cost(command: list[str], environment: Mapping[str, str], folder: Path) -> tuple[float, float]:
    """Seconds and peak memory [GB] of a command and what it has waited for; CalledProcessError where it fails."""
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e9


def measure(runs: int) -> dict[str, float]:
    """Figures of a sweep of at least ``runs`` runs; RuntimeError where no cluster can be started."""
    reason = install()
    if reason:
        raise RuntimeError(reason)
    seeds = -(-runs // 54)
    with tempfile.TemporaryDirectory(prefix="bimp_exp_") as name:
        folder = Path(name)
        with Cluster(folder=folder / "cluster") as cluster:
            environment = cluster.environment | {"PYTHONPATH": str(ROOT)}
            submission = [sys.executable, str(ROOT / "run.py"), "-m", *GRID, f"seed=range({seeds})", "tracking=none"]
            submission += ["hydra/launcher=slurm", "hydra.launcher.partition=dry", "hydra.sweep.dir=sweep"]
            seconds, memory = cost(submission, environment, folder)
            looking = cost([sys.executable, "-m", "bimp_exp", "status", "sweep"], environment, folder)
    return {
        "runs": 54 * seeds, "submission_s": seconds, "submission_gb": memory, "status_s": looking[0], "status_gb": looking[1],
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5000)
    print(", ".join(f"{name} {value:,.4g}" for name, value in measure(parser.parse_args().runs).items()))
