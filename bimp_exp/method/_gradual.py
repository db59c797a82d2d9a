"""The cubic sparsity schedule of gradual pruning (Zhu & Gupta 2017), and exact masks at a sparsity.

K = floor(T / I) - 1 prunings at the ends of the epochs I, 2I, ..., KI; S_k = S (1 - (1 - k / K)^3) (published code).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from bimp_exp.errors import ConfigError
from bimp_exp.method.base import Setting
from bimp_exp.pruning import weights as prune
from bimp_exp.selector.base import Cut, Masks


def num_prunings(epochs: float, interval: int) -> int:
    """K; ConfigError where not even one fits."""
    count = int(epochs // interval) - 1
    if count < 1:
        raise ConfigError(f"method.interval={interval} must be at most half of the {epochs:g} epochs of training")
    return count


def sparsity_after(k: int, count: int, final: float) -> float:
    """S_k, in [0, final]."""
    return gradual_sparsity(k, initial=0.0, final=final, begin=0, num_steps=count)


def gradual_sparsity(step: float, *, initial: float, final: float, begin: int, num_steps: int) -> float:
    """s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))^3, held before ``begin`` and after ``num_steps`` more steps."""
    progress = min(max((step - begin) / num_steps, 0.0), 1.0)
    return final + (initial - final) * (1 - progress) ** 3


def num_pruned_after(k: int, count: int, final: float, num_weights: int, *, per_event: bool) -> int:
    """How many of ``num_weights`` are gone after event k: round(S_k N).

    ``per_event`` (published code, hard pruning): every event i adds round((1 - (1 - S_i) / (1 - S_(i-1))) * remaining).
    """
    if not per_event:
        return round(sparsity_after(k, count, final) * num_weights)
    gone = 0
    for i in range(1, k + 1):
        before, after = (sparsity_after(j, count, final) for j in (i - 1, i))
        gone += round((1 - (1 - after) / (1 - before)) * (num_weights - gone))
    return gone


def exact(setting: Setting, weights: Mapping[str, Tensor], num_pruned: int, masks: Masks | None = None) -> Masks:
    """Masks without ``num_pruned`` of all ``weights``, chosen anew or, where there are any, on top of ``masks``."""
    num_gone = prune.num_gone(masks) if masks else 0
    num_pruned = max(num_gone, num_pruned)
    left = setting.num_weights - num_gone
    fraction = (num_pruned - num_gone) / left if left else 0.0
    return setting.selector(weights, masks or setting.everything, Cut(fraction=fraction, num_pruned=num_pruned))
