"""SLR, scaled learning rate restarting: all of dense training's rates, squeezed into T_rt (Le & Hua 2021; paper, Section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp import lr
from bimp_exp.lr import Schedule
from bimp_exp.schedule.base import PruneReport
from bimp_exp.types import Share


@dataclass(frozen=True, kw_only=True)
class SLR:
    """Warm-up to eta_1, then the original schedule compressed into the steps that are left."""

    warmup: Share
    keep_last_warmup_rate: bool
    index_in_floating_point: bool

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport) -> Schedule:
        """See Retraining."""
        return lr.with_warmup(
            original.peak,
            self.warmup,
            num_steps,
            lambda n: lr.compress(
                original,
                n,
                keep_last_warmup_rate=self.keep_last_warmup_rate,
                index_in_floating_point=self.index_in_floating_point,
            ),
        )
