"""``bimp-exp status [SWEEP ...] [--watch]``: how far a sweep is, told from its files alone.

Done: there is a result.json. Running: a living process holds the run's lease. Failed: neither, and failed.json says why.
All others wait; of these, some may have been broken off (interrupted, killed), and will be continued.

The time left of a run is that of the images still to come at the rate of its last epoch, and evaluations in the proportion
of the finished runs of the sweep; without them, as long as none is finished. Of a sweep that was submitted to SLURM, a line
says what squeue knows of its workers.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bimp_exp.cli.commands import add_allow, columns
from bimp_exp.config.trust import from_file
from bimp_exp.errors import ConfigError, DataError
from bimp_exp.lease import living
from bimp_exp.results import reader as disk
from bimp_exp.run import plan
from bimp_exp.sweep import squeue
from bimp_exp.sweep.worker import pending
from bimp_exp.text import counted

REFRESH = 2.0  # seconds
TAIL = 16_384  # bytes of metrics.jsonl: more than an epoch's lines
MOST = 20  # failures that are listed
STATES = ("waiting", "running", "done", "failed")


@dataclass(frozen=True, kw_only=True)
class Status:
    """State of a sweep.

    runs: folder names by state. names: what the runs are called, by folder name. broken_off: how many waiting runs were begun.
    """

    folder: Path
    name: str
    runs: dict[str, list[str]]
    names: dict[str, str]
    broken_off: int

    @property
    def over(self) -> bool:
        """Whether nothing waits or runs."""
        return not (self.runs["waiting"] or self.runs["running"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which sweeps, and for how long."""
    parser.add_argument(
        "sweeps", metavar="SWEEP", type=Path, nargs="*",
        help="its folder; default: those of results/sweeps that are not over, else the newest",
    )  # fmt: skip
    watching = f"until nothing waits or runs; on a terminal it is shown anew every {REFRESH:g} seconds"
    parser.add_argument("--watch", action="store_true", help=watching)
    add_allow(parser)


def run(given: argparse.Namespace) -> None:
    """Show the status once, or with --watch until nothing waits or runs any more."""
    console = Console(soft_wrap=True, highlight=False)
    folders = given.sweeps or current(Path("results/sweeps"))
    live = Live(console=console, auto_refresh=False) if given.watch and console.is_terminal else None
    with live or nullcontext():
        while True:
            statuses = [look(folder) for folder in folders]
            shown = Text("\n".join(text(statuses, given.allow)))
            if live:
                live.update(shown, refresh=True)
            if not given.watch or all(status.over for status in statuses):
                break
            time.sleep(REFRESH)
    if not live:
        console.print(shown)


