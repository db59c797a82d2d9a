"""Magnitude pruning along a straight line: a method as a user would write it, in a file of the user's own."""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp.method.base import MethodContext
from bimp_exp.method.gradual import prune_to
from bimp_exp.method.masked import MaskedMethod
from bimp_exp.selector.base import Masks
from bimp_exp.types import Count


@dataclass(frozen=True, kw_only=True)
class Linear(MaskedMethod):
    """``every``: steps between two prunings; what is pruned may return."""

    every: Count

    def choose(self, context: MethodContext, step: int) -> Masks | None:
        """The share of the goal that is the share of the training."""
        num_done = step + 1
        if num_done % self.every:
            return None
        return prune_to(context, round(num_done / context.num_steps * context.num_pruned))
