"""GMP, gradual magnitude pruning: to the goal in K steps along a cubic (Zhu & Gupta 2017; Gale et al. 2019; paper, Section 3.3).

hard: what is pruned stays pruned. soft: each event chooses anew among the stored values of all weights; a pruned weight gets
no gradient of the data, but weight decay and its momentum still move it, so it may return. At every event the momentum of
pruned weights is set to 0 (published code).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch

from bimp_exp.method import _parametrize
from bimp_exp.method._gradual import exact, num_pruned_after, num_prunings
from bimp_exp.method.base import Method, Prunes, Setting
from bimp_exp.selector.base import Masks
from bimp_exp.types import Count


@dataclass(kw_only=True)
class GMP(Method):
    """``interval``: epochs between two prunings.

    ``count_per_event`` (published code): when hard, each event removes round(p * remaining) weights, where
    p = 1 - (1 - S_k) / (1 - S_(k-1)), so that the last may miss round(S N).
    """

    prunes: ClassVar[Prunes] = "while training"

    mode: Literal["hard", "soft"]
    interval: Count
    count_per_event: bool
    masked: dict[str, _parametrize.Masked] = field(init=False, repr=False)

    def check(self, setting: Setting) -> None:
        """See Method."""
        num_prunings(setting.epochs, self.interval)

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        self.num_prunings = num_prunings(setting.epochs, self.interval)
        self.masked = _parametrize.attach(setting.model, setting.weights, _parametrize.Masked)

    def on_gradients(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """A pruned weight gets no gradient of the data."""
        learning = {name: w.grad for name, w in self.setting.weights.items() if w.grad is not None}
        torch._foreach_mul_(list(learning.values()), [self.masked[name].mask for name in learning])

    def on_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Prune at the end of every ``interval`` epochs, K times."""
        weights = self.setting.weights
        k, rest = divmod(step + 1, self.interval * self.setting.steps_per_epoch)
        if rest or k > self.num_prunings:
            _parametrize.multiply(self.masked, weights)
            return
        _parametrize.multiply(self.masked, weights, self.choose(k))
        for name, weight in weights.items():
            momentum = optimizer.state[weight].get("momentum_buffer")
            if momentum is not None:
                momentum.mul_(self.masked[name].mask)

    def choose(self, k: int) -> Masks:
        """The masks of event k = 1..K."""
        setting, per_event = self.setting, self.mode == "hard" and self.count_per_event
        num_pruned = num_pruned_after(k, self.num_prunings, setting.sparsity, setting.num_weights, per_event=per_event)
        return exact(setting, setting.weights, num_pruned, self.hard_masks())

    def hard_masks(self) -> Masks:
        """See Method."""
        return {name: module.mask.bool() for name, module in self.masked.items()} if self.mode == "hard" else {}

    @property
    def slack(self) -> int:
        """See Method; half a weight an event, and what that leaves for the next ones."""
        return self.num_prunings if self.mode == "hard" and self.count_per_event else 0

    def detach(self) -> None:
        """See Method."""
        _parametrize.detach(self.setting.model, self.setting.weights)
