"""LRW, learning rate rewinding: the last T_rt epochs of dense training's rates again (Renda et al. 2020; paper, Section 2.1).

>>> from bimp_exp.lr import linear
>>> [round(rate, 4) for rate in LRW()(linear(0.1, 10), 3).rates()]
[0.03, 0.02, 0.01]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bimp_exp.errors import ConfigError
from bimp_exp.lr import Schedule
from bimp_exp.schedule._rates import tail
from bimp_exp.schedule.base import PruneReport, Retraining


@dataclass(frozen=True, kw_only=True)
class LRW(Retraining):
    """l[L - n + i] in step i; n = L replays all of dense training, its warm-up included."""

    adaptive: ClassVar[bool] = False

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport | None = None) -> Schedule:
        """ConfigError where retraining is longer than dense training was."""
        if num_steps > original.num_steps:
            raise ConfigError(
                f"schedule=lrw rewinds {num_steps} steps but dense training has only {original.num_steps}: "
                "budget.retrain_epochs must be at most the epochs of dense training"
            )
        return tail(original, num_steps)
