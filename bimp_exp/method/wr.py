"""WR, weight rewinding: after each pruning the network goes back to what it was T_rt epochs before the end of dense training
(Frankle et al. 2019; Renda et al. 2020).

Pruning is IMP's. What survives gets its value after step L - n of dense training back, and so do biases and batch-norm with its
statistics; momentum starts empty. The n steps of retraining then repeat the rates l[L - n..L - 1] of dense training, which
``schedule=lrw`` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bimp_exp.errors import ConfigError
from bimp_exp.method.base import Method, MethodContext, Prunes

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass(frozen=True, kw_only=True)
class WR(Method):
    """``context.state`` holds the network as it was n steps before the end, for every length n of retraining."""

    prunes: ClassVar[Prunes] = "between phases"
    looks_ahead: ClassVar[bool] = True

    def check(self, context: MethodContext) -> None:
        """Dense training has to reach back far enough."""
        if context.num_steps == 0:
            raise ConfigError("dense_checkpoint must be null for method=wr: it rewinds to a point of dense training")
        longest = max(context.retraining, default=0)
        if longest > context.num_steps:
            raise ConfigError(
                f"budget.retrain_epochs: method=wr rewinds {longest} steps but dense training has only "
                f"{context.num_steps}; it must be at most the epochs of dense training"
            )

    def attach(self, context: MethodContext) -> None:
        """Copy the untrained network if a cycle is as long as dense training."""
        _remember(context, 0)

    def on_step(self, context: MethodContext, step: int, optimizer: Optimizer) -> None:
        """Copy the network if a cycle will go back to where it is now."""
        _remember(context, step + 1)

    def on_cycle(self, context: MethodContext, num_steps: int, optimizer: Optimizer) -> None:
        """Go back, in place."""
        names = context.model.state_dict()
        context.model.load_state_dict({name: context.state[_key(num_steps, name)] for name in names})
        optimizer.state.clear()


def _remember(context: MethodContext, num_done: int) -> None:
    num_left = context.num_steps - num_done
    if num_left in context.retraining:
        network = context.model.state_dict()
        context.state.update({_key(num_left, name): tensor.clone() for name, tensor in network.items()})


def _key(num_left: int, name: str) -> str:
    return f"{num_left} steps left: {name}"
