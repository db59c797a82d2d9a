"""What a method is: hooks around the training step, every one of which does nothing by default.

Order inside a step: forward (with whatever ``attach`` put there), loss + ``penalty``, backward, ``on_gradients``, optimiser
step, ``on_step``. All state of a method is a buffer or parameter of the model or a pure function of the step, so a run
can stop and continue anywhere. Imports no PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Method:
    """Dense training: the base of every option of ``conf/method/``."""

    prunes: ClassVar[Literal["never", "between phases", "while training"]] = "never"
    """When: IMP between its phases; the pruning-stable methods while they train, in one phase with the whole budget."""

    def attach(self, model: nn.Module, num_steps: int) -> None:
        """Add parametrisations to ``model``, before its optimiser is built."""

    def penalty(self) -> Tensor | float:
        """Added to the loss of every step."""
        return 0.0

    def on_gradients(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """After the backward pass of ``step`` (0-based), before the optimiser's step."""

    def on_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """After the optimiser's step; called twice for the same step it does the same as once."""

    def detach(self, model: nn.Module) -> None:
        """Fold what ``attach`` added into plain weights, after the last step."""
