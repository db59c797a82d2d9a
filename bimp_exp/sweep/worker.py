"""``python -m bimp_exp.sweep.worker SWEEP``: do what is left of a sweep, one run after the other in one warm process.

Any number of workers may be at the same sweep, on any machines that share its folder. None is told what to do: each takes the
next run that is neither finished nor failed and that no other holds, and steps back from one whose next phase another is
computing. So none waits while there is something to do, and what a dead one held is taken up again: a worker leaves only
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
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from bimp_exp import files
from bimp_exp.config.messages import explain
from bimp_exp.errors import BusyError, UserError
from bimp_exp.lease import living, pulse
from bimp_exp.results import reader as disk
from bimp_exp.results.writer import failure
from bimp_exp.sweep import cells as sweep
from bimp_exp.sweep import single

POLL = 1.0  # seconds
INTERRUPTED = ("KeyboardInterrupt", "SystemExit", "UncompletedJobError")  # the last is submitit's: time is over


def work(folder: Path, *, roots: bool = False) -> int:
    """Do the runs of the sweep in ``folder``; how many failed here. ``roots``: only the first phase of each.

    It returns when every run is finished, has failed or is in the hands of a worker that lives; one that only waits for a
    phase in the hands of another is waited for.
    """
    cells = json.loads((folder / "sweep.json").read_text())["cells"]
    how = json.loads((folder / "cells.json").read_text())
    console = Console()
    todo, failed = list(cells), 0
    held: dict[str, Path] = {}  # what stood in the way of a run when it was last tried
    pulses: dict[
        str, set[tuple[str, int] | None]
    ] = {}  # of runs in the hands of others, since there is nothing else to do
    while todo:
        later: list[str] = []
        waits = False
        for name in todo:
            run = folder / name
            if not pending(run):
                continue
            try:
                if living(way := held.get(name, run / "lease")):
                    raise BusyError(name, lease=way)
                _do(run, how[name], cells[name], console, roots=roots)
            except BusyError as error:
                later.append(name)
                held[name] = error.lease
                signs = pulses.setdefault(name, set())
                signs.add(pulse(error.lease))
                waits = waits or error.lease != run / "lease" or len(signs) < 2
            except Exception as error:
                if type(error).__name__ in INTERRUPTED:
                    raise
                failed += 1
                if pending(run):  # it failed before it began
                    files.write_json(run / "failed.json", failure(error))
                say_failed(cells[name]["name"], error)
        if later != todo:
            pulses.clear()
        elif roots or not waits:
            break
        else:
            time.sleep(POLL)
        todo = later
    return failed


def pending(run: Path) -> bool:
    """Whether a run has neither a result nor a failure of its own; one that was interrupted has not failed."""
    if (run / "result.json").exists():
        return False
    try:
        return json.loads((run / "failed.json").read_text())["kind"] in INTERRUPTED
    except FileNotFoundError:
        return True


def left(folder: Path) -> dict[str, Any]:
    """The configurations of the runs of a sweep that are neither finished nor failed, by their folders' names."""
    how = json.loads((folder / "cells.json").read_text())
    return {name: about["config"] for name, about in how.items() if pending(folder / name)}


def failed_in(folder: Path, job: str) -> list[str]:
    """The runs that failed in SLURM's ``job``, told from disk since it may have been started several times."""
    found = [(path.parent, disk.read_json(path) or {}) for path in folder.glob("*/failed.json")]
    return [run.name for run, failure in found if failure.get("job") == job and not pending(run)]


def _do(run: Path, how: dict[str, Any], cell: dict[str, Any], console: Console, *, roots: bool) -> None:
    identity = sweep.identity(how["choices"], how["config"], cell)
    still = lambda: pending(run)  # noqa: E731
    single.run(how["config"], run, identity, console, wait=False, first_phase_only=roots, only_if=still)


def say_failed(name: str, error: BaseException) -> None:
    """One line for a run that has failed while others go on."""
    reason = explain(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"failed: {name}: {reason}", markup=False)


def follow() -> None:
    """For a process of a crew: leave when the one that has started it says so, or is gone.

    Signals that a terminal or SLURM sends to all processes are for that one.
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
    """Exit status 1 where a run failed, 2 where the folder holds no sweep; of a crew, 0 where it did what it could."""
    parser = argparse.ArgumentParser(prog="python -m bimp_exp.sweep.worker", description="do what is left of a sweep")
    parser.add_argument("sweep", type=Path, help="folder of the sweep")
    parser.add_argument("--roots", action="store_true", help="only the first phase of each run, which others may share")
    parser.add_argument("--crew", action="store_true", help=argparse.SUPPRESS)  # see crew.py
    given = parser.parse_args(arguments)
    if not (given.sweep / "sweep.json").exists():
        print(f"error: {given.sweep / 'sweep.json'}: absent; give the folder of a sweep", file=sys.stderr)
        return 2
    if given.crew:
        follow()
    try:
        failed = work(given.sweep, roots=given.roots)
    except KeyboardInterrupt:
        return 130
    return 0 if given.crew else min(1, failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
