"""How a run is tracked: not at all, or mirrored into MLflow by a process of its own, for which training never waits.

What is on disk is the truth, so that process may be killed, or die with the one it serves, at any time: the next that mirrors
the same folder (``bimp_exp.tracking.background``, ``bimp_exp.cli.sync``) catches up.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimp_exp.paths import ROOT
from bimp_exp.results.reader import read_lines
from bimp_exp.tracking.mlflow_store import absolute

log = logging.getLogger(__name__)
PATIENCE = 120.0  # seconds that the end of a process waits until all is mirrored
SHORT_PATIENCE = 1.5  # the same, where someone has asked it to end


@dataclass(frozen=True)
class NoTracking:
    """Tracks nothing; the files of the runs are complete without it."""

    def sync(self, run_dir: Path) -> None: ...

    def sync_sweep(self, sweep_dir: Path, *, over: bool) -> None: ...

    def shorten_exit_wait(self) -> None: ...

    def close(self) -> None: ...


class MLflow:
    """Mirrors runs into ``experiment`` of the store at ``uri``: sqlite:///FILE or http(s)://HOST.

    A relative FILE starts at the directory that is current now; artifacts go to mlartifacts/ beside it.
    """

    def __init__(self, *, uri: str, experiment: str) -> None:
        self.uri, self.experiment = absolute(uri), experiment
        self.helper = Helper(self.uri, self.experiment)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MLflow) and (self.uri, self.experiment) == (other.uri, other.experiment)

    def __hash__(self) -> int:
        return hash((self.uri, self.experiment))

    def sync(self, run_dir: Path) -> None:
        """Have the MLflow run of ``run_dir`` brought up to date, and after it the summary of its sweep."""
        self._own().tell(run_dir.resolve())

    def sync_sweep(self, sweep_dir: Path, *, over: bool) -> None:
        """Have a sweep's own run brought up to date."""
        self._own().tell(sweep_dir.resolve(), over=over)

    def shorten_exit_wait(self) -> None:
        self._own().patience = SHORT_PATIENCE

    def close(self) -> None:
        self.helper.close()

    def _own(self) -> Helper:
        """The helper; in a fork another than the parent's."""
        if self.helper.pid != os.getpid():
            self.helper = Helper(self.uri, self.experiment)
        return self.helper


class Helper:
    """A process of ``bimp_exp.tracking.background`` that reads what to do from a pipe; it is started when there is something."""

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri, self.experiment, self.pid = uri, experiment, os.getpid()
        self.patience = PATIENCE
        self.process: subprocess.Popen[bytes] | None = None

    def tell(self, folder: Path, over: bool | None = None) -> None:
        """Hand on what is to be mirrored, a run or with ``over`` a sweep, and return; a process that has died is replaced.

        Of a run, the points that it has now: what it writes next may be undone, if it is killed before it is saved.
        """
        try:
            if self.process is None or self.process.poll() is not None:
                self._start()
            if over is None:
                self._write({"run": str(folder), "lines": len(read_lines(folder))})
            else:
                self._write({"sweep": str(folder), "over": over})
        except (OSError, ValueError) as error:  # no memory for it, or it died just now, or the points are damaged
            log.warning("MLflow is not told of %s (%s); make sync catches up", folder, error)

    def _start(self) -> None:
        if self.process is None:
            atexit.register(self.close)
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bimp_exp.tracking.background", self.uri, self.experiment],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},  # the code of this process, not of the current directory
            process_group=0,  # Ctrl-C is for this process alone, which then says what is to be done
        )

    def _write(self, message: dict[str, Any]) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """Wait until all is mirrored, but no longer than ``patience``."""
        if self.process is None or self.pid != os.getpid():  # a fork has it from its parent
            return
        try:
            self._write({"end": True})
            self._wait()
        except (OSError, KeyboardInterrupt, subprocess.TimeoutExpired) as error:
            self.process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                log.warning("MLflow does not hold all of it yet, the files are complete; make sync catches up")
        finally:
            self.process.communicate()
            self.process = None
            atexit.unregister(self.close)

    def _wait(self) -> None:
        assert self.process is not None
        if sys.stderr.isatty() and self.patience > SHORT_PATIENCE:
            try:
                self.process.wait(SHORT_PATIENCE)
            except subprocess.TimeoutExpired:
                print("waiting for MLflow; Ctrl-C leaves the rest to make sync", file=sys.stderr)
        self.process.wait(self.patience)
