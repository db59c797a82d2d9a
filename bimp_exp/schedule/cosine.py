"""Tuned cosine schedule: half a cosine to 0 (unlike CLR, which ends at eta_T) from a tuned initial rate (paper, Appendix B.1)."""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp import lr
from bimp_exp.lr import Schedule
from bimp_exp.schedule.base import PruneReport
from bimp_exp.types import Positive, Share


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """``initial`` is the tuned rate, ``warmup`` the tuned share of the cycle that warms up."""

    initial: Positive
    warmup: Share

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport) -> Schedule:
        """See Retraining."""
        return lr.with_warmup(self.initial, self.warmup, num_steps, lambda n: lr.cosine(self.initial, n))
