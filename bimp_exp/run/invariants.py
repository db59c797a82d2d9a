"""What must be true of every run, checked while it goes on and written into its result.

The checks use what is computed anyway or cost one pass over the weights per epoch. One that fails stops the run: its numbers
would mean nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bimp_exp.errors import InvariantError
from bimp_exp.selector.base import Masks

TOLERANCE = 1e-5  # of the largest output


@dataclass(kw_only=True)
class Invariants:
    """checks: for each invariant, how often it was found to hold. masks: as they were at the last check."""

    checks: Counter[str] = field(default_factory=Counter)
    masks: Masks = field(default_factory=dict)

    def check_masks(self, zeros: Mapping[str, Tensor], masks: Masks) -> None:
        """After an optimiser step or a pruning: pruned weights are zero, and masks are nested.

        zeros: where the effective weights are 0. Without masks there is nothing to check.
        """
        if masks:
            revived = [name for name, mask in masks.items() if not bool((zeros[name] | mask).all())]
            self._record("pruned_weights_are_zero", not revived, f"pruned weights of {', '.join(revived)} are not 0")
        if masks and self.masks:
            grown = [name for name, mask in masks.items() if bool((mask & ~self.masks[name]).any())]
            self._record("masks_only_shrink", not grown, f"pruned weights of {', '.join(grown)} have come back")
        self.masks = {name: mask.clone() for name, mask in masks.items()}

    def check_count(self, found: int, wanted: int, slack: float, *, at_least: bool) -> None:
        """The number of pruned weights is the one ``wanted``, but for a ``slack`` by rounding per layer.

        at_least: more may be pruned.
        """
        holds = wanted - found <= slack and (at_least or found - wanted <= slack)
        name = "exact_count" if found == wanted else "count_within_rounding"
        self._record(name, holds, f"sparsity: {found} weights are pruned, {wanted} were to be (within {slack:g})")

    def check_unprunable(self, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
        """Biases, batch-norm and its statistics have the same bits after a pruning as before it."""
        touched = [name for name, value in before.items() if not torch.equal(value, after[name])]
        self._record("others_untouched", not touched, f"pruning has changed {', '.join(touched)}")

    def check_outputs(self, found: Tensor, wanted: Tensor) -> None:
        """The plain network read back from its file gives the outputs of the one that was evaluated."""
        largest = float((found - wanted).abs().max())
        same = largest <= TOLERANCE * max(1.0, float(wanted.abs().max()))
        self._record("saved_network_is_the_evaluated_one", same, f"the outputs of model.pt differ by {largest:g}")

    def _record(self, name: str, holds: bool, otherwise: str) -> None:
        if not holds:
            raise InvariantError(f"{name} does not hold: {otherwise}; this is a bug in the method or in bimp-exp")
        self.checks[name] += 1
