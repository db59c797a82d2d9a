"""Tuned stepped schedule: the original rates squeezed as in SLR, scaled to start at a tuned rate (Li et al. 2020; Appendix B.1).

>>> from bimp_exp.lr import Stepped as Original
>>> original = Original(initial=0.1, warmup_epochs=0, milestones=[0.5], gamma=0.1).schedule(8, steps_per_epoch=2)
>>> stepped = Stepped(initial=0.05, warmup=0.4, keep_last_warmup_rate=False, index_in_floating_point=False)
>>> [round(rate, 4) for rate in stepped(original, 5).rates()]
[0.0, 0.025, 0.05, 0.05, 0.005]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bimp_exp.lr import Schedule
from bimp_exp.schedule._rates import compress, with_warmup
from bimp_exp.schedule.base import PruneReport, Retraining
from bimp_exp.types import Positive, Share


@dataclass(frozen=True, kw_only=True)
class Stepped(Retraining):
    """initial: the tuned rate. warmup: the tuned share of the cycle that warms up.

    keep_last_warmup_rate, index_in_floating_point: as the published code, for ``compress``.
    """

    adaptive: ClassVar[bool] = False
    initial: Positive
    warmup: Share
    keep_last_warmup_rate: bool
    index_in_floating_point: bool

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport | None = None) -> Schedule:
        def rest(n: int) -> Schedule:
            squeezed = compress(
                original,
                n,
                keep_last_warmup_rate=self.keep_last_warmup_rate,
                index_in_floating_point=self.index_in_floating_point,
            )
            scale = self.initial / original.peak
            return Schedule(n, lambda i: squeezed(i) * scale, self.initial, squeezed.floor * scale)

        return with_warmup(self.initial, self.warmup, num_steps, rest)
