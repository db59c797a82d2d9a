"""LLR, linear learning rate restarting: a straight line from eta_1 to 0 (paper, Section 2.1).

>>> [round(rate, 4) for rate in LLR(warmup=0.4)(lr.linear(0.1, 10), 5).rates()]
[0.0, 0.05, 0.1, 0.0667, 0.0333]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bimp_exp import lr
from bimp_exp.lr import Schedule
from bimp_exp.schedule._rates import with_warmup
from bimp_exp.schedule.base import PruneReport, Retraining
from bimp_exp.types import Share


@dataclass(frozen=True, kw_only=True)
class LLR(Retraining):
    """Warm-up to eta_1, then linear to 0."""

    adaptive: ClassVar[bool] = False
    warmup: Share

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport | None = None) -> Schedule:
        return with_warmup(original.peak, self.warmup, num_steps, lambda n: lr.linear(original.peak, n))
