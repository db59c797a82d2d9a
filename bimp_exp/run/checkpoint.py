"""Reading a user's trained network: a plain state_dict, as every run leaves in model.pt."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from bimp_exp.errors import DataError


def load(path: str, model: nn.Module, *, origin: str | None = None) -> str:
    """Copy the state_dict in ``path`` into ``model``; the SHA-256 of the file. As ``check``, where it does not fit."""
    model.load_state_dict(check(path, model, origin=origin))
    return digest(path)


def check(path: str, model: nn.Module, *, origin: str | None = None) -> dict[str, Tensor]:
    """The state_dict in ``path``; DataError where it does not fit ``model``, whose tensors may have no values.

    origin: what an error calls the file; None: the config key.
    """
    key = origin or f"dense_checkpoint={path}"
    if not Path(path).is_file():
        raise DataError(f"{key}: there is no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever its reader comes across in a damaged file: IndexError and struct.error, too
        raise DataError(f"{key}: not a file that torch.save wrote, or a damaged one") from None
    if not isinstance(state, dict) or not all(isinstance(n, str) and isinstance(t, Tensor) for n, t in state.items()):
        raise DataError(f"{key}: not a state_dict, a mapping of names to tensors")
    wanted = model.state_dict()
    for name in sorted(wanted.keys() | state.keys()):
        theirs = _describe(state[name], state[name].device.type) if name in state else "absent"
        ours = _describe(wanted[name], "cpu") if name in wanted else "absent"
        if theirs != ours:
            raise DataError(f"{key}: not a checkpoint of this model: {name} is {theirs} there, {ours} in the model")
        if not state[name].isfinite().all():
            raise DataError(f"{key}: {name} holds numbers that are not finite")
    return state


def digest(path: str) -> str:
    """The SHA-256 of the file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _describe(tensor: Tensor, device: str) -> str:
    kind = "floating" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
    return f"{kind} {tuple(tensor.shape)} on {device}"
