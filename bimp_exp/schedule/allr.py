"""ALLR, adaptive linear learning rate restarting: LLR from d * eta_1, d = min(1, max(d1, d2)) (paper, Section 3.1).

d1 = ||W - W^p|| / (||W|| sqrt(s)) grows with the damage of pruning, d2 = T_rt / T with the time there is to repair it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bimp_exp.schedule.base import Discounted, PruneReport


@dataclass(frozen=True, kw_only=True)
class ALLR(Discounted):
    """``norm`` says over which parameters ||W|| is taken: all weights and biases, or the prunable weights only."""

    norm: Literal["all", "prunable"]

    def discount(self, report: PruneReport) -> float:
        """min(1, max(d1, d2))."""
        return min(1.0, max(report.d1(self.norm), report.d2))
