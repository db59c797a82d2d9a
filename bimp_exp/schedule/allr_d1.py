"""ALLRd1, ablation of ALLR: the damage of pruning alone decides, d = min(1, d1) (paper, Appendix C.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bimp_exp.schedule.base import Discounted, PruneReport


@dataclass(frozen=True, kw_only=True)
class ALLRd1(Discounted):
    """``norm`` as for ALLR."""

    norm: Literal["all", "prunable"]

    def discount(self, report: PruneReport) -> float:
        """min(1, d1)."""
        return min(1.0, report.d1(self.norm))
