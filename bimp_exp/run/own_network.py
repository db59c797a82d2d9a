"""A network of the user's own: that it can be made and takes the data's inputs is checked before anything else is done."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from bimp_exp.errors import ConfigError, UserError
from bimp_exp.paths import PACKAGE
from bimp_exp.task.base import Task
from bimp_exp.task.classification import Classification

NUM = 2  # items of an example: batch-norm needs more than one
HINT = "HYDRA_FULL_ERROR=1 shows where"


def without_values(make: Callable[[], nn.Module]) -> nn.Module:
    """The network that ``make`` makes, its tensors without values unless it needs them; ConfigError where it cannot be made."""
    try:
        with torch.device("meta"):
            return make()
    except UserError:
        raise
    except Exception:  # such as torch.linspace(...).tolist(), which nothing is wrong with
        made: nn.Module = _explained(make, "model: cannot be made")
        return made


def check(model: nn.Module, task: Task, make: Callable[[], nn.Module]) -> nn.Module:
    """ConfigError unless the network takes inputs of ``task``, and for classification gives the logits that it needs.

    The network with which that was found out: ``model``, which ``without_values`` gave, or one of ``make``, with values.
    """
    if type(model).__module__.partition(".")[0] == PACKAGE.name:
        return model  # the tests check ours
    try:
        outputs = forward(model, task, NUM)
    except Exception:  # such as a comparison of values
        model = make()
        outputs = _explained(
            partial(forward, model, task, NUM), f"model: {type(model).__name__} does not take this dataset's inputs"
        )
    if isinstance(task, Classification):
        found = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        if found != (NUM, task.num_classes):
            raise ConfigError(
                f"model: {type(model).__name__} gives {found} for {NUM} images of {task.num_classes} classes; it must give logits, "
                f"{(NUM, task.num_classes)}"
            )
    return model


def forward(model: nn.Module, task: Task, num: int) -> Any:
    """The outputs for an example of ``num`` items, with or without values; the generators stay as they are."""
    like = next(model.parameters(), torch.zeros(()))
    with torch.no_grad(), torch.random.fork_rng(devices=()), like.device:  # where it makes tensors of its own, too
        return model(task.example(num, like=like))


def _explained(compute: Callable[[], Any], what: str) -> Any:
    try:
        return compute()
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ConfigError(f"{what} ({type(error).__name__}: {reason}; {HINT})") from error
