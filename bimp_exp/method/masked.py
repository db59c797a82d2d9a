"""The base of methods that train w * mask and choose the masks anew from time to time: GMP, DPF, DNW.

The network computes with w * mask. The optimiser holds w, and moves all of it by the gradient at w * mask, so a pruned weight
can grow and return (Lin et al. 2020); a subclass may stop that in ``on_gradients``. Where it ends, w * mask become the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bimp_exp.method import _parametrize
from bimp_exp.method.base import Method, MethodContext, Prunes
from bimp_exp.selector.base import Masks

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass(frozen=True, kw_only=True)
class MaskedMethod(Method):
    """A subclass says by ``choose`` which weights are kept from when on."""

    prunes: ClassVar[Prunes] = "while training"

    def choose(self, context: MethodContext, step: int) -> Masks | None:
        """The masks from the end of ``step`` (0-based) on, or None where they stay as they are.

        step: -1 asks for the masks of the start, which otherwise keep everything.
        """
        raise NotImplementedError

    def masks(self, context: MethodContext) -> Masks:
        """The present ones."""
        return {name: module.mask.bool() for name, module in _parametrize.mask_modules(context).items()}

    def attach(self, context: MethodContext) -> None:
        """Compute with w * mask from now on."""
        _parametrize.attach(context, _parametrize.Masked)
        self._update(context, -1)

    def on_step(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """Compute with the new weights, under new masks where it is time for them."""
        self._update(context, step)

    def detach(self, context: MethodContext) -> None:
        """w * mask become the weights."""
        _parametrize.detach(context)

    def _update(self, context: MethodContext, step: int) -> None:
        _parametrize.multiply(context, self.choose(context, step))
