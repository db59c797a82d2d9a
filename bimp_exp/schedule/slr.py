"""SLR, scaled learning rate restarting: all of dense training's rates, squeezed into T_rt (Le & Hua 2021; paper, Section 2.1).

>>> from bimp_exp.lr import Stepped
>>> original = Stepped(initial=0.1, warmup_epochs=0, milestones=[0.5], gamma=0.1).schedule(8, steps_per_epoch=2)
>>> slr = SLR(warmup=0.4, keep_last_warmup_rate=False, index_in_floating_point=False)
>>> [round(rate, 4) for rate in slr(original, 5).rates()]  # after two steps of warm-up, steps 0, 2 and 5 of the original
[0.0, 0.05, 0.1, 0.1, 0.01]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bimp_exp.lr import Schedule
from bimp_exp.schedule._rates import compress, with_warmup
from bimp_exp.schedule.base import PruneReport, Retraining
from bimp_exp.types import Share


@dataclass(frozen=True, kw_only=True)
class SLR(Retraining):
    """Warm-up to eta_1, then the original schedule compressed into the steps that are left.

    keep_last_warmup_rate, index_in_floating_point: as the published code, for ``compress``.
    """

    adaptive: ClassVar[bool] = False
    warmup: Share
    keep_last_warmup_rate: bool
    index_in_floating_point: bool

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport | None = None) -> Schedule:
        return with_warmup(
            original.peak,
            self.warmup,
            num_steps,
            lambda n: compress(
                original,
                n,
                keep_last_warmup_rate=self.keep_last_warmup_rate,
                index_in_floating_point=self.index_in_floating_point,
            ),
        )
