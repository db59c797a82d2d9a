"""GMP, gradual magnitude pruning: to the goal in K steps along a cubic (Zhu & Gupta 2017; Gale et al. 2019; paper, Section 3.3).

hard: what is pruned stays pruned. soft: each pruning chooses anew among the stored values of all weights; a pruned weight gets
no gradient of the data, but weight decay and its momentum still move it, so it may return. At every pruning the momentum of
pruned weights is set to 0 (published code).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from bimp_exp.method import _parametrize
from bimp_exp.method.base import MethodContext
from bimp_exp.method.gradual import num_pruned_after, num_prunings, prune_to, pruning_after
from bimp_exp.method.masked import MaskedMethod
from bimp_exp.selector.base import Masks
from bimp_exp.types import Count

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass(frozen=True, kw_only=True)
class GMP(MaskedMethod):
    """``interval``: epochs between two prunings.

    ``count_per_event`` (published code): when hard, each pruning removes round(p * remaining) weights, where
    p = 1 - (1 - S_k) / (1 - S_(k-1)), so that the last may miss round(S N).
    """

    mode: Literal["hard", "soft"]
    interval: Count
    count_per_event: bool

    def check(self, context: MethodContext) -> None:
        """At least one pruning has to fit."""
        num_prunings(context.epochs, self.interval)

    def choose(self, context: MethodContext, step: int) -> Masks | None:
        """New masks at the end of every ``interval`` epochs, K times."""
        k = pruning_after(context, step, self.interval)
        if k is None:
            return None
        count, num_weights = num_prunings(context.epochs, self.interval), context.num_weights
        total = num_pruned_after(k, count, context.sparsity, num_weights, per_event=self._per_event)
        return prune_to(context, total, masks=self.hard_masks(context))

    def on_gradients(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """A pruned weight gets no gradient of the data."""
        modules = _parametrize.mask_modules(context)
        gradients = {name: w.grad for name, w in context.weights.items() if w.grad is not None}
        torch._foreach_mul_(list(gradients.values()), [modules[name].mask for name in gradients])

    def on_step(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """Prune where it is time to, and set the momentum of pruned weights to 0."""
        super().on_step(context, step, optimizer)
        if pruning_after(context, step, self.interval) is None:
            return
        for name, module in _parametrize.mask_modules(context).items():
            momentum = optimizer.state[context.weights[name]].get("momentum_buffer")
            if momentum is not None:
                momentum.mul_(module.mask)

    def hard_masks(self, context: MethodContext) -> Masks:
        """The present masks, when hard."""
        return self.masks(context) if self.mode == "hard" else {}

    def slack(self, context: MethodContext) -> int:
        """Half a weight a pruning, and what that leaves for the next ones, where each counts for itself."""
        return num_prunings(context.epochs, self.interval) if self._per_event else 0

    @property
    def _per_event(self) -> bool:
        return self.mode == "hard" and self.count_per_event
