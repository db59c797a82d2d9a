"""CS, continuous sparsification: w sigmoid(beta s) / sigmoid(s0), beta growing until the mask is hard (Savarese et al. 2020).

One s per weight; the loss gets penalty * sum sigmoid(beta s). After step i of n, beta = final_beta^(i / n). Weight decay acts
on w once and not on s, as the authors have it; the published code decays w twice and s too (``double_weight_decay``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from bimp_exp.errors import ConfigError
from bimp_exp.method._joint import Joint
from bimp_exp.method.base import Prunes, Setting
from bimp_exp.selector._vector import in_memory_order
from bimp_exp.types import Finite, NonNegative, Positive

if TYPE_CHECKING:
    from torch.optim import Optimizer

LOWEST = -80  # e^80 is a number in fp32
BETA = "beta"


@dataclass(kw_only=True)
class CS(Joint):
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

    def check(self, setting: Setting) -> None:
        """See Method."""
        if self.initial < LOWEST:
            raise ConfigError(f"method.initial={self.initial:g} must be at least {LOWEST}: 1 / sigmoid(s0) is a factor")

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        self.state[BETA] = self.weights[0].new_ones(())
        self.renew()

    def first(self, weight: Tensor) -> Tensor:
        """s, of the weight's shape."""
        return torch.full_like(weight, self.initial)

    @property
    def scale(self) -> float:
        """1 / sigmoid(s0)."""
        return 1 / torch.tensor(self.initial, dtype=torch.float64).sigmoid().item()

    def function(self, weights: Tensor, own: Tensor) -> Tensor:
        """w sigmoid(beta s) / sigmoid(s0)."""
        return self.scale * weights * (self.state[BETA] * own).sigmoid()

    def undecayed(self) -> list[nn.Parameter]:
        """The s of every weight, unless as in the published code."""
        return [] if self.double_weight_decay else [layer.own for layer in self.layers.values()]

    def penalty(self) -> Tensor:
        """strength * sum sigmoid(beta s)."""
        total = self.strength * (self.state[BETA] * in_memory_order(self.own)).sigmoid().sum()
        return total + self.second_decay() if self.double_weight_decay else total

    def on_step(self, step: int, optimizer: Optimizer) -> None:
        """beta for the next step."""
        self.state[BETA].fill_(self.final_beta ** ((step + 1) / self.setting.num_steps))
        super().on_step(step, optimizer)

    def detach(self) -> None:
        """Keep the weights with s > 0, at the values that ``final`` says."""
        kept = [own.detach() > 0 for own in self.own]
        tickets = [weight.detach() * self.scale for weight in self.weights]
        super().detach()
        with torch.no_grad():
            for weight, ticket, keep in zip(self.weights, tickets, kept, strict=True):
                if self.final == "ticket":
                    weight.copy_(ticket)
                weight.mul_(keep)
