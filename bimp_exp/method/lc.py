"""LC, learning-compression, as the paper compares it: weight decay on all but the k largest weights (Carreira-Perpinan & Idelbayev
2018; paper, Section 3.3).

It is SGD on loss + weight_decay / 2 * ||W - top_k(W)||^2: the k largest |w| do not decay, the others do. At the end the network
is pruned to the goal by magnitude. The authors' own form alternates with an augmented Lagrangian.
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
class LC(Method):
    """``rank_all_parameters`` (published code): biases and batch-norm compete too, for int((1 - S) N) places."""

    prunes: ClassVar[Prunes] = "while training"

    rank_all_parameters: bool

    def on_gradients(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Cancel the weight decay of the k largest weights."""
        weights, gradients, keep = survivors(self.setting, lambda w, _: w, everything=self.rank_all_parameters)
        torch._foreach_sub_(gradients, torch._foreach_mul(weights, keep), alpha=self.setting.weight_decay)

    def detach(self) -> None:
        """Prune to the goal."""
        prune.apply(self.setting.weights, exact(self.setting, self.setting.weights, self.setting.num_pruned))
