"""ALLRd1, ablation of ALLR: the damage of pruning alone decides, d = min(1, d1) (paper, Appendix C.1).

>>> from bimp_exp.lr import linear
>>> report = PruneReport(
...     fraction=0.25, removed_norm=0.1, norm_all=4.0, norm_prunable=2.0, length_ratio=0.2,
...     train_metric_dense=1.0, train_metric_pruned=1.0,
... )
>>> [round(rate, 5) for rate in ALLRd1(warmup=0.1, norm="all")(linear(0.1, 20), 4, report).rates()]  # d = 0.1 / (4 sqrt(0.25))
[0.005, 0.00375, 0.0025, 0.00125]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bimp_exp.schedule.base import Discounted, PruneReport


@dataclass(frozen=True, kw_only=True)
class ALLRd1(Discounted):
    """norm: as for ALLR."""

    norm: Literal["all", "prunable"]

    def discount(self, report: PruneReport) -> float:
        """min(1, d1)."""
        return min(1.0, report.d1(self.norm))
