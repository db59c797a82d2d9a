"""Trained weights from files of the user's: state_dicts that torch.save or safetensors wrote. Nothing is ever downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from bimp_exp.errors import DataError
from bimp_exp.extras import extra


def read(path: str | Path, key: str) -> dict[str, Tensor]:
    """The state_dict in ``path``, on the CPU; DataError that begins with ``key`` where it has none."""
    if not Path(path).is_file():
        raise DataError(f"{key}: there is no such file")
    if Path(path).suffix == ".safetensors":
        with extra("tasks", key):
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        try:
            return load_file(path)
        except (SafetensorError, OSError):
            raise DataError(f"{key}: not a file of safetensors, or a damaged one") from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever its reader comes across in a damaged file: IndexError and struct.error, too
        raise DataError(f"{key}: not a file that torch.save wrote, or a damaged one") from None
    if not isinstance(state, dict) or not all(isinstance(n, str) and isinstance(t, Tensor) for n, t in state.items()):
        raise DataError(f"{key}: not a state_dict, a mapping of names to tensors")
    return state


def check(
    state: dict[str, Tensor], model: nn.Module, key: str, *, left_over: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """``state``; DataError that begins with ``key`` where it does not fit ``model``, whose tensors may have no values.

    left_over: beginnings of names of the model's that ``state`` need not have.
    """
    wanted = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(left_over)}
    for name in sorted(wanted.keys() | state.keys()):
        theirs = _describe(state[name], state[name].device.type) if name in state else "absent"
        ours = _describe(wanted[name], "cpu") if name in wanted else "absent"
        if theirs != ours:
            raise DataError(f"{key}: not a checkpoint of this model: {name} is {theirs} there, {ours} in the model")
        if not state[name].isfinite().all():
            raise DataError(f"{key}: {name} holds numbers that are not finite")
    return state


def load(model: nn.Module, path: str, *, key: str, left_over: str = "", heads: Sequence[str] = ()) -> None:
    """Copy the state_dict in ``path`` into ``model``, but for the entries whose names begin with ``left_over``.

    DataError that begins with ``key`` and the path where it does not fit; a network without values is only compared.

    heads: modules that stay as they are where their tensors have another shape in the file: they are for other classes.
    """
    where = f"{key}={path}"
    skipped: tuple[str, ...] = (left_over,) if left_over else ()
    state, wanted = read(path, where), model.state_dict()
    for head in heads:
        shapes = [(state[n].shape, t.shape) for n, t in wanted.items() if n.startswith(f"{head}.") and n in state]
        if any(one != other for one, other in shapes):
            skipped += (f"{head}.",)
    state = {name: tensor for name, tensor in state.items() if not name.startswith(skipped)}
    check(state, model, where, left_over=skipped)
    if not any(parameter.is_meta for parameter in model.parameters()):
        model.load_state_dict(state, strict=False)  # all names were checked


def _describe(tensor: Tensor, device: str) -> str:
    kind = "floating" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
    return f"{kind} {tuple(tensor.shape)} on {device}"
