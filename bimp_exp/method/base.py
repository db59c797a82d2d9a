"""Methods: hooks around the training step, every one of which does nothing by default. Imports no PyTorch.

Order inside a step: forward (with the effective weights of ``attach``), loss + ``penalty``, backward, ``on_gradients``,
optimiser step, ``on_step``. A method object is an immutable rule: its only fields are its configuration keys. All that changes
while training is a parameter or buffer of the model, an entry of ``context.state`` or a pure function of the step, so a run can
stop and continue anywhere.

To write a method, import from here ``Method``, ``MethodContext`` and ``Prunes``; from ``bimp_exp.method.masked`` the base
``MaskedMethod`` of a method that trains w * mask; from ``bimp_exp.method.gradual`` the cubic sparsity schedule and ``prune_to``,
masks of exactly so many weights by the run's selector.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from bimp_exp.selector.base import Masks, Selector

Prunes = Literal["never", "between phases", "while training"]


@dataclass(frozen=True, kw_only=True)
class MethodContext:
    """The run as a method sees it, and where a method keeps what changes while it trains.

    model: a plain one until ``attach``.
    weights: the prunable weights by name, as the optimiser holds them.
    selector: of the run, as it suits the model; call it by ``bimp_exp.selector.base.select``.
    sparsity: the run's goal, in [0, 1).
    num_steps: of the phase in which the hooks act; 0 where a dense checkpoint replaces it.
    retraining: steps of every phase after the first one.
    state: what has no place in the model, by name; saved in checkpoints. A restored checkpoint replaces its tensors.
    modules: the parametrisations that ``attach`` has put into the model, by weight name.
    """

    model: nn.Module
    weights: dict[str, nn.Parameter]
    selector: Selector
    sparsity: float
    weight_decay: float
    num_steps: int
    steps_per_epoch: int
    retraining: tuple[int, ...] = ()
    state: dict[str, Tensor] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)

    @property
    def epochs(self) -> float:
        """Length of the phase; not a whole number where its last epoch is cut short."""
        return self.num_steps / self.steps_per_epoch

    @property
    def num_weights(self) -> int:
        """Prunable weights N, pruned ones included."""
        return sum(w.numel() for w in self.weights.values())

    @property
    def num_pruned(self) -> int:
        """Weights that the goal S prunes: round(S N), halves to the even number."""
        return round(self.sparsity * self.num_weights)

    @cached_property
    def all_kept(self) -> Masks:
        """Masks that prune nothing; not to be written to."""
        import torch

        return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in self.weights.items()}


@dataclass(frozen=True, kw_only=True)
class Method:
    """Dense training: the base of every option of ``conf/method/``."""

    prunes: ClassVar[Prunes] = "never"
    """When: IMP between its phases; the pruning-stable methods while they train, in one phase with the whole budget."""

    selects: ClassVar[bool] = True
    """Whether the run's selector says which weights are pruned; False where none are or where the method has its own rule."""

    has_target: ClassVar[bool] = True
    """Whether the run's ``sparsity`` is reached; False where other parameters decide."""

    looks_ahead: ClassVar[bool] = False
    """Whether the hooks of the first phase use ``context.retraining``, so that runs with other cycles cannot share it."""

    acts_while_retraining: ClassVar[bool] = False
    """Whether ``penalty``, ``on_gradients`` and ``on_step`` also act in the phases after the first one, with their ``num_steps``.

    Only of a method that prunes between phases: one that prunes while training has been detached by then.
    """

    def __init_subclass__(cls) -> None:
        if cls.acts_while_retraining and cls.prunes != "between phases":
            raise TypeError(
                f'{cls.__name__}: acts_while_retraining needs prunes = "between phases", not "{cls.prunes}"'
            )

    def check(self, context: MethodContext) -> None:
        """ConfigError where ``attach`` or the training after it would fail; called before anything is written.

        context: its model is not to be changed, and its tensors may have no values.
        """

    def attach(self, context: MethodContext) -> None:
        """Before the optimiser is built: put parametrisations into the model, and the first values into ``context.state``.

        A method that prunes between phases must leave the model as it is: only ``detach`` makes it a plain one again.
        """

    def parameters_without_weight_decay(self, context: MethodContext) -> list[nn.Parameter]:
        """Parameters that ``attach`` added and that weight decay leaves alone."""
        return []

    def penalty(self, context: MethodContext) -> Tensor | float:
        """A term of the loss of every step; it can be differentiated."""
        return 0.0

    def on_gradients(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """After the backward pass of ``step`` (0-based, in its phase), before the optimiser's step."""

    def on_step(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """After the optimiser's step; called twice for the same step it does the same as once."""

    def on_cycle(self, context: MethodContext, num_steps: int, optimizer: Optimizer) -> None:
        """Before the ``num_steps`` of retraining of a cycle, after its pruning was measured; masks are applied again."""

    def detach(self, context: MethodContext) -> None:
        """After the last step of a method that prunes while training: prune to the goal and leave a plain model."""

    def hard_masks(self, context: MethodContext) -> Masks:
        """The present masks of a method whose pruned weights never return, which every run checks; else none."""
        return {}

    def slack(self, context: MethodContext) -> int:
        """By how many weights the method may miss the run's ``sparsity``; checked in every run."""
        return 0
