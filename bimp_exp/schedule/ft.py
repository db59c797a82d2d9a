"""FT, fine-tuning: the last learning rate of dense training throughout (Han et al. 2015; paper, Section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp import lr
from bimp_exp.lr import Schedule
from bimp_exp.schedule.base import PruneReport


@dataclass(frozen=True, kw_only=True)
class FT:
    """eta_T in every step."""

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport) -> Schedule:
        """See Retraining."""
        return lr.constant(original.floor, num_steps)
