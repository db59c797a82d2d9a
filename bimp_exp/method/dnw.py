"""DNW, discovering neural wirings: the goal's mask in every forward pass, gradients to every weight (Wortsman et al. 2019).

Global as in the paper (Section 3.3); ``selector=uniform`` is the authors' form, the same share of every layer. It equals DPF
with a new mask after every step, at constant sparsity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bimp_exp.method import _parametrize
from bimp_exp.method._gradual import exact
from bimp_exp.method.base import Method, Prunes, Setting

if TYPE_CHECKING:
    import torch


@dataclass(kw_only=True)
class DNW(Method):
    """The mask is always that of the stored weights as they are, so the final prune changes nothing."""

    prunes: ClassVar[Prunes] = "while training"

    masked: dict[str, _parametrize.StraightThrough] = field(init=False, repr=False)

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        self.masked = _parametrize.attach(setting.model, setting.weights, _parametrize.StraightThrough)
        self.choose()

    def on_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """See Method."""
        self.choose()

    def choose(self) -> None:
        """The mask of the stored weights at the goal."""
        setting = self.setting
        _parametrize.set_masks(self.masked, exact(setting.selector, setting.weights, setting.sparsity))

    def detach(self) -> None:
        """See Method."""
        _parametrize.detach(self.setting.model, self.setting.weights)
