"""Effective weights as one function of all stored weights and of parameters of the method's own, for STR, CS and DST.

Network and function are differentiated one after the other: the gradient of the effective weights is collected, then taken
through the function, for all layers at once. Layer by layer it would be two or three times the kernels of dense training.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bimp_exp.method import _parametrize
from bimp_exp.method.base import Method, Setting
from bimp_exp.selector._vector import in_memory_order, join, part

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Layer(nn.Module):
    """A layer's ``own`` parameter, and its effective weight as it was when ``renew`` was last called."""

    effective: Tensor

    def __init__(self, weight: Tensor, own: Tensor) -> None:
        super().__init__()
        self.own = nn.Parameter(own)
        self.register_buffer("effective", weight.clone().requires_grad_())

    def forward(self, weight: Tensor) -> Tensor:
        """The effective weight."""
        return self.effective


@dataclass(kw_only=True)
class Joint(Method):
    """What STR, CS and DST have in common."""

    layers: dict[str, Layer] = field(init=False, repr=False)

    def first(self, weight: Tensor) -> Tensor:
        """What the own parameter of the layer with ``weight`` starts as."""
        raise NotImplementedError

    def function(self, weights: Tensor, own: Tensor) -> Tensor:
        """The effective weights [N] of the stored ones [N] and all own parameters [M], layer after layer, each in C order."""
        raise NotImplementedError

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        make = lambda weight: Layer(weight, self.first(weight))  # noqa: E731
        self.layers = _parametrize.attach(setting.model, setting.weights, make)

    @property
    def weights(self) -> list[Tensor]:
        """The stored ones."""
        return list(self.setting.weights.values())

    @property
    def own(self) -> list[Tensor]:
        """The parameters of the method's own, a layer each."""
        return [layer.own for layer in self.layers.values()]

    @torch.no_grad()
    def renew(self) -> None:
        """Compute with the weights and parameters as they are now."""
        made = part(self.function(join(self.weights), join(self.own)), self.weights)
        torch._foreach_copy_([layer.effective for layer in self.layers.values()], made)

    def second_decay(self) -> Tensor:
        """weight_decay / 2 * ||W||^2: in the published code CS and DST add it to the loss, and SGD decays W as well."""
        return 0.5 * self.setting.weight_decay * in_memory_order(self.weights).square().sum()

    def on_gradients(self, step: int, optimizer: Optimizer) -> None:
        """Take the gradient of the effective weights through the function."""
        effective = [layer.effective for layer in self.layers.values()]
        found = [torch.zeros_like(e) if e.grad is None else e.grad for e in effective]
        with torch.no_grad():
            inputs = [join(self.weights).requires_grad_(), join(self.own).requires_grad_()]
        gradients = torch.autograd.grad(self.function(*inputs), inputs, join(found))
        for tensors, gradient in zip((self.weights, self.own), gradients, strict=True):
            _accumulate(tensors, part(gradient, tensors))
        for e in effective:
            e.grad = None

    def on_step(self, step: int, optimizer: Optimizer) -> None:
        """See Method."""
        self.renew()

    def detach(self) -> None:
        """The effective weights become the weights."""
        _parametrize.detach(self.setting.model, self.setting.weights)


def _accumulate(tensors: list[Tensor], gradients: list[Tensor]) -> None:
    """Add to the gradients that the penalty has given, if any."""
    given = [
        (tensor.grad, gradient) for tensor, gradient in zip(tensors, gradients, strict=True) if tensor.grad is not None
    ]
    if given:
        torch._foreach_add_([there for there, _ in given], [more for _, more in given])
    for tensor, gradient in zip(tensors, gradients, strict=True):
        if tensor.grad is None:
            tensor.grad = gradient
