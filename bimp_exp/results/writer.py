"""The files that a run leaves; they are the truth, and MLflow is their mirror.

config.yaml and run.json when it starts, metrics.jsonl while it trains, model.pt, plots and some predictions at its end, and then
result.json: where it exists, everything else is complete. failed.json instead where the run failed.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from bimp_exp import files
from bimp_exp.config.neutral import is_neutral, leaves
from bimp_exp.errors import BusyError, DataError, UserError
from bimp_exp.lease import Lease
from bimp_exp.results.schema import Result

if TYPE_CHECKING:
    from torch import Tensor


class Tracking(Protocol):
    """A mirror of what is on disk: one option of ``conf/tracking/``. No call ever raises, or waits."""

    def sync(self, run_dir: Path) -> None:
        """Mirror one run."""
        ...

    def sync_sweep(self, sweep_dir: Path, *, over: bool) -> None:
        """Mirror the files of a whole sweep. over: no run of it will start any more."""
        ...

    def shorten_exit_wait(self) -> None:
        """This process was asked to end: what is not mirrored soon is left to another."""
        ...

    def close(self) -> None:
        """Wait until all is mirrored, or give up; what is told later is mirrored too."""
        ...


@contextmanager
def claim(folder: Path, config: Mapping[str, Any]) -> Iterator[None]:
    """Hold ``folder`` for the run that ``config`` describes, be it new there, broken off or finished.

    An interrupted run may go on with other values of neutral keys: config.yaml is then rewritten, so that it says what is true
    now. UserError where the folder holds a run of another configuration (the first key that differs is named), BusyError where
    another process holds it.
    """
    path = folder / "lease"
    try:
        lease = Lease.take(path)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from None
    if lease is None:
        raise BusyError(f"another process is at the run in {folder}: wait for it, or give another folder", lease=path)
    with lease:
        path, finished = folder / "config.yaml", (folder / "result.json").exists()
        before = read_config(path)
        if before is not None:
            _check_same(folder, before, config, finished=finished)
        if before is None or (before != config and not finished):
            files.write(path, yaml.safe_dump(dict(config), sort_keys=False).encode())
        yield


def read_config(path: Path) -> dict[str, Any] | None:
    """The configuration in a config.yaml; None where there is no such file."""
    try:
        found = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return None
    except (yaml.YAMLError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{path}: not the configuration of a run; delete the folder, or give another one")
    return found


def _check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], *, finished: bool) -> None:
    """UserError that names the first key that differs and matters.

    Of a finished run ``dataset.root`` matters, too: its numbers are those of the data there, and no data are read any more.
    """
    theirs, ours = dict(leaves(before)), dict(leaves(now))
    for key in [*theirs, *ours]:
        matters = not is_neutral(key) or (finished and key in ("dataset.root", "dataset.file"))
        if matters and (key in theirs, theirs.get(key)) != (key in ours, ours.get(key)):
            raise UserError(
                f"{folder} holds a run of another configuration: {key} is {theirs.get(key, 'absent')} there and "
                f"{ours.get(key, 'absent')} now; give hydra.run.dir (hydra.sweep.dir) another folder"
            )


@dataclass(frozen=True, kw_only=True)
class RunWriter:
    """Writes the files of a run into ``folder`` and has them mirrored by ``tracking``."""

    folder: Path
    tracking: Tracking

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Write run.json: ``facts``, when the run was first started and how often it was since."""
        path = self.folder / "run.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        started = before.get("started", datetime.now(UTC).isoformat(timespec="seconds"))
        files.write_json(path, {**facts, "started": started, "starts": before.get("starts", 0) + 1})
        (self.folder / "failed.json").unlink(missing_ok=True)

    def undo_start(self) -> None:
        """Take back that ``begin`` counted a start, since nothing was done."""
        path = self.folder / "run.json"
        facts = json.loads(path.read_text())
        files.write_json(path, facts | {"starts": facts["starts"] - 1})

    def restart(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Make ``points`` all of metrics.jsonl: what an earlier attempt wrote after its checkpoint will be written again."""
        files.write(self.folder / "metrics.jsonl", "".join(files.line(dict(point)) for point in points).encode())
        self.sync()

    def append(self, point: Mapping[str, Any]) -> None:
        """Write one more line of metrics.jsonl."""
        files.append_line(self.folder / "metrics.jsonl", dict(point))

    def sync(self) -> None:
        """Bring the mirror up to date."""
        self.tracking.sync(self.folder)

    def save(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Write the network as a plain state_dict on the CPU, and return what a reader of the file gets."""
        import torch

        buffer = io.BytesIO()
        torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, buffer)
        files.write(self.folder / "model.pt", buffer.getvalue())
        read: dict[str, Tensor] = torch.load(self.folder / "model.pt", weights_only=True)
        return read

    def attach(self, name: str, content: bytes) -> None:
        """Write one more file of the run."""
        files.write(self.folder / name, content)

    def finish(self, result: Result) -> None:
        """Write result.json; every other file is written before it."""
        files.write_json(self.folder / "result.json", result.to_json())
        self.sync()

    def fail(self, error: BaseException) -> None:
        """Write failed.json: in one line why there is no result."""
        files.write_json(self.folder / "failed.json", failure(error))
        self.sync()
        if not isinstance(error, Exception):
            self.tracking.shorten_exit_wait()


def failure(error: BaseException) -> dict[str, str | None]:
    """The content of failed.json: kind of error, reason in one line, and the SLURM job in which it happened, if any."""
    interrupted = isinstance(error, KeyboardInterrupt)
    reason = "interrupted" if interrupted else " ".join(str(error).split()) or type(error).__name__
    return {"kind": type(error).__name__, "error": reason, "job": os.environ.get("SLURM_JOB_ID")}
