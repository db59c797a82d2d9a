"""What a method is: hooks around the training step, every one of which does nothing by default.

Order inside a step: forward (with the effective weights of ``attach``), loss + ``penalty``, backward, ``on_gradients``,
optimiser step, ``on_step``. There is one instance per run. All that changes while training is a buffer or parameter of the
model, an entry of ``state`` or a pure function of the step, so a run can stop and continue anywhere. Imports no PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from bimp_exp.selector.base import Masks, Selector

Prunes = Literal["never", "between phases", "while training"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a method may know of the run: the model, its prunable ``weights`` by name, and how long it trains.

    ``num_steps`` are those of the phase in which its hooks act, ``retraining`` those of each phase after it.
    """

    model: nn.Module
    weights: dict[str, nn.Parameter]
    selector: Selector
    sparsity: float
    weight_decay: float
    num_steps: int
    steps_per_epoch: int
    retraining: tuple[int, ...] = ()

    @property
    def epochs(self) -> float:
        """How long that phase is."""
        return self.num_steps / self.steps_per_epoch

    @property
    def num_weights(self) -> int:
        """Prunable weights in all."""
        return sum(w.numel() for w in self.weights.values())

    @property
    def num_pruned(self) -> int:
        """Of them, how many are gone in the end: round(S N), halves to the even number."""
        return round(self.sparsity * self.num_weights)

    @cached_property
    def everything(self) -> Masks:
        """Masks that keep all weights; not to be written to."""
        import torch

        return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in self.weights.items()}


@dataclass(kw_only=True)
class Method:
    """Dense training: the base of every option of ``conf/method/``."""

    prunes: ClassVar[Prunes] = "never"
    """When: IMP between its phases; the pruning-stable methods while they train, in one phase with the whole budget."""

    selects: ClassVar[bool] = True
    """Whether the run's selector says which weights go; False where nothing goes or thresholds of the method's own decide."""

    has_target: ClassVar[bool] = True
    """Whether the run's ``sparsity`` is reached; False where other parameters decide."""

    setting: Setting = field(init=False, repr=False)
    state: dict[str, Tensor] = field(init=False, repr=False, default_factory=dict)
    """What changes while training and has no place in the model; it is saved and loaded with it."""

    def hard_masks(self) -> Masks:
        """The masks in force, of a method whose pruned weights never return; that is checked in every run."""
        return {}

    @property
    def slack(self) -> int:
        """By how many weights the method may miss the run's ``sparsity``; checked in every run."""
        return 0

    def check(self, setting: Setting) -> None:
        """ConfigError where ``attach`` or the training after it could not go well; the model's tensors may have no values.

        It is called before anything is written, and leaves model and method as they are.
        """

    def attach(self, setting: Setting) -> None:
        """Add parametrisations to the model, before its optimiser is built."""
        self.setting = setting

    def undecayed(self) -> list[nn.Parameter]:
        """Parameters that ``attach`` added and that weight decay leaves alone."""
        return []

    def penalty(self) -> Tensor | float:
        """Added to the loss of every step."""
        return 0.0

    def on_gradients(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """After the backward pass of ``step`` (0-based), before the optimiser's step."""

    def on_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """After the optimiser's step; called twice for the same step it does the same as once."""

    def on_cycle(self, num_steps: int, optimizer: torch.optim.Optimizer) -> None:
        """Before the ``num_steps`` of retraining of a cycle, after its pruning was measured; masks are applied again."""

    def detach(self) -> None:
        """After the last step: prune to the end and leave a plain model with the effective weights."""
