"""CS, continuous sparsification: w sigmoid(beta s) / sigmoid(s0), beta growing until the mask is hard (Savarese et al. 2020).

One s per weight; the loss gets penalty * sum sigmoid(beta s). After step i of n, beta = final_beta^(i / n). Weight decay acts
on w once and not on s, as the authors have it; the published code decays w twice and s too (``double_weight_decay``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from bimp_exp.errors import ConfigError
from bimp_exp.method._joint import Joint, auxiliary_parameters, second_decay, stored_weights
from bimp_exp.method.base import MethodContext
from bimp_exp.selector._vector import in_memory_order
from bimp_exp.types import Finite, NonNegative, Positive

if TYPE_CHECKING:
    from torch.optim import Optimizer

LOWEST = -80  # e^80 is a number in fp32
BETA = "beta"  # in context.state


@dataclass(frozen=True, kw_only=True)
class CS(Joint):
    """``initial``: s0, which decides the sparsity; ``final_beta``: beta in the end; ``strength``: of the penalty.

    ``final``: what the weights with s > 0 become, w sigmoid(final_beta s) / sigmoid(s0), which is the network that was
    ``trained``, or the authors' ``ticket`` w / sigmoid(s0).
    """

    initial: Finite
    final_beta: Positive
    strength: NonNegative
    final: Literal["trained", "ticket"]
    double_weight_decay: bool

    def check(self, context: MethodContext) -> None:
        """1 / sigmoid(s0) has to be a number."""
        if self.initial < LOWEST:
            raise ConfigError(f"method.initial={self.initial:g} must be at least {LOWEST}: 1 / sigmoid(s0) is a factor")

    def attach(self, context: MethodContext) -> None:
        """beta is 1 in the first step."""
        context.state[BETA] = stored_weights(context)[0].new_ones(())
        super().attach(context)

    def initial_value(self, weight: Tensor) -> Tensor:
        """s, of the weight's shape."""
        return torch.full_like(weight, self.initial)

    @property
    def scale(self) -> float:
        """1 / sigmoid(s0)."""
        return 1 / torch.tensor(self.initial, dtype=torch.float64).sigmoid().item()

    def effective_weights(self, context: MethodContext, weights: Tensor, auxiliary: Tensor) -> Tensor:
        """w sigmoid(beta s) / sigmoid(s0)."""
        return self.scale * weights * (context.state[BETA] * auxiliary).sigmoid()

    def parameters_without_weight_decay(self, context: MethodContext) -> list[nn.Parameter]:
        """The s of every weight, unless as in the published code."""
        return [] if self.double_weight_decay else auxiliary_parameters(context)

    def penalty(self, context: MethodContext) -> Tensor:
        """strength * sum sigmoid(beta s)."""
        masks = (context.state[BETA] * in_memory_order(auxiliary_parameters(context))).sigmoid()
        total = self.strength * masks.sum()
        return total + second_decay(context) if self.double_weight_decay else total

    def on_step(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """beta for the next step."""
        context.state[BETA].fill_(self.final_beta ** ((step + 1) / context.num_steps))
        super().on_step(context, step, optimizer)

    def detach(self, context: MethodContext) -> None:
        """Keep the weights with s > 0, at the values that ``final`` says."""
        weights = stored_weights(context)
        kept = [s.detach() > 0 for s in auxiliary_parameters(context)]
        tickets = [weight.detach() * self.scale for weight in weights]
        super().detach(context)
        with torch.no_grad():
            for weight, ticket, keep in zip(weights, tickets, kept, strict=True):
                if self.final == "ticket":
                    weight.copy_(ticket)
                weight.mul_(keep)
