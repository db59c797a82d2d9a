"""Tuned stepped schedule: the original rates squeezed as in SLR, scaled to start at a tuned rate (Li et al. 2020; Appendix B.1)."""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp import lr
from bimp_exp.lr import Schedule
from bimp_exp.schedule.base import PruneReport
from bimp_exp.types import Positive, Share


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """``initial`` is the tuned rate, ``warmup`` the tuned share of the cycle that warms up."""

    initial: Positive
    warmup: Share
    keep_last_warmup_rate: bool
    index_in_floating_point: bool

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport) -> Schedule:
        """See Retraining."""

        def rest(n: int) -> Schedule:
            squeezed = lr.compress(
                original,
                n,
                keep_last_warmup_rate=self.keep_last_warmup_rate,
                index_in_floating_point=self.index_in_floating_point,
            )
            scale = self.initial / original.peak
            return Schedule(n, lambda i: squeezed(i) * scale, self.initial, squeezed.floor * scale)

        return lr.with_warmup(self.initial, self.warmup, num_steps, rest)
