"""The report of a pruning, which a retraining schedule reads, and how to measure it. Imports no PyTorch before it measures.

Take a ``snapshot`` of the model, prune the model by whatever means, then call ``PruneReport.measure``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def snapshot(model: nn.Module, *, every_weight: bool = False) -> dict[str, Tensor]:
    """Copies of the prunable weights that ``model`` computes with, by name, parametrised or not.

    every_weight: as in ``bimp_exp.pruning.weights.prunable``.
    """
    from bimp_exp.pruning import weights

    every = weights.effective_prunable(model, every_weight=every_weight)
    return {name: weight.detach().clone() for name, weight in every.items()}


@dataclass(frozen=True, kw_only=True)
class PruneReport:
    """Damage that a pruning did to the network, and the time there is to repair it.

    fraction: share s of the weights not yet pruned that was pruned now, in [0, 1].
    removed_norm: L2 norm ||W - W^p|| of what was removed.
    norm_all: L2 norm ||W|| just before, over all weights and biases with batch-norm.
    norm_prunable: the same over the prunable weights alone.
    length_ratio: retraining length T_rt of this cycle over T, the length of dense training or ``schedule.reference_epochs``.
    train_metric_dense: metric of the dense network on the training data, in [0, 1]; None where it was not measured.
    train_metric_pruned: the same right after this pruning.
    """

    fraction: float
    removed_norm: float
    norm_all: float
    norm_prunable: float
    length_ratio: float
    train_metric_dense: float | None
    train_metric_pruned: float | None

    @classmethod
    def measure(
        cls,
        before: Mapping[str, Tensor],
        model: nn.Module,
        *,
        retrain_epochs: float,
        epochs: float,
        fraction: float | None = None,
        train_metric_dense: float | None = None,
        train_metric_pruned: float | None = None,
    ) -> PruneReport:
        """The report on a pruning of ``model`` that has just been done.

        before: ``snapshot(model)`` of just before it; what is 0 there counts as pruned already.
        retrain_epochs: of the retraining that comes now.
        epochs: of dense training.
        fraction: None, or the share that was asked for; measured, it is the share of the nonzero weights that are 0 now.
        train_metric_dense, train_metric_pruned: only AccALLR reads them, and refuses a report without them.

        Of the weights 3 and 4 the 3 is removed, so ||W - W^p|| = 3 and ||W|| = 5, or 13 with a bias of 12:

        >>> import torch
        >>> layer = torch.nn.Linear(2, 1)
        >>> _ = layer.load_state_dict({"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.tensor([12.0])})
        >>> before = snapshot(layer)
        >>> with torch.no_grad():
        ...     _ = layer.weight.mul_(torch.tensor([[0.0, 1.0]]))
        >>> report = PruneReport.measure(before, layer, retrain_epochs=10, epochs=40)
        >>> report.fraction, report.removed_norm, report.norm_prunable, report.norm_all, report.d2
        (0.5, 3.0, 5.0, 13.0, 0.25)
        >>> round(report.d1(), 4)  # 3 / (13 sqrt(0.5))
        0.3264
        """
        from bimp_exp.pruning import weights

        after = weights.effective(model, before)
        norm_prunable = weights.norm(before.values())
        return cls(
            fraction=_fraction_pruned(before, after) if fraction is None else fraction,
            removed_norm=weights.norm(before[name] - after[name] for name in before),
            norm_all=math.hypot(norm_prunable, weights.norm(weights.other_weights_and_biases(model, before))),
            norm_prunable=norm_prunable,
            length_ratio=retrain_epochs / epochs,
            train_metric_dense=train_metric_dense,
            train_metric_pruned=train_metric_pruned,
        )

    def d1(self, norm: str = "all") -> float:
        """||W - W^p|| / (||W|| sqrt(s)) (paper, Section 2.1), 0 where nothing is pruned or W = 0.

        norm: "all", or "prunable" for a ||W|| over the prunable weights alone.
        """
        before = self.norm_all if norm == "all" else self.norm_prunable
        scale = before * math.sqrt(self.fraction)
        return self.removed_norm / scale if scale else 0.0

    @property
    def d2(self) -> float:
        """min(T_rt / T, 1) (paper, Section 2.1); T is the length of dense training, T_0 in BIMP."""
        return min(self.length_ratio, 1.0)


def _fraction_pruned(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """Share of what was not 0 that is 0 now; 0 where all was 0."""
    num_left = sum(int((weight != 0).sum()) for weight in before.values())
    num_now = sum(int(((weight != 0) & (after[name] == 0)).sum()) for name, weight in before.items())
    return num_now / num_left if num_left else 0.0
