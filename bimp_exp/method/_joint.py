"""Effective weights as one function of all stored weights and of parameters of the method's own, for STR, CS and DST.

Network and function are differentiated one after the other: the gradient of the effective weights is collected, then taken
through the function, for all layers at once. Layer by layer it would be two or three times the kernels of dense training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor, nn

from bimp_exp.method import _parametrize
from bimp_exp.method.base import Method, MethodContext, Prunes
from bimp_exp.selector._vector import in_memory_order, join, part

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Layer(nn.Module):
    """The auxiliary parameter of a layer, and its effective weight as of the last ``update_effective``."""

    effective: Tensor

    def __init__(self, weight: Tensor, auxiliary: Tensor) -> None:
        super().__init__()
        self.own = nn.Parameter(auxiliary)  # the name stands in stored checkpoints
        self.register_buffer("effective", weight.clone().requires_grad_())

    def forward(self, weight: Tensor) -> Tensor:
        """The effective weight."""
        return self.effective


@dataclass(frozen=True, kw_only=True)
class Joint(Method):
    """Base of STR, CS and DST."""

    prunes: ClassVar[Prunes] = "while training"
    selects: ClassVar[bool] = False
    has_target: ClassVar[bool] = False

    def initial_value(self, weight: Tensor) -> Tensor:
        """Of the auxiliary parameter of the layer with ``weight``."""
        raise NotImplementedError

    def effective_weights(self, context: MethodContext, weights: Tensor, auxiliary: Tensor) -> Tensor:
        """[N], as a differentiable function of the stored weights [N] and all auxiliary parameters [M].

        Both are vectors, layer after layer, each layer in C order.
        """
        raise NotImplementedError

    def attach(self, context: MethodContext) -> None:
        """Compute with the effective weights from now on."""
        _parametrize.attach(context, lambda weight: Layer(weight, self.initial_value(weight)))
        self.update_effective(context)

    @torch.no_grad()
    def update_effective(self, context: MethodContext) -> None:
        """Compute with the weights and parameters as they are now."""
        weights, auxiliary = stored_weights(context), auxiliary_parameters(context)
        new = part(self.effective_weights(context, join(weights), join(auxiliary)), weights)
        torch._foreach_copy_([layer.effective for layer in _layers(context)], new)

    def on_gradients(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """Take the gradient of the effective weights through the function."""
        effective = [layer.effective for layer in _layers(context)]
        weights, auxiliary = stored_weights(context), auxiliary_parameters(context)
        collected = [torch.zeros_like(e) if e.grad is None else e.grad for e in effective]
        with torch.no_grad():
            inputs = [join(weights).requires_grad_(), join(auxiliary).requires_grad_()]
        gradients = torch.autograd.grad(self.effective_weights(context, *inputs), inputs, join(collected))
        for parameters, gradient in zip((weights, auxiliary), gradients, strict=True):
            _accumulate(parameters, part(gradient, parameters))
        for e in effective:
            e.grad = None

    def on_step(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """Compute with the new weights."""
        self.update_effective(context)

    def detach(self, context: MethodContext) -> None:
        """The effective weights become the weights."""
        _parametrize.detach(context)


def stored_weights(context: MethodContext) -> list[nn.Parameter]:
    """As the optimiser holds them, one for each layer."""
    return list(context.weights.values())


def auxiliary_parameters(context: MethodContext) -> list[nn.Parameter]:
    """Those of the method's own, one for each layer."""
    return [layer.own for layer in _layers(context)]


def second_decay(context: MethodContext) -> Tensor:
    """weight_decay / 2 * ||W||^2: in the published code CS and DST add it to the loss, and SGD decays W as well."""
    return 0.5 * context.weight_decay * in_memory_order(stored_weights(context)).square().sum()


def _layers(context: MethodContext) -> list[Layer]:
    return [cast("Layer", module) for module in context.modules.values()]


def _accumulate(parameters: list[nn.Parameter], gradients: list[Tensor]) -> None:
    """Add to the gradients that the penalty has given, if any."""
    given = [(p.grad, gradient) for p, gradient in zip(parameters, gradients, strict=True) if p.grad is not None]
    if given:
        torch._foreach_add_([there for there, _ in given], [more for _, more in given])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if parameter.grad is None:
            parameter.grad = gradient
