"""``bimp-exp sync FOLDER``: bring MLflow up to date with every run and sweep below a folder.

For runs whose store was out of reach for a while, or that were done without one. As often as one likes, beside running
jobs, too.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path

import yaml

from bimp_exp.errors import DataError
from bimp_exp.results.cells import cells
from bimp_exp.results.reader import Sweep, find, read_sweep
from bimp_exp.text import counted
from bimp_exp.tracking.mirror import Mirror


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to mirror, and into which store."""
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of a run, of a sweep, or of many of them")
    parser.add_argument("--uri", help="of the store (default: tracking.uri of each run)")
    parser.add_argument("--experiment", help="in the store (default: tracking.experiment of each run)")


def run(given: argparse.Namespace) -> int:
    """Mirror; exit status 1 where something could not be mirrored, of which each has its warning."""
    runs = find(given.folder, "run.json")
    if not runs:
        raise DataError(f"{given.folder}: there is no run below it; give the folder of a run or of many")
    mirrors = {run: _mirror(_tracking(run, given.uri, given.experiment)) for run in runs}
    for run, mirror in mirrors.items():
        if mirror:
            mirror.sync(run)
    sweeps = {run.parent: mirror for run, mirror in mirrors.items() if (run.parent / "sweep.json").exists()}
    for sweep, mirror in sweeps.items():
        if mirror:
            mirror.sync_sweep(sweep, over=False)
            if sweep.resolve() not in mirror.behind:
                print(_counts(read_sweep(sweep)))
    behind = {folder for mirror in mirrors.values() if mirror for folder in mirror.behind}
    untracked = sum(mirror is None for mirror in mirrors.values())
    note = f"; {untracked} runs have no store: give --uri and --experiment" if untracked else ""
    print(f"{len(runs)} runs, {len(sweeps)} sweeps: {len(behind)} could not be mirrored{note}")
    return 1 if behind else 0


def _counts(sweep: Sweep) -> str:
    return f"{sweep.name}: {counted(len(cells(sweep)), 'cell')}, {counted(len(sweep.runs), 'run')}"


def _tracking(run: Path, uri: str | None, experiment: str | None) -> str:
    own = yaml.safe_load((run / "config.yaml").read_text())["tracking"]
    return json.dumps([uri or own.get("uri"), experiment or own.get("experiment")])


@cache
def _mirror(tracking: str) -> Mirror | None:
    """One for each store and experiment; None where a run has none."""
    uri, experiment = json.loads(tracking)
    return Mirror(uri=uri, experiment=experiment) if uri and experiment else None
