"""The cubic sparsity schedule of gradual pruning (Zhu & Gupta 2017), and masks that prune exactly so many weights.

K = floor(T / I) - 1 prunings at the ends of the epochs I, 2I, ..., KI; S_k = S (1 - (1 - k / K)^3) (published code).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from bimp_exp.errors import ConfigError
from bimp_exp.method.base import MethodContext
from bimp_exp.pruning import weights as prune
from bimp_exp.selector.base import Masks, PruningTarget, select


def num_prunings(epochs: float, interval: int) -> int:
    """K; ConfigError where not even one fits."""
    count = int(epochs // interval) - 1
    if count < 1:
        raise ConfigError(f"method.interval={interval} must be at most half of the {epochs:g} epochs of training")
    return count


def pruning_after(context: MethodContext, step: int, interval: int) -> int | None:
    """k in 1..K where the k-th pruning comes right after ``step`` (0-based), else None."""
    k, rest = divmod(step + 1, interval * context.steps_per_epoch)
    return k if rest == 0 and 1 <= k <= num_prunings(context.epochs, interval) else None


def sparsity_after(k: int, count: int, final: float) -> float:
    """S_k, in [0, final].

    >>> [sparsity_after(k, 2, 0.8) for k in (0, 1, 2)]
    [0.0, 0.7000000000000001, 0.8]
    """
    return gradual_sparsity(k, initial=0.0, final=final, begin=0, num_steps=count)


def gradual_sparsity(step: float, *, initial: float, final: float, begin: int, num_steps: int) -> float:
    """s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))^3, held before ``begin`` and after ``num_steps`` more steps."""
    progress = min(max((step - begin) / num_steps, 0.0), 1.0)
    return final + (initial - final) * (1 - progress) ** 3


def num_pruned_after(k: int, count: int, final: float, num_weights: int, *, per_event: bool = False) -> int:
    """How many of ``num_weights`` are pruned after pruning k of ``count``: round(S_k N).

    per_event: as in the published code's hard pruning, each i prunes round((1 - (1 - S_i) / (1 - S_(i-1))) * remaining) more.

    >>> num_pruned_after(2, 2, 0.8, 12), num_pruned_after(2, 2, 0.8, 12, per_event=True)
    (10, 9)
    """
    if not per_event:
        return round(sparsity_after(k, count, final) * num_weights)
    pruned = 0
    for i in range(1, k + 1):
        before, after = (sparsity_after(j, count, final) for j in (i - 1, i))
        pruned += round((1 - (1 - after) / (1 - before)) * (num_weights - pruned))
    return pruned


def prune_to(
    context: MethodContext, total_pruned: int, *, scored: Mapping[str, Tensor] | None = None, masks: Masks | None = None
) -> Masks:
    """New masks, by the run's selector, that prune ``total_pruned`` weights of the network.

    scored: None, or what the selector gets in place of the weights, of their names and shapes.
    masks: None, or what is pruned already and stays so.
    """
    already = prune.num_pruned(masks) if masks else 0
    total_pruned = max(already, total_pruned)
    left = context.num_weights - already
    fraction = (total_pruned - already) / left if left else 0.0
    target = PruningTarget(fraction_of_remaining=fraction, total_pruned=total_pruned)
    return select(context.selector, context.weights if scored is None else scored, masks or context.all_kept, target)
