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
    """Put ``make(weight)`` between each prunable weight and all its uses, and into ``context.modules``."""
    context.modules.update({name: make(weight.detach()) for name, weight in context.weights.items()})
    for name, weight in context.weights.items():
        for owner, attribute in _places(context.model, weight):
            parametrize.register_parametrization(owner, attribute, context.modules[name])


def detach(context: MethodContext) -> None:
    """Make each weight its effective value, and the model a plain one again."""
    for owner in list(context.model.modules()):
        if parametrize.is_parametrized(owner):
            for attribute, functions in list(owner.parametrizations.items()):  # type: ignore[union-attr, operator]
                if any(function is module for function in functions for module in context.modules.values()):
                    parametrize.remove_parametrizations(owner, attribute, leave_parametrized=True)
    context.modules.clear()


def _places(model: nn.Module, weight: nn.Parameter) -> list[tuple[nn.Module, str]]:
    """The modules that hold ``weight``, and the name of the attribute."""
    named = ((module, name, p) for module in model.modules() for name, p in module.named_parameters(recurse=False))
    return [(module, name) for module, name, p in named if p is weight]


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
