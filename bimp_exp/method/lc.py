"""LC, learning-compression, as the paper compares it: weight decay on all but the k largest weights (Carreira-Perpinan & Idelbayev
2018; paper, Section 3.3).

It is SGD on loss + weight_decay / 2 * ||W - top_k(W)||^2: the k largest |w| do not decay, the others do. At the end the network
is pruned to the goal by magnitude. The authors' own form alternates with an augmented Lagrangian (``method=lc_lagrangian``).
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
class LC(Ranked):
    """Ranks by |w|."""

    def on_gradients(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """Cancel the weight decay of the k largest weights."""
        weights, gradients, keep = self.survivors(context, lambda w, _: w)
        torch._foreach_sub_(gradients, torch._foreach_mul(weights, keep), alpha=context.weight_decay)
