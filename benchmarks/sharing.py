"""What a sweep saves by computing equal phases once: the grid of six schedules, done with a common store and without one.

    OMP_NUM_THREADS=1 python benchmarks/sharing.py --write

Both sweeps run side by side, one worker each, so that whatever else the machine does slows both. Printed, and with ``--write``
written to ``benchmarks/results/sharing.md``: epochs asked for and executed, hours of training, wall time; and whether the two
came to the same results, which is checked over every number that no clock has measured.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bimp_exp import files
from bimp_exp.store import phases as store

ROOT = Path(__file__).resolve().parents[1]
GRID = "schedule=ft,lrw,slr,clr,llr,allr budget.cycles=1,2,3 sparsity=.9,.95,.98 seed=0,1"
TIMES = {"seconds", "seconds_training", "seconds_evaluating", "images_per_second"}


def run(grid: list[str], folder: Path) -> dict[str, float]:
    """Do the grid with a common store and without; the wall seconds of each."""
    common = ["-m", *grid, "tracking=none", "runtime.threads=1"]
    own = {"shared": [f"store.root={folder / 'phases'}"], "own": ["store=own"]}
    started = time.perf_counter()
    sweeps = {}
    for name, how in own.items():
        command = [sys.executable, str(ROOT / "run.py"), *common, *how, f"hydra.sweep.dir={folder / name}"]
        sweeps[name] = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    seconds: dict[str, float] = {}
    while len(seconds) < len(sweeps):
        time.sleep(0.2)
        for name, sweep in sweeps.items():
            if name not in seconds and sweep.poll() is not None:
                seconds[name] = time.perf_counter() - started
                if sweep.returncode:
                    raise SystemExit(f"the sweep {name} ended with {sweep.returncode}; see {folder / name}")
    return seconds


def computed(folder: Path) -> tuple[int, float, float]:
    """Number, epochs and seconds of the phases stored below ``folder``."""
    headers = [store.header(path) for path in folder.glob("**/done.pt")]
    return len(headers), sum(h["epochs"] for h in headers), sum(h["seconds"] for h in headers)


def timeless(value: Any) -> Any:
    """``value`` without what a clock has measured."""
    if isinstance(value, dict):
        return {key: timeless(entry) for key, entry in value.items() if key not in TIMES}
    return [timeless(entry) for entry in value] if isinstance(value, list) else value


def compare(folder: Path) -> int:
    """How many runs there are; SystemExit where one differs between the sweeps."""
    runs = sorted((folder / "own").glob("*/result.json"))
    for path in runs:
        other = folder / "shared" / path.parent.name / "result.json"
        if timeless(json.loads(path.read_text())) != timeless(json.loads(other.read_text())):
            raise SystemExit(f"{path} and {other} differ")
    return len(runs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", default=GRID)
    parser.add_argument("--folder", type=Path, help="where the two sweeps go; default: one that is removed at the end")
    parser.add_argument("--write", action="store_true", help="to benchmarks/results/sharing.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        seconds = run(shlex.split(options.grid), folder)
        num_runs = compare(folder)
        lines = ["| store | phases | epochs executed | minutes of phases | wall minutes |", "|---|--:|--:|--:|--:|"]
        for name, where in {"own": folder / "own", "shared": folder / "phases"}.items():
            phases, epochs, spent = computed(where)
            lines.append(f"| {name} | {phases} | {epochs:g} | {spent / 60:.1f} | {seconds[name] / 60:.1f} |")
    text = "\n".join([f"`-m {options.grid}`: {num_runs} runs, the same numbers in both sweeps.", "", *lines]) + "\n"
    print(text)
    if options.write:
        files.write(ROOT / "benchmarks" / "results" / "sharing.md", text.encode())


if __name__ == "__main__":
    main()
