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
from bimp_exp.method._gradual import exact
from bimp_exp.method.base import Method, Prunes, Setting
from bimp_exp.types import Count, Positive

if TYPE_CHECKING:
    from torch.optim import Optimizer

COMPRESSED = "steps at the last C-step"
LARGEST = 80  # ln mu


@dataclass(kw_only=True)
class LCLagrangian(Method):
    """An L-step takes ``epochs``, the first one ``first_epochs``; what is left at the end of training is the last one's."""

    prunes: ClassVar[Prunes] = "while training"

    initial_mu: Positive
    growth: Positive
    first_epochs: Count
    epochs: Count

    def check(self, setting: Setting) -> None:
        """See Method; mu of the last L-step has to be a number in fp32, and so has 1 / mu."""
        num = self.l_step((setting.num_steps - 1) // setting.steps_per_epoch)
        size = math.log(self.initial_mu) + num * math.log(self.growth)
        if abs(size) > LARGEST:
            raise ConfigError(
                f"method.growth={self.growth:g} makes of method.initial_mu={self.initial_mu:g} about e^{size:.0f} in {num} "
                f"more L-steps: mu must stay between e^-{LARGEST} and e^{LARGEST}"
            )

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        for name, weight in setting.weights.items():
            self.state[f"multiplier {name}"] = torch.zeros_like(weight)
        self.state[COMPRESSED] = torch.tensor(0)
        self.project(1.0)

    def l_step(self, epoch: int) -> int:
        """j of the L-step that ``epoch`` belongs to."""
        return max(0, 1 + (epoch - self.first_epochs) // self.epochs)

    def mu(self, step: int) -> float:
        """mu_j in ``step``."""
        return float(self.initial_mu * self.growth ** self.l_step(step // self.setting.steps_per_epoch))

    def on_gradients(self, step: int, optimizer: Optimizer) -> None:
        """Add the gradient of the penalty, mu (W - Delta) - lambda."""
        weights = {name: weight for name, weight in self.setting.weights.items() if weight.grad is not None}
        gradients = [weight.grad for weight in weights.values() if weight.grad is not None]
        with torch.no_grad():
            gap: list[Tensor] = list(torch._foreach_sub(list(weights.values()), self.part("delta", weights)))
            torch._foreach_add_(gradients, gap, alpha=self.mu(step))
            torch._foreach_sub_(gradients, self.part("multiplier", weights))

    def part(self, kind: str, names: dict[str, torch.nn.Parameter]) -> list[Tensor]:
        """Delta or lambda of the weights ``names``."""
        return [self.state[f"{kind} {name}"] for name in names]

    def on_step(self, step: int, optimizer: Optimizer) -> None:
        """C-step after the last step of an L-step; not twice, because it would not come to the same."""
        done, size = step + 1, self.setting.steps_per_epoch
        last = done == self.setting.num_steps or self.l_step(done // size) > self.l_step(step // size)
        if last and self.state[COMPRESSED] != done:
            self.compress(self.mu(step))
            self.state[COMPRESSED].fill_(done)

    @torch.no_grad()
    def compress(self, mu: float) -> None:
        """The C-step at ``mu``."""
        self.project(mu)
        for name, weight in self.setting.weights.items():
            self.state[f"multiplier {name}"].sub_(weight - self.state[f"delta {name}"], alpha=mu)

    @torch.no_grad()
    def project(self, mu: float) -> None:
        """Delta = the k largest of W - lambda / mu."""
        setting = self.setting
        moved = {name: w - self.state[f"multiplier {name}"] / mu for name, w in setting.weights.items()}
        masks = exact(setting, moved, setting.num_pruned)
        self.state |= {f"delta {name}": moved[name] * masks[name] for name in moved}

    def detach(self) -> None:
        """Delta becomes the weights."""
        with torch.no_grad():
            for name, weight in self.setting.weights.items():
                weight.copy_(self.state[f"delta {name}"])
