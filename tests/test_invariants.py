"""Every invariant, broken once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bimp_exp.errors import InvariantError
from bimp_exp.run.invariants import Invariants

KEEP_FIRST = {"w": torch.tensor([True, False])}
KEEP_SECOND = {"w": torch.tensor([False, True])}
KEEP_NONE = {"w": torch.tensor([False, False])}


def zeros(*values: bool) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor(values)}


BROKEN: dict[str, Callable[[Invariants], None]] = {
    "pruned_weights_are_zero.*w are not 0": lambda a: a.check_masks(zeros(False, False), KEEP_FIRST),
    "masks_only_shrink.*w have come back": lambda a: [
        a.check_masks(zeros(False, True), KEEP_FIRST),
        a.check_masks(zeros(True, False), KEEP_SECOND),
    ],  # type: ignore[dict-item, return-value]
    "sparsity: 2 weights are pruned, 3 were to be": lambda a: a.check_count(2, 3, 0.0, at_least=True),
    "sparsity: 4 weights are pruned, 3 were to be": lambda a: a.check_count(4, 3, 0.5, at_least=False),
    "pruning has changed bias": lambda a: a.check_unprunable({"bias": torch.zeros(2)}, {"bias": torch.ones(2)}),
    r"outputs of model.pt differ by 0\.5": lambda a: a.check_outputs(torch.tensor([1.5]), torch.tensor([1.0])),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_invariant_stops_the_run(message: str) -> None:
    with pytest.raises(InvariantError, match=message):
        BROKEN[message](Invariants())


def test_what_holds_is_counted() -> None:
    invariants = Invariants()
    invariants.check_masks(zeros(False, True), KEEP_FIRST)
    invariants.check_masks(zeros(True, True), KEEP_FIRST)  # a kept weight may be 0 by itself
    invariants.check_masks(zeros(True, True), KEEP_NONE)
    invariants.check_count(3, 3, 0.0, at_least=False)
    invariants.check_count(4, 3, 1.0, at_least=False)
    invariants.check_count(9, 3, 0.0, at_least=True)
    invariants.check_unprunable({"bias": torch.ones(2)}, {"bias": torch.ones(2)})
    invariants.check_outputs(torch.tensor([100.0005]), torch.tensor([100.0]))
    assert invariants.checks == {
        "pruned_weights_are_zero": 3,
        "masks_only_shrink": 2,
        "exact_count": 1,
        "count_within_rounding": 2,
        "others_untouched": 1,
        "saved_network_is_the_evaluated_one": 1,
    }


def test_no_masks_no_check() -> None:
    invariants = Invariants()
    invariants.check_masks(zeros(False, False), {})
    assert not invariants.checks
