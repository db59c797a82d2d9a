"""CLR, cyclic learning rate restarting: a cosine from eta_1 to eta_T (Le & Hua 2021; paper, Section 2.1).

Le & Hua also cycle the momentum and go down to eta_1 / 10^4; the published code does neither, and this follows it.

>>> original = lr.linear(0.1, 10)  # from 0.1 to 0.01
>>> [round(rate, 4) for rate in CLR(warmup=0.4)(original, 5).rates()]
[0.0, 0.05, 0.1, 0.0775, 0.0325]
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
class CLR(Retraining):
    """Warm-up to eta_1, then half a cosine down to eta_T."""

    adaptive: ClassVar[bool] = False
    warmup: Share

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport | None = None) -> Schedule:
        return with_warmup(original.peak, self.warmup, num_steps, lambda n: lr.cosine(original.peak, n, original.floor))
