"""ALLRd2, ablation of ALLR: the retraining length alone decides, d = d2 = min(1, T_rt / T) (paper, Appendix C.1)."""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp.schedule.base import Discounted, PruneReport


@dataclass(frozen=True, kw_only=True)
class ALLRd2(Discounted):
    """d2."""

    def discount(self, report: PruneReport) -> float:
        """d2."""
        return report.d2
