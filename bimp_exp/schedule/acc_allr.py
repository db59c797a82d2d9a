"""AccALLR: ALLR with the drop of the training accuracy as the damage (paper, Appendix C.1).

d1 = clip((Acc_dense - Acc_pruned) / Acc_dense, 0, 1) on the training images, Acc_dense being that of the dense model in
every cycle; 0 where Acc_dense is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bimp_exp.schedule.base import Discounted, PruneReport


@dataclass(frozen=True, kw_only=True)
class AccALLR(Discounted):
    """max(d1, d2) with d1 from accuracies."""

    extra_pass: ClassVar[bool] = True  # over the training images, to know Acc_pruned

    def discount(self, report: PruneReport) -> float:
        """max(clip((Acc_dense - Acc_pruned) / Acc_dense, 0, 1), d2)."""
        dense = report.train_metric_dense
        drop = (dense - report.train_metric_pruned) / dense if dense else 0.0
        return max(min(max(drop, 0.0), 1.0), report.d2)
