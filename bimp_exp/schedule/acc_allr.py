"""AccALLR: ALLR with the drop of the training accuracy as the damage (paper, Appendix C.1).

d1 = clip((Acc_dense - Acc_pruned) / Acc_dense, 0, 1) on the training images, Acc_dense being that of the dense model in
every cycle; 0 where Acc_dense is 0.

>>> from bimp_exp.lr import linear
>>> report = PruneReport(
...     fraction=0.5, removed_norm=1.0, norm_all=4.0, norm_prunable=2.0, length_ratio=0.2,
...     train_metric_dense=0.9, train_metric_pruned=0.45,
... )
>>> [round(rate, 4) for rate in AccALLR(warmup=0.1)(linear(0.1, 20), 4, report).rates()]  # d = 0.5
[0.05, 0.0375, 0.025, 0.0125]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bimp_exp.errors import ConfigError
from bimp_exp.schedule.base import Discounted, PruneReport
from bimp_exp.types import Count


@dataclass(frozen=True, kw_only=True)
class AccALLR(Discounted):
    """Linear from max(d1, d2) * eta_1 to 0 after a warm-up, d1 from accuracies; reference_epochs: as for ALLR."""

    extra_pass: ClassVar[bool] = True
    reference_epochs: Count | None = None

    def discount(self, report: PruneReport) -> float:
        """max(clip((Acc_dense - Acc_pruned) / Acc_dense, 0, 1), d2); ConfigError where they were not measured."""
        dense, pruned = report.train_metric_dense, report.train_metric_pruned
        if dense is None or pruned is None:
            raise ConfigError("schedule=acc_allr needs train_metric_dense and train_metric_pruned in the PruneReport")
        drop = (dense - pruned) / dense if dense else 0.0
        return max(min(max(drop, 0.0), 1.0), report.d2)
