"""Tuned cosine schedule: half a cosine to 0 (unlike CLR, which ends at eta_T) from a tuned initial rate (paper, Appendix B.1).

>>> [round(rate, 4) for rate in Cosine(initial=0.05, warmup=0.4)(lr.linear(0.1, 10), 5).rates()]
[0.0, 0.025, 0.05, 0.0375, 0.0125]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bimp_exp import lr
from bimp_exp.lr import Schedule
from bimp_exp.schedule._rates import with_warmup
from bimp_exp.schedule.base import PruneReport, Retraining
from bimp_exp.types import Positive, Share


@dataclass(frozen=True, kw_only=True)
class Cosine(Retraining):
    """initial: the tuned rate. warmup: the tuned share of the cycle that warms up."""

    adaptive: ClassVar[bool] = False
    initial: Positive
    warmup: Share

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport | None = None) -> Schedule:
        return with_warmup(self.initial, self.warmup, num_steps, lambda n: lr.cosine(self.initial, n))
