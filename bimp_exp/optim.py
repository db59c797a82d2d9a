"""The optimiser: SGD with momentum, Nesterov's exactly when there is weight decay (published code; docs/method.md, One step).

d = g + weight_decay * w; b = momentum * b + d (b = d in the first step); w -= rate * (d + momentum * b) with Nesterov, else
w -= rate * b. Weight decay acts on every parameter, biases and batch-norm included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bimp_exp.types import Count, NonNegative, Positive, Share

if TYPE_CHECKING:
    import torch


Update = Literal["loop", "foreach", "fused"]


@dataclass(frozen=True, kw_only=True)
class SGD:
    """batch_size: examples in a step; the last step of an epoch may have fewer. clip_norm: c of ``clip``; None: none is clipped."""

    momentum: Share
    weight_decay: NonNegative
    batch_size: Count
    clip_norm: Positive | None

    def build(
        self,
        parameters: Iterable[torch.nn.Parameter],
        without_weight_decay: Iterable[torch.nn.Parameter] = (),
        *,
        update: Update = "loop",
    ) -> torch.optim.SGD:
        """A new optimiser with empty momentum buffers; its rate is set before every step.

        without_weight_decay: those of ``parameters`` that weight decay leaves alone.
        update: a loop over the parameters, the same arithmetic on lists of them, or fused into one pass, which rounds otherwise.
        """
        import torch

        spared = {id(p) for p in without_weight_decay}
        every = list(parameters)
        groups: list[dict[str, Any]] = [
            {"params": [p for p in every if id(p) not in spared]},
            {"params": [p for p in every if id(p) in spared], "weight_decay": 0.0},
        ]
        return torch.optim.SGD(
            [group for group in groups if group["params"]],
            lr=0.0,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.weight_decay > 0 and self.momentum > 0,
            foreach=update == "foreach",
            fused=update == "fused",
        )


def clip(optimizer: torch.optim.Optimizer, clip_norm: float, statistics: torch.Tensor) -> None:
    """Scale all gradients by c / (n + 1e-6) where that is below 1, n being their L2 norm together (Pascanu et al. 2013).

    clip_norm: c.
    statistics: float64 [2], the number of clipped steps, and the largest norm of any step before it was clipped; brought up to
        date in place, while the host goes on.
    """
    import torch

    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
    statistics[0] += clip_norm / (norm + 1e-6) < 1
    torch.maximum(statistics[1], norm.double(), out=statistics[1])
