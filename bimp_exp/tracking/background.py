"""``python -m bimp_exp.tracking.background URI EXPERIMENT``: mirror the folders named on standard input, a JSON object a line.

{"run": FOLDER, "lines": NUMBER} (how many of metrics.jsonl), {"sweep": FOLDER, "over": BOOL}, and {"end": true}: do the rest,
then exit. When the pipe is closed, the process that was served is dead, and this one exits at once. A folder that is named again
while it waits is done once. Where a store is out of reach, a run waits until something else was mirrored.

The summary of a sweep is written anew and mirrored as its runs go on (``bimp_exp.report.refresh`` says how often).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bimp_exp.report import refresh
from bimp_exp.tracking.mirror import Mirror

NICE = 5  # training goes first
DELAY = 10.0  # seconds before the first mirroring, since to import MLflow would slow down the start of a run on a small machine
POLL = 5.0  # seconds between two looks whether a summary is due


class Backlog:
    """Folders that wait to be mirrored; one thread adds to it, another works it off."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self._runs: dict[Path, int] = {}
        self._sweeps: dict[Path, bool] = {}
        self._ended = False
        self._late: dict[Path, int] = {}  # runs that could not be mirrored
        self._stale: set[Path] = set()  # sweeps whose summary is older than their runs
        self._changed = threading.Condition()

    def add(self, message: Mapping[str, Any]) -> None:
        """Take in a message."""
        with self._changed:
            if "run" in message:
                self._runs[Path(message["run"])] = message["lines"]
            elif "sweep" in message:
                sweep = Path(message["sweep"])
                self._sweeps[sweep] = message["over"] or self._sweeps.get(sweep, False)
            else:
                self._ended = True
            self._changed.notify()

    def work(self) -> None:
        """Mirror until the end is announced and all is done; after it, nothing more once the store does not answer."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, DELAY)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._runs or self._sweeps or self._ended, POLL if self._stale else None)
                run = next(iter(self._runs), None)
                sweep = None if run else next(iter(self._sweeps), None)
                lines = self._runs.pop(run) if run else 0
                over = self._sweeps.pop(sweep) if sweep else False
                ended = self._ended
            if run:
                self._mirror_run(run, lines)
            elif sweep:
                self.mirror.sync_sweep(sweep, over=over)
                self._stale.discard(sweep)
            elif ended:
                return
            if ended and (run or sweep) in self.mirror.behind:
                return
            for stale in list(self._stale):
                self.mirror.safely(stale, self._refresh)

    def _mirror_run(self, run: Path, lines: int) -> None:
        self.mirror.sync(run, lines=lines)
        self._late.pop(run, None)
        if run in self.mirror.behind:
            self._late[run] = lines
            return
        with self._changed:
            self._runs = self._late | self._runs  # what is told later is right
        self._late = {}
        if (run.parent / "sweep.json").exists():
            self._stale.add(run.parent)

    def _refresh(self, sweep: Path) -> None:
        if refresh.if_due(sweep):
            self._stale.discard(sweep)
            self.mirror.mirror_sweep(sweep, over=False)


def main() -> None:
    """Read what is to be mirrored in one thread and mirror it in another."""
    os.nice(NICE)
    logging.basicConfig(format="%(message)s")
    uri, experiment = sys.argv[1:]
    backlog = Backlog(Mirror(uri=uri, experiment=experiment))

    def read() -> None:
        with open(0, "rb", buffering=0) as lines:  # a buffer would be locked when this process exits
            for line in lines:
                backlog.add(json.loads(line))
        os._exit(1)  # whatever the other thread is at

    threading.Thread(target=read, daemon=True).start()
    backlog.work()


if __name__ == "__main__":
    main()
