"""ALLRd2, ablation of ALLR: the retraining length alone decides, d = d2 = min(1, T_rt / T) (paper, Appendix C.1).

>>> from bimp_exp.lr import linear
>>> report = PruneReport(
...     fraction=0.25, removed_norm=0.1, norm_all=4.0, norm_prunable=2.0, length_ratio=0.2,
...     train_metric_dense=1.0, train_metric_pruned=1.0,
... )
>>> [round(rate, 4) for rate in ALLRd2(warmup=0.1)(linear(0.1, 20), 4, report).rates()]
[0.02, 0.015, 0.01, 0.005]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bimp_exp.schedule.base import Discounted, PruneReport
from bimp_exp.types import Count


@dataclass(frozen=True, kw_only=True)
class ALLRd2(Discounted):
    """Linear from d2 * eta_1 to 0 after a warm-up; reference_epochs: as for ALLR."""

    adaptive: ClassVar[bool] = False
    reference_epochs: Count | None = None

    def discount(self, report: PruneReport) -> float:
        """d2."""
        return report.d2
