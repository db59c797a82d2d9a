"""GSM, global sparse momentum: only the weights that matter most get a gradient, the rest decays (Ding et al. 2019).

After every backward pass the k largest |w * gradient| keep their gradient, k being the number of weights to survive; all
others are moved by weight decay and momentum alone. At the end the network is pruned to the goal by magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bimp_exp.method._ranking import Ranked
from bimp_exp.method.base import MethodContext

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass(frozen=True, kw_only=True)
class GSM(Ranked):
    """Ranks by |w * gradient|."""

    def on_gradients(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """Keep the gradients of the k weights that matter most."""
        _, gradients, keep = self.survivors(context, torch._foreach_mul)
        torch._foreach_mul_(gradients, keep)
