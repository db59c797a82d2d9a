"""Reading a user's trained network: a plain state_dict, as every run leaves in model.pt."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import nn

from bimp_exp.errors import DataError


def load(path: str, model: nn.Module) -> None:
    """Copy the state_dict in ``path`` into ``model``; DataError, and ``model`` as it was, where it does not fit."""
    key = f"dense_checkpoint={path}"
    if not Path(path).is_file():
        raise DataError(f"{key}: there is no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError, ValueError, KeyError):
        raise DataError(f"{key}: not a file that torch.save wrote, or a damaged one") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"{key}: not a state_dict, a mapping of names to tensors")
    wanted = model.state_dict()
    for name in sorted(wanted.keys() | state.keys()):
        theirs, ours = (tuple(s[name].shape) if name in s else "absent" for s in (state, wanted))
        if theirs != ours:
            raise DataError(f"{key}: not a checkpoint of this model: {name} is {theirs} there, {ours} in the model")
    model.load_state_dict(state)
