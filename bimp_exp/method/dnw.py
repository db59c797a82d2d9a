"""DNW, discovering neural wirings: the goal's mask in every forward pass, gradients to every weight (Wortsman et al. 2019).

Global as in the paper (Section 3.3); ``selector=uniform`` is the authors' form, the same share of every layer. It equals DPF
with a new mask after every step, at constant sparsity. The mask is always that of the stored weights as they are, so applying it
at the end changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from bimp_exp.errors import ConfigError
from bimp_exp.method.base import MethodContext
from bimp_exp.method.gradual import prune_to
from bimp_exp.method.masked import MaskedMethod
from bimp_exp.selector._smallest import smallest
from bimp_exp.selector._vector import join, part
from bimp_exp.selector.base import Masks
from bimp_exp.selector.global_ import Global


@dataclass(frozen=True, kw_only=True)
class DNW(MaskedMethod):
    """``strict_threshold`` (published code): only what is strictly larger than the int(S N)-th smallest |w| stays.

    So weights equal to it are pruned too, and int() may lose one: int(0.29 * 100) is 28.
    """

    strict_threshold: bool

    def check(self, context: MethodContext) -> None:
        """``strict_threshold`` needs the selector global."""
        if self.strict_threshold and not isinstance(context.selector, Global):
            raise ConfigError(
                "method.strict_threshold=true is the published code's global threshold: selector must be global, "
                "or conventions.dnw_strict_threshold false"
            )

    def choose(self, context: MethodContext, step: int) -> Masks:
        """The mask of the stored weights at the goal, after every step."""
        return _above_threshold(context) if self.strict_threshold else prune_to(context, context.num_pruned)

    def slack(self, context: MethodContext) -> int:
        """int() may lose one."""
        return int(self.strict_threshold)


def _above_threshold(context: MethodContext) -> Masks:
    """|w| > tau, the int(S N)-th smallest |w|; everything where int(S N) = 0."""
    total_pruned = int(context.sparsity * context.num_weights)
    if total_pruned == 0:
        return context.all_kept
    weights = [weight.detach() for weight in context.weights.values()]
    sizes = join(weights).abs()
    threshold = sizes.masked_fill(~smallest(sizes, total_pruned), 0.0).amax()
    return dict(zip(context.weights, part(sizes > threshold, weights), strict=True))
