"""CS, continuous sparsification: w sigmoid(beta s) / sigmoid(s0), beta growing until the mask is hard (Savarese et al. 2020).

One s per weight; the loss gets penalty * sum sigmoid(beta s). After step i of n, beta = final_beta^(i / n). Weight decay acts
on w once and not on s, as the authors have it; the published code decays w twice and s too (``double_weight_decay``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from bimp_exp.errors import ConfigError
from bimp_exp.method import _parametrize
from bimp_exp.method.base import Method, Prunes, Setting
from bimp_exp.types import Finite, NonNegative, Positive

if TYPE_CHECKING:
    from torch.optim import Optimizer

LOWEST = -80  # e^80 is a number in fp32


class Gate(nn.Module):
    """The effective weight of one layer; ``s`` has the weight's shape, ``beta`` is that of all layers."""

    beta: Tensor

    def __init__(self, weight: Tensor, initial: float, beta: Tensor) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.full_like(weight, initial))
        self.register_buffer("beta", beta)
        self.scale = 1 / torch.tensor(initial, dtype=torch.float64).sigmoid().item()

    def forward(self, weight: Tensor) -> Tensor:
        """w sigmoid(beta s) / sigmoid(s0)."""
        return self.scale * weight * (self.beta * self.s).sigmoid()


@dataclass(kw_only=True)
class CS(Method):
    """``initial``: s0, which decides the sparsity; ``final_beta``: beta in the end; ``strength``: of the penalty.

    ``final``: what the weights with s > 0 become, w sigmoid(final_beta s) / sigmoid(s0), which is the network that was
    ``trained``, or the authors' ``ticket`` w / sigmoid(s0).
    """

    prunes: ClassVar[Prunes] = "while training"
    selects: ClassVar[bool] = False
    has_target: ClassVar[bool] = False

    initial: Finite
    final_beta: Positive
    strength: NonNegative
    final: Literal["trained", "ticket"]
    double_weight_decay: bool
    gates: dict[str, Gate] = field(init=False, repr=False)
    beta: Tensor = field(init=False, repr=False)

    def check(self, setting: Setting) -> None:
        """See Method."""
        if self.initial < LOWEST:
            raise ConfigError(f"method.initial={self.initial:g} must be at least {LOWEST}: 1 / sigmoid(s0) is a factor")

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        first = next(iter(setting.weights.values()))
        self.beta = torch.ones((), dtype=first.dtype, device=first.device)
        make = lambda weight: Gate(weight, self.initial, self.beta)  # noqa: E731
        self.gates = _parametrize.attach(setting.model, setting.weights, make)

    def undecayed(self) -> list[nn.Parameter]:
        """The s of every weight, unless as in the published code."""
        return [] if self.double_weight_decay else [gate.s for gate in self.gates.values()]

    def penalty(self) -> Tensor:
        """strength * sum sigmoid(beta s)."""
        every = _parametrize.in_memory_order([gate.s for gate in self.gates.values()])
        total = self.strength * (self.beta * every).sigmoid().sum()
        return total + _parametrize.second_decay(self.setting) if self.double_weight_decay else total

    def on_step(self, step: int, optimizer: Optimizer) -> None:
        """beta for the next step."""
        self.beta.fill_(self.final_beta ** ((step + 1) / self.setting.num_steps))

    def detach(self) -> None:
        """Keep the weights with s > 0, at the values that ``final`` says."""
        weights = self.setting.weights
        kept = {name: gate.s.detach() > 0 for name, gate in self.gates.items()}
        tickets = {name: weights[name].detach() * gate.scale for name, gate in self.gates.items()}
        _parametrize.detach(self.setting.model, weights)
        with torch.no_grad():
            for name, weight in weights.items():
                if self.final == "ticket":
                    weight.copy_(tickets[name])
                weight.mul_(kept[name])