def current(root: Path) -> list[Path]:
    """The sweeps in ``root`` that are not over, else the newest one; DataError where there is none."""
    found = sorted(root.glob("*/sweep.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise DataError(f"{root}: there is no sweep; give the folder of one")
    return [path.parent for path in found if not look(path.parent).over] or [found[-1].parent]


def look(folder: Path) -> Status:
    """The state of every run of the sweep in ``folder``."""
    facts = disk.read_sweep_facts(folder)
    runs: dict[str, list[str]] = {state: [] for state in STATES}
    for run in facts.runs:
        runs[_state(folder / run)].append(run)
    names = {run: cell.name for run, cell in facts.cells.items()}
    broken_off = sum(_num_starts(folder / run) > 0 for run in runs["waiting"])
    return Status(folder=folder, name=facts.name, runs=runs, names=names, broken_off=broken_off)


def _state(run: Path) -> str:
    if (run / "result.json").exists():
        return "done"
    if living(run / "lease"):
        return "running"
    return "waiting" if pending(run) else "failed"


def _num_starts(run: Path) -> int:
    """A worker that finds a phase in the hands of another takes the start back that run.json has counted."""
    facts = disk.read_json(run / "run.json") or {}
    return int(facts.get("starts", 0))


def text(statuses: Sequence[Status], allow: Collection[str] = ()) -> list[str]:
    """The lines that are shown: of each sweep its name, the counts, the runs under way and the failures.

    allow: modules that a run's config.yaml may name beside bimp_exp's own; the progress of another run is not known.
    """
    return [line for status in statuses for line in [*_text(status, allow), ""]][:-1]


def _text(status: Status, allow: Collection[str]) -> list[str]:
    counts = {state: f"{len(status.runs[state])} {state}" for state in STATES}
    if status.broken_off:
        counts["waiting"] += f" ({status.broken_off} broken off)"
    total = sum(map(len, status.runs.values()))
    lines = [f"{status.name}: {status.folder}", f"{counted(total, 'run')}: {', '.join(counts.values())}"]
    if not status.over:
        lines += squeue.lines(status.folder)
    if status.runs["running"]:
        slowdown = evaluation_slowdown([status.folder / run for run in status.runs["done"]])
        rows, notes = [["running", "phase", "epoch", "items/s", "left", "host"]], []
        for run in status.runs["running"]:
            try:
                row = progress(status.folder / run, slowdown, allow)
            except ConfigError as error:
                row = ["", "", "", "", _host(status.folder / run)]
                notes.append(f"no progress: {error}")
            rows.append([_name(status, run), *row])
        lines += [*columns(rows), *notes]
    for run in status.runs["failed"][:MOST]:
        failure = disk.read_json(status.folder / run / "failed.json") or {}
        lines.append(f"failed: {_name(status, run)}: {' '.join(str(failure.get('error', '')).split())}")
    if len(status.runs["failed"]) > MOST:
        lines.append(f"and {len(status.runs['failed']) - MOST} more that failed")
    return lines


def evaluation_slowdown(runs: Sequence[Path]) -> float:
    """How many times as long as training alone the phases of the finished ``runs`` took with their evaluations."""
    times = [_times(run) for run in runs]
    training = sum(seconds for seconds, _ in times)
    return sum(seconds for _, seconds in times) / training if training else 1.0


@cache  # a result does not change any more
def _times(run: Path) -> tuple[float, float]:
    """Seconds of training, and of all, in a finished run."""
    phases = disk.read_phases(run)
    return sum(phase.seconds_training for phase in phases), sum(phase.seconds for phase in phases)


def _name(status: Status, run: str) -> str:
    return status.names.get(run, run)


def progress(run: Path, slowdown: float, allow: Collection[str] = ()) -> list[str]:
    """Phase, epoch, items per second, time left and host of a run under way; "" for what is not known yet.

    slowdown: how many times as long as training alone a run takes.
    """
    host, planned = _host(run), _planned(run, allow)
    if planned is None:  # it has only just begun
        return ["", "", "", "", host]
    points = _last_points(run / "metrics.jsonl")
    step = points[-1]["step"] if points else 0
    phase = points[-1]["phase"] if points else planned.phases[0].phase.name
    epoch = f"{step / planned.steps_per_epoch:.4g}/{planned.num_steps / planned.steps_per_epoch:.4g}"
    rates = [point["images_per_second"] for point in points if "images_per_second" in point]
    if not rates:
        return [phase, epoch, "", "", host]
    images = (planned.num_steps - step) * planned.num_items_per_epoch / planned.steps_per_epoch
    since = time.time() - (run / "metrics.jsonl").stat().st_mtime
    left = timedelta(seconds=round(max(0.0, images / rates[-1] * slowdown - since)))
    return [phase, epoch, f"{rates[-1]:,.0f}", str(left), host]


def _host(run: Path) -> str:
    return str((living(run / "lease") or {}).get("host", ""))


@cache
def _plan(path: Path, text: str, allow: tuple[str, ...]) -> plan.Plan:
    return plan.from_config(from_file(yaml.safe_load(text), path, allow))


def _planned(run: Path, allow: Collection[str]) -> plan.Plan | None:
    path = run / "config.yaml"
    return _plan(path, path.read_text(), tuple(allow)) if path.exists() else None


def _last_points(path: Path) -> list[dict[str, Any]]:
    """The last complete lines of metrics.jsonl."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines[size > TAIL :]]
