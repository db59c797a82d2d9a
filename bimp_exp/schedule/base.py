"""What every retraining schedule is: a function of the original schedule, the number of steps and the pruning report.

Symbols (paper, Section 2.1): the original schedule's peak and floor are eta_1 and eta_T; a cycle retrains for n steps, of
which floor(warmup * n) are a short cosine warm-up from 0. Imports no PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bimp_exp import lr
from bimp_exp.lr import Schedule
from bimp_exp.pruning.report import PruneReport as PruneReport  # the schedules take it from here
from bimp_exp.types import Share


class Retraining(Protocol):
    """A retraining schedule: one option of ``conf/schedule/``.

    Its attribute ``extra_pass`` says, where there is one, that it needs a pass over the training images after every pruning.
    """

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport) -> Schedule:
        """The learning rates of the ``num_steps`` steps after the pruning that ``report`` describes."""
        ...


@dataclass(frozen=True, kw_only=True)
class Discounted:
    """Linear from d * eta_1 to 0 after a warm-up, with the discount d of the subclass (LLR has d = 1)."""

    warmup: Share

    def discount(self, report: PruneReport) -> float:
        """d in [0, 1]."""
        raise NotImplementedError

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport) -> Schedule:
        """See Retraining."""
        peak = self.discount(report) * original.peak
        return lr.with_warmup(peak, self.warmup, num_steps, lambda n: lr.linear(peak, n))
