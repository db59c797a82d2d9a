"""DPF, dynamic pruning with feedback: compute with masked weights, update all of them (Lin et al. 2020; paper, Section 3.3).

The gradient at the masked weights goes to every stored weight, so a pruned one can grow and return. The mask is the magnitude
mask of the stored weights, chosen anew every ``refresh`` steps; its sparsity follows GMP's steps, or is the goal at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bimp_exp.method import _parametrize
from bimp_exp.method._gradual import exact, num_prunings, sparsity_after
from bimp_exp.method.base import Method, Prunes, Setting
from bimp_exp.types import Count

if TYPE_CHECKING:
    import torch


@dataclass(kw_only=True)
class DPF(Method):
    """``interval``: epochs between two steps of the sparsity, null for the goal from the start; ``refresh``: steps."""

    prunes: ClassVar[Prunes] = "while training"

    interval: Count | None
    refresh: Count
    masked: dict[str, _parametrize.Masked] = field(init=False, repr=False)

    def check(self, setting: Setting) -> None:
        """See Method."""
        if self.interval is not None:
            num_prunings(setting.epochs, self.interval)

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        self.masked = _parametrize.attach(setting.model, setting.weights, _parametrize.Masked)
        if self.interval is None:
            self.choose(setting.num_pruned)
        else:
            self.num_prunings = num_prunings(setting.epochs, self.interval)

    def on_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Choose the mask anew after every ``refresh`` steps, and where the sparsity steps up."""
        setting = self.setting
        if self.interval is None:
            num_pruned, steps_up = setting.num_pruned, False
        else:
            k, rest = divmod(step + 1, self.interval * setting.steps_per_epoch)
            num_pruned = round(sparsity_after(k, self.num_prunings, setting.sparsity) * setting.num_weights)
            steps_up = rest == 0 and k <= self.num_prunings
        if steps_up or (step + 1) % self.refresh == 0:
            self.choose(num_pruned)
        else:
            _parametrize.multiply(self.masked, setting.weights)

    def choose(self, num_pruned: int) -> None:
        """The mask of the stored weights without ``num_pruned`` of them."""
        weights = self.setting.weights
        _parametrize.multiply(self.masked, weights, exact(self.setting, weights, num_pruned))

    def detach(self) -> None:
        """The last mask applied; it may be up to ``refresh`` - 1 steps older than the weights (published code)."""
        _parametrize.detach(self.setting.model, self.setting.weights)
