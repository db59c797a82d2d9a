"""LRW, learning rate rewinding: the last T_rt epochs of dense training's rates again (Renda et al. 2020; paper, Section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp import lr
from bimp_exp.errors import ConfigError
from bimp_exp.lr import Schedule
from bimp_exp.schedule.base import PruneReport


@dataclass(frozen=True, kw_only=True)
class LRW:
    """l[L - n + i] in step i; n = L replays all of dense training, its warm-up included."""

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport) -> Schedule:
        """See Retraining; ConfigError where retraining is longer than dense training was."""
        if num_steps > original.num_steps:
            raise ConfigError(
                f"schedule=lrw rewinds {num_steps} steps but dense training has only {original.num_steps}: "
                "budget.retrain_epochs must be at most the epochs of dense training"
            )
        return lr.tail(original, num_steps)
