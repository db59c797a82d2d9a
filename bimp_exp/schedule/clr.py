"""CLR, cyclic learning rate restarting: a cosine from eta_1 to eta_T (Le & Hua 2021; paper, Section 2.1).

Le & Hua also cycle the momentum and go down to eta_1 / 10^4; the paper's code does neither, and this follows it.
"""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp import lr
from bimp_exp.lr import Schedule
from bimp_exp.schedule.base import PruneReport
from bimp_exp.types import Share


@dataclass(frozen=True, kw_only=True)
class CLR:
    """Warm-up to eta_1, then half a cosine down to eta_T."""

    warmup: Share

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport) -> Schedule:
        """See Retraining."""
        return lr.with_warmup(
            original.peak, self.warmup, num_steps, lambda n: lr.cosine(original.peak, n, original.floor)
        )
