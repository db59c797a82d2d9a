"""GSM, global sparse momentum: only the weights that matter most get a gradient, the rest decays (Ding et al. 2019).

After every backward pass the k largest |w * gradient| keep their gradient, k being the number of weights to survive; all
others are moved by weight decay and momentum alone. At the end the network is pruned to the goal by magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from bimp_exp.method._gradual import exact
from bimp_exp.method._ranking import survivors
from bimp_exp.method.base import Method, Prunes
from bimp_exp.pruning import weights as prune


@dataclass(kw_only=True)
class GSM(Method):
    """``rank_all_parameters`` (published code): biases and batch-norm compete too, for int((1 - S) N) places."""

    prunes: ClassVar[Prunes] = "while training"

    rank_all_parameters: bool

    def on_gradients(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Keep the gradients of the k weights that matter most."""
        _, gradients, keep = survivors(self.setting, torch._foreach_mul, everything=self.rank_all_parameters)
        torch._foreach_mul_(gradients, keep)

    def detach(self) -> None:
        """Prune to the goal."""
        prune.apply(self.setting.weights, exact(self.setting, self.setting.weights, self.setting.num_pruned))
