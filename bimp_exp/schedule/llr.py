"""LLR, linear learning rate restarting: a straight line from eta_1 to 0 (paper, Section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp.schedule.base import Discounted, PruneReport


@dataclass(frozen=True, kw_only=True)
class LLR(Discounted):
    """Warm-up to eta_1, then linear to 0."""

    def discount(self, report: PruneReport) -> float:
        """Always 1."""
        return 1.0
