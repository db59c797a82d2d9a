"""Effective weights: what the network computes with, made from what the optimiser holds (torch.nn.utils.parametrize)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bimp_exp.selector.base import Masks


class Masked(nn.Module):
    """w * mask, as it was when ``multiply`` was last called; the gradient of the effective weight reaches every entry unchanged."""

    mask: Tensor
    effective: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight))
        self.register_buffer("effective", weight.clone())

    def forward(self, weight: Tensor) -> Tensor:
        """The effective weight."""
        effective: Tensor = _Instead.apply(weight, self.effective)
        return effective


class _Instead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, effective: Tensor) -> Tensor:
        return effective.view_as(effective)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


M = TypeVar("M", bound=nn.Module)


def attach(model: nn.Module, weights: Mapping[str, nn.Parameter], make: Callable[[Tensor], M]) -> dict[str, M]:
    """Put ``make(weight)`` before the use of each of ``weights``; the modules made, by the weight's name."""
    made = {name: make(weight.detach()) for name, weight in weights.items()}
    for name, module in made.items():
        owner, _, attribute = name.rpartition(".")
        parametrize.register_parametrization(model.get_submodule(owner), attribute, module)
    return made


def detach(model: nn.Module, weights: Mapping[str, nn.Parameter]) -> None:
    """Make each of ``weights`` its effective value, and the model a plain one again."""
    for name in weights:
        owner, _, attribute = name.rpartition(".")
        parametrize.remove_parametrizations(model.get_submodule(owner), attribute, leave_parametrized=True)


def multiply(modules: Mapping[str, Masked], weights: Mapping[str, nn.Parameter], masks: Masks | None = None) -> None:
    """Compute with these weights, under ``masks`` or those that there are: for all layers at once, or a GPU waits for each."""
    with torch.no_grad():
        if masks is not None:
            torch._foreach_copy_([module.mask for module in modules.values()], [masks[name] for name in modules])
        effective = [module.effective for module in modules.values()]
        torch._foreach_copy_(effective, [weights[name] for name in modules])
        torch._foreach_mul_(effective, [module.mask for module in modules.values()])
