"""Reading a user's trained network: a plain state_dict, as every run leaves in model.pt."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor, nn

from bimp_exp.model import weights


def load(path: str, model: nn.Module, *, origin: str | None = None) -> str:
    """Copy the state_dict in ``path`` into ``model``; the SHA-256 of the file. As ``check``, where it does not fit."""
    model.load_state_dict(check(path, model, origin=origin))
    return digest(path)


def check(path: str, model: nn.Module, *, origin: str | None = None) -> dict[str, Tensor]:
    """The state_dict in ``path``; DataError where it does not fit ``model``, whose tensors may have no values.

    origin: what an error calls the file; None: the config key.
    """
    key = origin or f"dense_checkpoint={path}"
    return weights.check(weights.read(path, key), model, key)


def digest(path: str) -> str:
    """The SHA-256 of the file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
