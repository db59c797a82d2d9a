"""Retraining schedules: functions of the original schedule, the number of steps and the report of the pruning before.

Symbols (paper, Section 2.1): the original schedule's peak and floor are eta_1 and eta_T; a cycle retrains for n steps, of
which floor(warmup * n) are a short cosine warm-up from 0. Imports no PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bimp_exp.lr import Schedule, linear
from bimp_exp.pruning.report import PruneReport as PruneReport  # the schedules take it from here
from bimp_exp.schedule._rates import with_warmup
from bimp_exp.types import Share

if TYPE_CHECKING:
    import torch


class Retraining:
    """A retraining schedule: base of the options of ``conf/schedule/``."""

    extra_pass: ClassVar[bool] = False
    """Whether it needs a pass over the training data after every pruning, for ``train_metric_pruned``."""

    adaptive: ClassVar[bool] = True
    """Whether the rates depend on what the pruning did. Where not, they follow from the original schedule, the number of steps
    and what the plan knows of the report, ``fraction`` and ``length_ratio``."""

    reference_epochs: int | None = None
    """T of d2 = T_rt / T where it is not the length of dense training: Figures 6 and 7 shorten that and leave d2 as it was."""

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport) -> Schedule:
        """The learning rates of retraining.

        original: the rates of dense training.
        num_steps: n, at least 1.
        report: of the pruning before.
        """
        raise NotImplementedError

    def lr_scheduler(
        self, optimizer: torch.optim.Optimizer, *, original: Schedule, num_steps: int, report: PruneReport
    ) -> torch.optim.lr_scheduler.LambdaLR:
        """These rates for a loop of one's own: call ``step()`` after every ``optimizer.step()``.

        >>> import torch
        >>> from bimp_exp.lr import linear
        >>> from bimp_exp.schedule.allr_d2 import ALLRd2
        >>> report = PruneReport(
        ...     fraction=0.5, removed_norm=1.0, norm_all=4.0, norm_prunable=2.0, length_ratio=0.4,
        ...     train_metric_dense=1.0, train_metric_pruned=0.6,
        ... )
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        >>> schedule = ALLRd2(warmup=0.0)  # d = 0.4
        >>> scheduler = schedule.lr_scheduler(optimizer, original=linear(0.1, 10), num_steps=4, report=report)
        >>> for _ in range(4):
        ...     print(round(scheduler.get_last_lr()[0], 3))
        ...     optimizer.step()
        ...     scheduler.step()
        0.04
        0.03
        0.02
        0.01
        """
        return self(original, num_steps, report).lr_scheduler(optimizer)


@dataclass(frozen=True, kw_only=True)
class Discounted(Retraining):
    """Linear from d * eta_1 to 0 after a warm-up, with the discount d of the subclass."""

    warmup: Share

    def discount(self, report: PruneReport) -> float:
        """d in [0, 1]."""
        raise NotImplementedError

    def __call__(self, original: Schedule, num_steps: int, report: PruneReport) -> Schedule:
        peak = self.discount(report) * original.peak
        return with_warmup(peak, self.warmup, num_steps, lambda n: linear(peak, n))
