"""ALLR, adaptive linear learning rate restarting: LLR from d * eta_1, d = min(1, max(d1, d2)) (paper, Section 2.1).

d1 = ||W - W^p|| / (||W|| sqrt(s)) (equation 1) grows with the damage of pruning, d2 = T_rt / T with the time there is to repair it.

>>> from bimp_exp.lr import linear
>>> report = PruneReport(  # half of the remaining weights pruned, then 10 of 100 epochs
...     fraction=0.5, removed_norm=1.0, norm_all=4.0, norm_prunable=2.0, length_ratio=0.1,
...     train_metric_dense=1.0, train_metric_pruned=0.6,
... )
>>> allr = ALLR(warmup=0.2, norm="all")
>>> round(allr.discount(report), 4)  # d1 = 1 / (4 sqrt(0.5)), d2 = 0.1
0.3536
>>> [round(rate, 4) for rate in allr(linear(0.1, 100), 10, report).rates()]
[0.0, 0.0177, 0.0354, 0.0309, 0.0265, 0.0221, 0.0177, 0.0133, 0.0088, 0.0044]
>>> round(ALLR(warmup=0.2, norm="prunable").discount(report), 4)
0.7071
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bimp_exp.schedule.base import Discounted, PruneReport
from bimp_exp.types import Count


@dataclass(frozen=True, kw_only=True)
class ALLR(Discounted):
    """norm: the parameters of ||W||: ``all`` weights and biases, batch-norm included, or the ``prunable`` weights only.

    reference_epochs: T of d2; None: the length of dense training.
    """

    norm: Literal["all", "prunable"]
    reference_epochs: Count | None = None

    def discount(self, report: PruneReport) -> float:
        """min(1, max(d1, d2))."""
        return min(1.0, max(report.d1(self.norm), report.d2))
