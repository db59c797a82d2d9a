"""LC, learning-compression, in its authors' form: SGD on an augmented Lagrangian and top-k in turns (Carreira-Perpinan & Idelbayev
2018).

    L-step j   SGD on loss + mu_j / 2 * ||W - (Delta + lambda / mu_j)||^2,   mu_j = initial_mu * growth^j
    C-step     Delta = the k largest of W - lambda / mu_j, 0 elsewhere;   then lambda = lambda - mu_j (W - Delta)

It starts with Delta = the k largest of W and lambda = 0 (its authors start from a trained network: ``dense_checkpoint``). k is the
number of weights to survive, by ``selector``; the rate is that of ``lr``. In the end Delta becomes the weights. ``method=lc`` is
what the paper compares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from bimp_exp.errors import ConfigError
from bimp_exp.method.base import Method, MethodContext, Prunes
from bimp_exp.method.gradual import prune_to
from bimp_exp.types import Count, Positive

if TYPE_CHECKING:
    from torch.optim import Optimizer

COMPRESSED = "steps at the last C-step"  # in context.state, as "delta NAME" and "multiplier NAME" of each weight
LARGEST = 80  # |ln mu|


@dataclass(frozen=True, kw_only=True)
class LCLagrangian(Method):
    """An L-step takes ``epochs``, the first one ``first_epochs``; what is left at the end of training is the last one's."""

    prunes: ClassVar[Prunes] = "while training"

    initial_mu: Positive
    growth: Positive
    first_epochs: Count
    epochs: Count

    def check(self, context: MethodContext) -> None:
        """mu of the last L-step has to be a number in fp32, and so has 1 / mu."""
        num = self.l_step((context.num_steps - 1) // context.steps_per_epoch)
        size = math.log(self.initial_mu) + num * math.log(self.growth)
        if abs(size) > LARGEST:
            raise ConfigError(
                f"method.growth={self.growth:g} makes of method.initial_mu={self.initial_mu:g} about e^{size:.0f} in {num} "
                f"more L-steps: mu must stay between e^-{LARGEST} and e^{LARGEST}"
            )

    def attach(self, context: MethodContext) -> None:
        """lambda = 0 and Delta = the k largest of W."""
        for name, weight in context.weights.items():
            context.state[f"multiplier {name}"] = torch.zeros_like(weight)
        context.state[COMPRESSED] = torch.tensor(0)
        _project(context, 1.0)

    def l_step(self, epoch: int) -> int:
        """j of the L-step that ``epoch`` belongs to."""
        return max(0, 1 + (epoch - self.first_epochs) // self.epochs)

    def mu(self, context: MethodContext, step: int) -> float:
        """mu_j in ``step``."""
        return float(self.initial_mu * self.growth ** self.l_step(step // context.steps_per_epoch))

    def on_gradients(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """Add the gradient of the penalty, mu (W - Delta) - lambda."""
        weights = {name: weight for name, weight in context.weights.items() if weight.grad is not None}
        gradients = [weight.grad for weight in weights.values() if weight.grad is not None]
        delta, multipliers = ([context.state[f"{kind} {name}"] for name in weights] for kind in ("delta", "multiplier"))
        with torch.no_grad():
            gap: list[Tensor] = list(torch._foreach_sub(list(weights.values()), delta))
            torch._foreach_add_(gradients, gap, alpha=self.mu(context, step))
            torch._foreach_sub_(gradients, multipliers)

    def on_step(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """C-step after the last step of an L-step; not twice, because a second one would move lambda again."""
        done, size = step + 1, context.steps_per_epoch
        last = done == context.num_steps or self.l_step(done // size) > self.l_step(step // size)
        if last and context.state[COMPRESSED] != done:
            _compress(context, self.mu(context, step))
            context.state[COMPRESSED].fill_(done)

    def detach(self, context: MethodContext) -> None:
        """Delta becomes the weights."""
        with torch.no_grad():
            for name, weight in context.weights.items():
                weight.copy_(context.state[f"delta {name}"])


@torch.no_grad()
def _compress(context: MethodContext, mu: float) -> None:
    """The C-step at ``mu``."""
    _project(context, mu)
    for name, weight in context.weights.items():
        context.state[f"multiplier {name}"].sub_(weight - context.state[f"delta {name}"], alpha=mu)


@torch.no_grad()
def _project(context: MethodContext, mu: float) -> None:
    """Delta = the k largest of W - lambda / mu."""
    moved = {name: w - context.state[f"multiplier {name}"] / mu for name, w in context.weights.items()}
    masks = prune_to(context, context.num_pruned, scored=moved)
    context.state.update({f"delta {name}": moved[name] * masks[name] for name in moved})
