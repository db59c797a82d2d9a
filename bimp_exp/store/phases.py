"""Results of phases, each under the hash of all that determines it, and checkpoints of those under way.

ROOT/KEY/done.pt is the state after a phase; partial.pt and partial.previous.pt are states inside it, newest first; lease says
that a process is computing it. Each file has one line of JSON, with the SHA-256 of what follows, and then what torch.save
wrote. It is written under another name, synced and renamed, so it is whole or not there, whenever the power goes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimp_exp import files
from bimp_exp.errors import ConfigError, DataError, UserError
from bimp_exp.lease import Lease
from bimp_exp.types import NonNegative

log = logging.getLogger(__name__)
State = dict[str, Any]  # tensors, numbers, text, lists and dicts of them


@dataclass(frozen=True, kw_only=True)
class Store:
    """One option of ``conf/store/``. ``root`` None keeps everything in the run's own folder, so that nothing is shared.

    ``every``: seconds of training between two checkpoints.
    """

    root: str | None
    every: NonNegative

    def check(self) -> None:
        """Raise ConfigError where ``root`` cannot be written; makes nothing."""
        if self.root:
            root = Path(self.root).absolute()
            there = next(folder for folder in (root, *root.parents) if folder.exists())
            if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
                raise ConfigError(f"store.root={self.root}: cannot write there; give another folder, or store=own")

    def open(self, run_dir: Path) -> Phases:
        """For a run in ``run_dir``."""
        return Phases(root=Path(self.root).absolute() if self.root else run_dir / "phases", every=self.every)


@dataclass(frozen=True, kw_only=True)
class Phases:
    """The folder in which phases lie; what cannot be written costs a warning, not the run."""

    root: Path
    every: float

    def load(self, key: str) -> State | None:
        """The state after phase ``key``, or None; a damaged file counts as none."""
        state = _read(self.root / key / "done.pt", key)
        if state is not None:
            self._tidy(key)  # who wrote it may have been killed right after
        return state

    def load_partial(self, key: str) -> State | None:
        """The newest whole state inside phase ``key``, or None."""
        for name in ("partial.pt", "partial.previous.pt"):
            state = _read(self.root / key / name, key)
            if state is not None:
                return state
        return None

    def save(self, key: str, about: Mapping[str, Any], state: State) -> None:
        """Phase ``key`` is over. about: what ``header`` shall say of it beside its key: name, recipe, epochs, seconds."""
        if _write(self.root / key / "done.pt", key, about, state):
            self._tidy(key)

    def _tidy(self, key: str) -> None:
        """Remove what a phase that is over does not need: states inside it, writes that were cut off, a dead one's lease."""
        folder = self.root / key
        with contextlib.suppress(OSError):
            for path in (*folder.glob("partial*.pt"), *folder.glob(".*.tmp")):
                path.unlink(missing_ok=True)
            if (folder / "lease").exists() and (lease := Lease.take(folder / "lease")):
                lease.release()

    def save_partial(self, key: str, about: Mapping[str, Any], state: State) -> None:
        """Phase ``key`` is under way; the checkpoint before this one is kept, in case this one should be damaged."""
        newest = self.root / key / "partial.pt"
        with contextlib.suppress(OSError):
            newest.replace(newest.with_name("partial.previous.pt"))
        _write(newest, key, about, state)

    def lease(self, key: str) -> Lease | None:
        """The right to compute phase ``key``, or None where a living process has it; UserError where nothing can be written."""
        try:
            return Lease.take(self.root / key / "lease")
        except OSError as error:
            raise UserError(f"cannot write {self.root}: {error.strerror}; give store.root another folder") from None


def header(path: Path) -> dict[str, Any]:
    """The first line of a file of the store: key, name, size, sha256 and more; DataError where it is none.

    recipe: the key without the facts that are known only where a run starts. kind: see ``numerics.kind``. epochs and seconds:
    of a phase that is over.
    """
    try:
        with open(path, "rb") as file:
            return _header(path, file.readline(10_000))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def _header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        about = json.loads(line)
    except ValueError:
        raise DataError(f"{path}: not a checkpoint of bimp-exp") from None
    if not isinstance(about, dict) or not {"key", "name", "size", "sha256"} <= about.keys():
        raise DataError(f"{path}: not a checkpoint of bimp-exp")
    return about


def content(path: Path, key: str) -> bytes:
    """Bytes of torch.save in ``path``; DataError where it is damaged, or of another phase than ``key``, which is then named."""
    try:
        line, _, found = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    about = _header(path, line)
    if about["key"] != key:
        raise DataError(f"{path}: of another configuration ({about['name']}, {about['key'][:12]})")
    if len(found) != about["size"] or hashlib.sha256(found).hexdigest() != about["sha256"]:
        raise DataError(f"{path}: damaged, {len(found)} of {about['size']} bytes")
    return found


def read(path: Path, key: str) -> State:
    """The state in ``path``; DataError as of ``content``, and where this PyTorch cannot read it."""
    import torch

    try:
        state: State = torch.load(io.BytesIO(content(path, key)), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise DataError(f"{path}: cannot be read by this PyTorch ({str(error).splitlines()[0]})") from None
    return state


def _read(path: Path, key: str) -> State | None:
    if not path.exists():
        return None
    try:
        return read(path, key)
    except DataError as error:
        log.warning("not used: %s", error)
        return None


def _write(path: Path, key: str, about: Mapping[str, Any], state: State) -> bool:
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    saved = buffer.getvalue()
    first = {"key": key, **about, "size": len(saved), "sha256": hashlib.sha256(saved).hexdigest()}
    try:
        files.write(path, json.dumps(first).encode() + b"\n" + saved)
    except UserError as error:
        log.warning("no checkpoint: %s; the run goes on, but cannot continue from here", error)
        return False
    return True
