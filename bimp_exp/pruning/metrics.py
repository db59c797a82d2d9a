"""Sparsity, multiply-adds, theoretical speed-up, pruning stability, images per second of a plain model.

    speed-up = F_dense / F_sparse,  F_dense = sum_l m_l,  F_sparse = sum_l m_l * nonzero_l / size_l

where m_l are the multiply-adds of layer l for one item (ShrinkBench, Blalock et al. 2020), of every layer, also of one that is
never pruned. Biases, normalisation, activations, pooling and embeddings are not counted, products of attention only in
``speedup_with_attention``. Where a prunable weight is used in a way that cannot be counted, there is no total and no speed-up.
``padding_blind`` gives the counts of the paper's code instead of the exact ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bimp_exp.pruning.counting import count
from bimp_exp.pruning.weights import prunable


@dataclass(frozen=True, kw_only=True)
class LayerCount:
    """How many of a prunable tensor's weights are exactly zero."""

    name: str
    num_weights: int
    num_zeros: int


class Speedup(NamedTuple):
    """Multiply-adds of one item, dense and with zeros skipped, and their ratio; all None where a weight is not counted."""

    dense: int | None
    sparse: float | None
    speedup: float | None


def layer_counts(model: nn.Module, *, every_weight: bool = False) -> list[LayerCount]:
    """The table of the prunable weights, in module order."""
    weights = prunable(model, every_weight=every_weight)
    return [
        LayerCount(name=name, num_weights=weight.numel(), num_zeros=num_zeros)
        for (name, weight), num_zeros in zip(weights.items(), _num_zeros(weights.values()), strict=True)
    ]


def sparsity(counts: Iterable[LayerCount]) -> float:
    """Zeros / size over all layers of the table together; 0 for an empty table."""
    counts = list(counts)
    return _ratio(sum(c.num_zeros for c in counts), sum(c.num_weights for c in counts))


def sparsity_all_parameters(model: nn.Module) -> float:
    """Zeros / size over every parameter, biases and normalisation included."""
    parameters = list(model.parameters())
    return _ratio(sum(_num_zeros(parameters)), sum(p.numel() for p in parameters))


def not_prunable(model: nn.Module, *, every_weight: bool = False) -> dict[str, int]:
    """Size of each weight matrix (parameter of two or more dimensions) that is not prunable, by name, in module order.

    Embeddings, for example, and what no module that ``prunable`` knows has as its weight.
    """
    seen = {id(weight) for weight in prunable(model, every_weight=every_weight).values()}
    return {name: p.numel() for name, p in model.named_parameters() if p.ndim >= 2 and id(p) not in seen}


def multiply_adds(model: nn.Module, item: Any, *, padding_blind: bool = False) -> dict[str, int | None]:
    """Multiply-adds of one item for each weight, by name; None for one that cannot be counted.

    item: what the model is given for it, or the shape of that without the batch, of which an all-zero tensor is made.

    As ``bimp_exp.pruning.counting.count`` counts them, which also says what ``padding_blind`` is.
    """
    return count(model, item, padding_blind=padding_blind).weights


def total(multiply_adds: Mapping[str, int | None]) -> int | None:
    """Of all weights together; None where one is not counted."""
    counted = [num for num in multiply_adds.values() if num is not None]
    return sum(counted) if len(counted) == len(multiply_adds) else None


def theoretical_speedup(
    multiply_adds: Mapping[str, int | None], counts: Iterable[LayerCount], *, padding_blind: bool = False
) -> Speedup:
    """From ``multiply_adds(model, ...)`` and ``layer_counts(model)``; infinite where no multiply-add is left.

    ``padding_blind`` truncates the sparse total to a whole number, as the published code does.
    """
    by_name = {c.name: c for c in counts}
    dense = total(multiply_adds)
    if dense is None:
        return Speedup(None, None, None)
    kept = {name: (c.num_weights - c.num_zeros) / c.num_weights for name, c in by_name.items()}
    sparse = math.fsum(num * kept.get(name, 1.0) for name, num in multiply_adds.items() if num)
    if padding_blind:
        sparse = float(int(sparse))
    return Speedup(dense, sparse, dense / sparse if sparse else math.inf)


def speedup_with_attention(speedup: Speedup, attention: int) -> float | None:
    """The ratio with the products of ``attention``, which no pruning saves, in both; None where there are none, or no ratio."""
    dense, sparse, _ = speedup
    if dense is None or sparse is None or not attention:
        return None
    return (dense + attention) / (sparse + attention)


def pruning_stability(before: float, after: float, *, clipped: bool) -> float | None:
    """1 - (before - after) / before, of the test metrics right before and right after pruning.

    Above 1 where pruning helped; ``clipped`` keeps it in [0, 1]. None where ``before`` is 0: nothing to keep.
    """
    if before == 0:
        return None
    stability = 1 - (before - after) / before
    return min(max(stability, 0.0), 1.0) if clipped else stability


def images_per_second(sizes: Sequence[int], seconds: Sequence[float], *, mean_of_rates: bool) -> float | None:
    """All images / all seconds of some steps, given the size and the duration of each; None without steps.

    ``mean_of_rates`` is the published code's number: the mean over the steps of images / seconds.
    """
    steps = list(zip(sizes, seconds, strict=True))
    if not steps:
        return None
    if mean_of_rates:
        return math.fsum(num_images / duration for num_images, duration in steps) / len(steps)
    return sum(sizes) / math.fsum(seconds)


def _num_zeros(tensors: Iterable[Tensor]) -> list[int]:
    """One transfer from the device for all tensors together."""
    counts = [(tensor == 0).sum() for tensor in tensors]
    numbers: list[int] = torch.stack(counts).tolist() if counts else []
    return numbers


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
