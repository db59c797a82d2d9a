"""Effective weights: what the network computes with, made from what the optimiser holds (torch.nn.utils.parametrize)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bimp_exp.method.base import MethodContext
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


def attach(context: MethodContext, make: Callable[[Tensor], nn.Module]) -> None:
    """Put ``make(weight)`` between each prunable weight and its use, and into ``context.modules``."""
    context.modules.update({name: make(weight.detach()) for name, weight in context.weights.items()})
    for name, module in context.modules.items():
        owner, _, attribute = name.rpartition(".")
        parametrize.register_parametrization(context.model.get_submodule(owner), attribute, module)


def detach(context: MethodContext) -> None:
    """Make each weight its effective value, and the model a plain one again."""
    for name in context.modules:
        owner, _, attribute = name.rpartition(".")
        parametrize.remove_parametrizations(context.model.get_submodule(owner), attribute, leave_parametrized=True)
    context.modules.clear()


def mask_modules(context: MethodContext) -> dict[str, Masked]:
    """What ``attach(context, Masked)`` has put into the model, by weight name."""
    return cast("dict[str, Masked]", context.modules)


def multiply(context: MethodContext, masks: Masks | None = None) -> None:
    """Compute with the present weights, under ``masks`` or the present ones; for all layers at once, or a GPU waits for each."""
    modules = mask_modules(context)
    with torch.no_grad():
        if masks is not None:
            torch._foreach_copy_([module.mask for module in modules.values()], [masks[name] for name in modules])
        effective = [module.effective for module in modules.values()]
        torch._foreach_copy_(effective, [context.weights[name] for name in modules])
        torch._foreach_mul_(effective, [module.mask for module in modules.values()])
