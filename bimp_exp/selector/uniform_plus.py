"""Uniform+: Uniform, but the first convolution is left alone and the last layer keeps a fifth (Gale et al. 2019).

    count_l = round(f R_l),  f = P / sum_l R_l over all layers but the first, P = how many weights are pruned now

As in Lee et al. 2021 the others make up for both: where f would leave the last layer (n weights) fewer than
m = round(0.2 n), it loses R - m and the layers between share the rest of P. A first layer that is linear is not spared. Where
the last layer of the network is never pruned (T5, whose output layer is its embedding), no other takes its part: T5, which has
no convolution either, is pruned as by Uniform.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bimp_exp.errors import ConfigError
from bimp_exp.selector.base import Layer, PerLayer, PruningTarget
from bimp_exp.types import Share


@dataclass(frozen=True, kw_only=True)
class UniformPlus(PerLayer):
    """``last_keeps`` is the share of its weights that the last layer keeps at least."""

    last_keeps: Share

    def without_last_layer(self) -> UniformPlus:
        """All of ``layers`` come before the last one."""
        return replace(self, last_keeps=0.0)

    def counts(self, layers: Sequence[Layer], target: PruningTarget) -> list[int]:
        """Infeasible where more is to be pruned than the middle layers and the share of the last one have."""
        num_weights = sum(layer.num_weights for layer in layers)
        num_pruned = num_weights - sum(layer.num_left for layer in layers)
        num = max(0, target.total_pruned - num_pruned)
        spared = 1 if layers[0].is_conv else 0
        *middle, last = [layer.num_left for layer in layers[spared:]] or [0]
        from_last = max(0, last - round(self.last_keeps * layers[-1].num_weights))
        if num > sum(middle) + from_last:
            most = (num_pruned + sum(middle) + from_last) / num_weights
            raise ConfigError(
                f"sparsity: selector=uniform_plus cannot remove {target.total_pruned} of {num_weights} weights, because "
                f"{'the first convolution keeps all and ' * spared}the last layer {self.last_keeps:g} of its own; "
                f"choose at most {math.floor(most * 1e4) / 1e4:g}, or another selector"
            )
        share = num / max(1, sum(middle) + last)
        if last - round((1 - share) * last) <= from_last:
            from_last = min(from_last, round(share * last))
        else:
            share = (num - from_last) / sum(middle)
        return [0] * spared + [round(share * left) for left in middle] + [from_last] * (len(layers) > spared)
