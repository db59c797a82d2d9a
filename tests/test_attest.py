"""Every invariant, broken once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bimp_exp.errors import InvariantError
from bimp_exp.run.invariants import Attest

KEEP_FIRST = {"w": torch.tensor([True, False])}
KEEP_SECOND = {"w": torch.tensor([False, True])}
KEEP_NONE = {"w": torch.tensor([False, False])}


def zeros(*values: bool) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor(values)}


BROKEN: dict[str, Callable[[Attest], None]] = {
    "pruned_weights_are_zero.*w are not 0": lambda a: a.held(zeros(False, False), KEEP_FIRST),
    "masks_only_shrink.*w have come back": lambda a: [
        a.held(zeros(False, True), KEEP_FIRST),
        a.held(zeros(True, False), KEEP_SECOND),
    ],  # type: ignore[dict-item, return-value]
    "sparsity: 2 weights are pruned, 3 were to be": lambda a: a.count(2, 3, 0.0, at_least=True),
    "sparsity: 4 weights are pruned, 3 were to be": lambda a: a.count(4, 3, 0.5, at_least=False),
    "pruning has changed bias": lambda a: a.others_untouched({"bias": torch.zeros(2)}, {"bias": torch.ones(2)}),
    r"outputs of model.pt differ by 0\.5": lambda a: a.same_outputs(torch.tensor([1.5]), torch.tensor([1.0])),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_invariant_stops_the_run(message: str) -> None:
    with pytest.raises(InvariantError, match=message):
        BROKEN[message](Attest())


def test_what_holds_is_counted() -> None:
    attest = Attest()
    attest.held(zeros(False, True), KEEP_FIRST)
    attest.held(zeros(True, True), KEEP_FIRST)  # a kept weight may be 0 by itself
    attest.held(zeros(True, True), KEEP_NONE)
    attest.count(3, 3, 0.0, at_least=False)
    attest.count(4, 3, 1.0, at_least=False)
    attest.count(9, 3, 0.0, at_least=True)
    attest.others_untouched({"bias": torch.ones(2)}, {"bias": torch.ones(2)})
    attest.same_outputs(torch.tensor([100.0005]), torch.tensor([100.0]))
    assert attest.checks == {
        "pruned_weights_are_zero": 3,
        "masks_only_shrink": 2,
        "exact_count": 1,
        "count_within_rounding": 2,
        "others_untouched": 1,
        "saved_network_is_the_evaluated_one": 1,
    }


def test_no_masks_no_check() -> None:
    attest = Attest()
    attest.held(zeros(False, False), {})
    assert not attest.checks
