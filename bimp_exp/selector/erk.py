"""ERK, Erdős-Rényi kernel: what survives in a layer is proportional to the sum of its weight's dimensions (Evci et al. 2020).

    keep_l = round(K e_l / sum_l e_l),  K = (1 - s) sum_l R_l,  e_l = out + in + height + width (linear: out + in)

over the layers that are not kept whole. While a layer is to keep more than the R_l weights that it has left, the one with the
largest ratio keep_l / R_l is kept whole and leaves the sums (Lee et al. 2021; RigL takes all layers of that ratio at once).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bimp_exp.selector.base import Layer, PerLayer, PruningTarget


@dataclass(frozen=True, kw_only=True)
class ERK(PerLayer):
    """Small layers keep most, large ones little; no layer is special by its place."""

    def counts(self, layers: Sequence[Layer], target: PruningTarget) -> list[int]:
        """R_l - keep_l."""
        left = [layer.num_left for layer in layers]
        edges = [sum(layer.shape) for layer in layers]
        keep = list(left)
        budget = (1 - target.fraction_of_remaining) * sum(left)
        thinned = [i for i in range(len(layers)) if left[i]]  # a layer that has nothing left keeps that
        while thinned:
            total = sum(edges[i] for i in thinned)
            for i in thinned:
                keep[i] = round(budget * edges[i] / total)
            whole = max(thinned, key=lambda i: keep[i] / left[i])
            if keep[whole] <= left[whole]:
                break
            keep[whole] = left[whole]
            budget -= left[whole]
            thinned.remove(whole)
        return [before - after for before, after in zip(left, keep, strict=True)]
