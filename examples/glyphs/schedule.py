"""A retraining schedule that depends on what the pruning did."""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp.schedule.base import Discounted, PruneReport
from bimp_exp.types import Positive


@dataclass(frozen=True, kw_only=True)
class Root(Discounted):
    """Linear after a warm-up, from the original peak times d1 to the ``power``: 1 is allr_d1, less is bolder.

    ``warmup`` is a key of Discounted; values of all keys are in conf/schedule/root.yaml.
    """

    power: Positive

    def discount(self, report: PruneReport) -> float:
        """min(1, d1) ** power."""
        return min(1.0, report.d1("all")) ** self.power
