"""DPF, dynamic pruning with feedback: compute with masked weights, update all of them (Lin et al. 2020; paper, Section 3.3).

The gradient at the masked weights goes to every stored weight, so a pruned one can grow and return. The mask is the magnitude
mask of the stored weights, chosen anew every ``refresh`` steps; its sparsity follows GMP's steps, or is the goal at once.
At the end the last mask is applied; it may be up to ``refresh`` - 1 steps older than the weights (published code).
"""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp.method.base import MethodContext
from bimp_exp.method.gradual import num_pruned_after, num_prunings, prune_to, pruning_after
from bimp_exp.method.masked import MaskedMethod
from bimp_exp.selector.base import Masks
from bimp_exp.types import Count


@dataclass(frozen=True, kw_only=True)
class DPF(MaskedMethod):
    """``interval``: epochs between two steps of the sparsity, null for the goal from the start; ``refresh``: steps."""

    interval: Count | None
    refresh: Count

    def check(self, context: MethodContext) -> None:
        """At least one step of the sparsity has to fit."""
        if self.interval is not None:
            num_prunings(context.epochs, self.interval)

    def choose(self, context: MethodContext, step: int) -> Masks | None:
        """New masks after every ``refresh`` steps, and where the sparsity steps up."""
        refreshes = (step + 1) % self.refresh == 0
        if self.interval is None:
            return prune_to(context, context.num_pruned) if refreshes else None
        if not refreshes and pruning_after(context, step, self.interval) is None:
            return None
        k, count = (step + 1) // (self.interval * context.steps_per_epoch), num_prunings(context.epochs, self.interval)
        return prune_to(context, num_pruned_after(k, count, context.sparsity, context.num_weights))
