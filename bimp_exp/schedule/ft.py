"""FT, fine-tuning: the last learning rate of dense training throughout (Han et al. 2015; paper, Section 2.1).

>>> original = lr.Stepped(initial=0.1, warmup_epochs=0, milestones=[0.5], gamma=0.1).schedule(8, steps_per_epoch=2)
>>> [round(rate, 4) for rate in FT()(original, 3).rates()]
[0.01, 0.01, 0.01]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bimp_exp import lr
from bimp_exp.lr import Schedule
from bimp_exp.schedule.base import PruneReport, Retraining


@dataclass(frozen=True, kw_only=True)
class FT(Retraining):
    """eta_T in every step."""

    adaptive: ClassVar[bool] = False

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport | None = None) -> Schedule:
        return lr.constant(original.floor, num_steps)
