"""``python -m bimp_exp.sweep.worker SWEEP``: do what is left of a sweep, one run after the other in one warm process.

Any number of workers may be at the same sweep, on any machines that share its folder. None is told what to do: each takes the
next run that is neither finished nor failed and that no other holds, and leaves a run alone whose next phase another is
computing. So none waits while there is something to do, and the run of a dead worker is taken up again: a worker leaves only
when each run that is left has shown a sign of life from its holder since the worker has had nothing to do. That is a matter
of seconds (``lease.BEAT``), unless the holder is dead: then the claim lapses (``lease.EXPIRES``) and the worker takes the run.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from bimp_exp import files
from bimp_exp.config.messages import explain
from bimp_exp.config.trust import NotAllowedError, from_file
from bimp_exp.errors import BusyError, ConfigError, UserError
from bimp_exp.lease import heartbeat, living
from bimp_exp.paths import search_current_folder
from bimp_exp.results import reader as disk
from bimp_exp.results.writer import failure
from bimp_exp.run.process import Process
from bimp_exp.sweep import cells as sweep
from bimp_exp.sweep import single

POLL = 1.0  # seconds
INTERRUPTED = ("KeyboardInterrupt", "SystemExit", "UncompletedJobError")  # the last is submitit's: time is over


def work(folder: Path, process: Process, *, first_phase_only: bool = False, allow: Collection[str] = ()) -> int:
    """Do the runs of the sweep in ``folder``; the number of runs that failed here.

    It returns when every run is finished, has failed or is held by a living worker; a run that only waits for a phase that
    another worker computes is waited for.

    first_phase_only: end each run after its first phase, which several runs may share. allow: modules that cells.json may name
    beside bimp_exp's own; ConfigError, and nothing is done, where a run that is left names another.
    """
    checked(folder, allow)
    cells = json.loads((folder / "sweep.json").read_text())["cells"]
    how = json.loads((folder / "cells.json").read_text())
    console = Console()
    todo, num_failed = list(cells), 0
    blocked_by: dict[str, Path] = {}  # the lease that kept us from a run when it was last tried
    heartbeats: dict[str, set[tuple[str, int] | None]] = {}  # of runs held by others, since there is nothing else to do
    while todo:
        later: list[str] = []
        waits = False
        for name in todo:
            run = folder / name
            if not pending(run):
                continue
            try:
                if living(lease := blocked_by.get(name, run / "lease")):
                    raise BusyError(name, lease=lease)
                config = from_file(how[name]["config"], f"{folder / 'cells.json'}: {name}", allow)
                each = {**how[name], "config": config}
                _do(run, each, cells[name], console, process, first_phase_only=first_phase_only)
            except BusyError as error:
                later.append(name)
                blocked_by[name] = error.lease
                seen = heartbeats.setdefault(name, set())
                seen.add(heartbeat(error.lease))
                waits = waits or error.lease != run / "lease" or len(seen) < 2
            except Exception as error:
                if type(error).__name__ in INTERRUPTED:
                    raise
                num_failed += 1
                if pending(run):  # it failed before it began
                    files.write_json(run / "failed.json", failure(error))
                print_failure(cells[name]["name"], error)
        if later != todo:
            heartbeats.clear()
        elif first_phase_only or not waits:
            break
        else:
            time.sleep(POLL)
        todo = later
    return num_failed


def pending(run: Path) -> bool:
    """Whether a run has neither a result nor a failure of its own; an interruption is not a failure."""
    if (run / "result.json").exists():
        return False
    try:
        return json.loads((run / "failed.json").read_text())["kind"] in INTERRUPTED
    except FileNotFoundError:
        return True


def left(folder: Path) -> dict[str, Any]:
    """The configurations of the runs of a sweep that are neither finished nor failed, by their folders' names."""
    how = json.loads((folder / "cells.json").read_text())
    return {name: each["config"] for name, each in how.items() if pending(folder / name)}


def checked(folder: Path, allow: Collection[str], besides: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """What is ``left`` ``besides`` these runs; ConfigError where it names other classes than bimp_exp's and those of ``allow``."""
    waiting = {name: config for name, config in left(folder).items() if name not in besides}
    try:
        return {name: from_file(config, f"{folder / 'cells.json'}: {name}", allow) for name, config in waiting.items()}
    except NotAllowedError as error:
        raise NotAllowedError(f"{error} (python -m bimp_exp.sweep.worker {folder} --allow MODULE)") from None


def failed_in(folder: Path, job: str) -> list[str]:
    """The runs that failed in SLURM's ``job``, read from disk since the job may have been started several times."""
    found = [(path.parent, disk.read_json(path) or {}) for path in folder.glob("*/failed.json")]
    return [run.name for run, failure in found if failure.get("job") == job and not pending(run)]


def _do(
    run: Path,
    how: dict[str, Any],
    cell: dict[str, Any],
    console: Console,
    process: Process,
    *,
    first_phase_only: bool,
) -> None:
    single.run(
        how["config"], run, sweep.identity(how["choices"], how["config"], cell), console, process,
        command=how["command"], wait=False, first_phase_only=first_phase_only, only_if=lambda: pending(run),
    )  # fmt: skip


def print_failure(name: str, error: BaseException) -> None:
    """One line for a run that has failed while others go on."""
    reason = explain(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"failed: {name}: {reason}", markup=False)


def exit_with_parent() -> None:
    """End this process of a pool, in order, when the process that has started it closes our standard input or is gone.

    Signals that a terminal or SLURM sends to all processes are left to that process.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit("told to leave")

    def watch() -> None:
        os.read(0, 1)  # until its other end is closed
        os.kill(os.getpid(), signal.SIGHUP)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, leave)
    threading.Thread(target=watch, daemon=True).start()


def main(arguments: list[str]) -> int:
    """Exit status 1 where a run failed, 2 where the folder holds no sweep; in a pool 0 wherever this process did its part."""
    parser = argparse.ArgumentParser(prog="python -m bimp_exp.sweep.worker", description="do what is left of a sweep")
    parser.add_argument("sweep", type=Path, help="folder of the sweep")
    parser.add_argument("--first-phase-only", action="store_true", help="end each run after its first phase")
    parser.add_argument("--allow", metavar="MODULE", action="append", default=[], help="that cells.json may name")
    parser.add_argument("--in-pool", action="store_true", help=argparse.SUPPRESS)  # pool.py starts it so
    given = parser.parse_args(arguments)
    if not (given.sweep / "sweep.json").exists():
        print(f"error: {given.sweep / 'sweep.json'}: absent; give the folder of a sweep", file=sys.stderr)
        return 2
    if given.in_pool:
        exit_with_parent()
    search_current_folder()
    try:
        with Process() as process:
            num_failed = work(given.sweep, process, first_phase_only=given.first_phase_only, allow=given.allow)
    except KeyboardInterrupt:
        return 130
    except ConfigError as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 2
    return 0 if given.in_pool else min(1, num_failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
