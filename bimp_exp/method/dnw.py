"""DNW, discovering neural wirings: the goal's mask in every forward pass, gradients to every weight (Wortsman et al. 2019).

Global as in the paper (Section 3.3); ``selector=uniform`` is the authors' form, the same share of every layer. It equals DPF
with a new mask after every step, at constant sparsity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from bimp_exp.errors import ConfigError
from bimp_exp.method import _parametrize
from bimp_exp.method._gradual import exact
from bimp_exp.method.base import Method, Prunes, Setting
from bimp_exp.selector._smallest import smallest
from bimp_exp.selector._vector import join, part
from bimp_exp.selector.base import Masks
from bimp_exp.selector.global_ import Global

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass(kw_only=True)
class DNW(Method):
    """The mask is always that of the stored weights as they are, so the final prune changes nothing.

    ``strict_threshold`` (published code): what stays is strictly larger than the int(S N)-th smallest |w| of the network, so
    weights equal to it go too, and int() may lose one: int(0.29 * 100) is 28.
    """

    prunes: ClassVar[Prunes] = "while training"

    strict_threshold: bool
    masked: dict[str, _parametrize.Masked] = field(init=False, repr=False)

    def check(self, setting: Setting) -> None:
        """See Method; ``strict_threshold`` needs the selector global."""
        if self.strict_threshold and not isinstance(setting.selector, Global):
            raise ConfigError(
                "method.strict_threshold=true is the published code's global threshold: selector must be global, "
                "or conventions.dnw_strict_threshold false"
            )

    def attach(self, setting: Setting) -> None:
        """See Method."""
        super().attach(setting)
        self.masked = _parametrize.attach(setting.model, setting.weights, _parametrize.Masked)
        self.choose()

    @property
    def slack(self) -> int:
        """See Method; int() may lose one."""
        return int(self.strict_threshold)

    def on_step(self, step: int, optimizer: Optimizer) -> None:
        """See Method."""
        self.choose()

    def choose(self) -> None:
        """The mask of the stored weights at the goal."""
        setting = self.setting
        masks = (
            _above_threshold(setting) if self.strict_threshold else exact(setting, setting.weights, setting.num_pruned)
        )
        _parametrize.multiply(self.masked, setting.weights, masks)

    def detach(self) -> None:
        """See Method."""
        _parametrize.detach(self.setting.model, self.setting.weights)


def _above_threshold(setting: Setting) -> Masks:
    """|w| > tau, the int(S N)-th smallest |w|; everything where int(S N) = 0."""
    num_pruned = int(setting.sparsity * setting.num_weights)
    if num_pruned == 0:
        return setting.everything
    weights = list(setting.weights.values())
    sizes = join([weight.detach() for weight in weights]).abs()
    threshold = sizes.masked_fill(~smallest(sizes, num_pruned), 0.0).amax()
    return dict(zip(setting.weights, part(sizes > threshold, weights), strict=True))
