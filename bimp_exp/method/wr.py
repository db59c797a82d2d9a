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
from bimp_exp.method.base import Method, Prunes, Setting

if TYPE_CHECKING:
    import torch


@dataclass(kw_only=True)
class WR(Method):
    """``state`` holds the network as it was n steps before the end, for every length n of retraining."""

    prunes: ClassVar[Prunes] = "between phases"

    def check(self, setting: Setting) -> None:
        """See Method; dense training has to reach back far enough."""
        if setting.num_steps == 0:
            raise ConfigError("dense_checkpoint must be null for method=wr: it rewinds to a point of dense training")
        longest = max(setting.retraining, default=0)
        if longest > setting.num_steps:
            raise ConfigError(
                f"budget.retrain_epochs: method=wr rewinds {longest} steps but dense training has only "
                f"{setting.num_steps}; it must be at most the epochs of dense training"
            )

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        self.remember(0)

    def on_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """See Method."""
        self.remember(step + 1)

    def remember(self, num_done: int) -> None:
        """Copy the network if a cycle will go back to where it is now, ``num_done`` steps into dense training."""
        num_left = self.setting.num_steps - num_done
        if num_left in self.setting.retraining:
            network = self.setting.model.state_dict()
            self.state |= {_key(num_left, name): tensor.clone() for name, tensor in network.items()}

    def on_cycle(self, num_steps: int, optimizer: torch.optim.Optimizer) -> None:
        """Go back, in place."""
        model = self.setting.model
        model.load_state_dict({name: self.state[_key(num_steps, name)] for name in model.state_dict()})
        optimizer.state.clear()


def _key(num_left: int, name: str) -> str:
    return f"{num_left} steps left: {name}"
