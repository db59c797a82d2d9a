"""Epochs and sparsities of every budget, and how many weights each pruning takes."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bimp_exp.budget import BIMP, IMP, Dense, Renda, fraction_per_cycle
from bimp_exp.errors import ConfigError
from bimp_exp.pruning.weights import target_count
from tests.conftest import golden


def pruned_per_cycle(num_weights: int, sparsity: float, cycles: int, *, per_cycle: bool) -> list[int]:
    """Weights removed in every cycle."""
    pruned = [0]
    for phase in IMP(finetune_epochs=0, epochs=1, retrain_epochs=1, retrain_fraction=None, cycles=cycles).phases(
        sparsity
    )[1:]:
        pruned.append(target_count(phase, num_weights, pruned[-1], per_cycle=per_cycle))
    return [b - a for a, b in pairwise(pruned)]


@pytest.mark.parametrize("case", golden("imp_cycles", kind="imp_fractions"))
def test_golden_fractions_and_counts(case: dict[str, Any]) -> None:
    n, s, cycles = (case["inputs"][key] for key in ("n_prunable", "target_sparsity", "cycles"))
    expected = case["expected"]
    assert fraction_per_cycle(s, cycles) == pytest.approx(expected["fraction_of_remaining_per_cycle"], abs=1e-9)
    phases = IMP(finetune_epochs=0, epochs=1, retrain_epochs=1, retrain_fraction=None, cycles=cycles).phases(s)[1:]
    assert [p.sparsity for p in phases] == pytest.approx(expected["cumulative_sparsity"], abs=1e-9)
    for key, per_cycle in (("recommended_cumulative_target", False), ("bimp_code", True)):
        found = pruned_per_cycle(n, s, cycles, per_cycle=per_cycle)
        assert found == expected[key]["pruned_per_cycle"]
        assert sum(found) == expected[key]["total_zeros"]


@pytest.mark.parametrize("case", golden("imp_cycles", kind="bimp_epoch_split"))
def test_golden_bimp_split(case: dict[str, Any]) -> None:
    total, first, cycles = (case["inputs"][key] for key in ("total_epochs", "initial_epochs", "cycles"))
    phases = BIMP(finetune_epochs=0, epochs=total, dense_epochs=first, retrain_epochs=None, cycles=cycles).phases(0.9)
    assert [p.epochs for p in phases] == [first, *case["expected"]["retrain_epochs_per_cycle"]]


@pytest.mark.parametrize("case", golden("imp_cycles", kind="renda_cycles"))
def test_golden_renda(case: dict[str, Any]) -> None:
    s, fraction = case["inputs"]["target_sparsity"], case["inputs"]["fraction_per_cycle"]
    budget = Renda(finetune_epochs=0, epochs=7, fraction=fraction, cycles=None, paper_cycles=False)
    assert budget.num_cycles(s) == case["expected"]["cycles_needed_to_reach_target_ceil"]
    phases = budget.phases(s)
    assert {p.epochs for p in phases} == {7}
    assert phases[-1].sparsity == s  # the last cycle hits the goal, which exactly 20 % a cycle would overshoot
    given_cycles = Renda(finetune_epochs=0, epochs=7, fraction=fraction, cycles=10, paper_cycles=False).phases(0.9)
    assert len(given_cycles) == 11
    assert given_cycles[1].fraction == pytest.approx(0.20567, abs=1e-5)  # the paper's 10 cycles for 90 %


@pytest.mark.parametrize(("sparsity", "cycles"), [(0.9, 10), (0.95, 14), (0.98, 18), (0.5, 4)])
def test_the_papers_numbers_of_cycles(sparsity: float, cycles: int) -> None:
    """2,000, 2,800 and 3,600 epochs of retraining (Section 3.2); 0.8^3 = 0.512, so 50 % take four."""
    budget = Renda(finetune_epochs=0, epochs=200, fraction=0.2, cycles=None, paper_cycles=True)
    assert budget.total(sparsity) == 200 + cycles * 200
    assert Renda(finetune_epochs=0, epochs=200, fraction=0.2, cycles=3, paper_cycles=True).num_cycles(sparsity) == 3


def test_imp_adds_cycles_to_dense_training_and_bimp_splits_what_is_there() -> None:
    imp = IMP(finetune_epochs=0, epochs=200, retrain_epochs=2.5, retrain_fraction=None, cycles=3)
    assert [p.epochs for p in imp.phases(0.9)] == [200, 2.5, 2.5, 2.5]
    assert imp.total(0.9) == 207.5
    bimp = BIMP(finetune_epochs=0, epochs=200, dense_epochs=60, retrain_epochs=40, cycles=3)
    assert [p.epochs for p in bimp.phases(0.9)] == [60, 40, 40, 40]
    assert bimp.total(0.9) == 200
    assert [p.epochs for p in Dense(finetune_epochs=0, epochs=9).phases(0.9)] == [9]


def test_a_fraction_of_dense_training_is_the_same_cycle_as_its_epochs() -> None:
    """2.5, 5, 10 and 25 % of 200 are the 5, 10, 20 and 50 epochs of Table 4; whole numbers, so the phases are shared."""
    for fraction, epochs in ((0.025, 5), (0.05, 10), (0.1, 20), (0.25, 50), (0.0125, 2.5)):
        imp = IMP(finetune_epochs=0, epochs=200, retrain_epochs=None, retrain_fraction=fraction, cycles=2)
        assert repr([p.epochs for p in imp.phases(0.9)]) == repr([200, epochs, epochs])
    thirds = IMP(finetune_epochs=0, epochs=3, retrain_epochs=None, retrain_fraction=0.1, cycles=1)
    assert thirds.total(0.9) == 3.3  # 0.1 * 3 is 0.30000000000000004


@pytest.mark.parametrize(("epochs", "fraction"), [(5, 0.1), (None, None), (0, 0.0)])
def test_one_key_says_how_long_a_cycle_is(epochs: float | None, fraction: float | None) -> None:
    with pytest.raises(ConfigError, match=r"budget\.retrain_epochs.* and budget\.retrain_fraction"):
        IMP(finetune_epochs=0, epochs=9, retrain_epochs=epochs, retrain_fraction=fraction, cycles=1).phases(0.9)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"epochs": 30, "dense_epochs": 30, "retrain_epochs": None, "cycles": 1}, r"budget\.dense_epochs=30 .*=30"),
        ({"epochs": 30, "dense_epochs": 20, "retrain_epochs": 4, "cycles": 3}, r"budget\.retrain_epochs=4 is 32 "),
        ({"epochs": 30, "dense_epochs": 28, "retrain_epochs": None, "cycles": 3}, r"budget\.cycles=3 .* at most 2"),
    ],
)
def test_bimp_refuses_numbers_that_do_not_fit(wrong: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        BIMP(finetune_epochs=0, **wrong).phases(0.9)


def test_removing_every_weight_is_refused() -> None:
    phase = IMP(finetune_epochs=0, epochs=1, retrain_epochs=1, retrain_fraction=None, cycles=1).phases(0.99)[1]
    with pytest.raises(ConfigError, match="all 20"):
        target_count(phase, 20, 0, per_cycle=False)  # round(19.8) = 20


def test_halves_round_to_even() -> None:
    phase = IMP(finetune_epochs=0, epochs=1, retrain_epochs=1, retrain_fraction=None, cycles=1).phases(0.5)[1]
    assert [target_count(phase, n, 0, per_cycle=False) for n in (5, 7)] == [2, 4]


@given(total=st.integers(2, 300), first=st.integers(1, 299), cycles=st.integers(1, 12), s=st.floats(0, 0.99))
def test_bimp_spends_exactly_its_epochs_in_nearly_equal_cycles(total: int, first: int, cycles: int, s: float) -> None:
    assume(total - first >= cycles)
    phases = BIMP(finetune_epochs=0, epochs=total, dense_epochs=first, retrain_epochs=None, cycles=cycles).phases(s)
    assert sum(p.epochs for p in phases) == total
    lengths = [p.epochs for p in phases[1:]]
    assert min(lengths) >= 1
    assert len(set(lengths[:-1])) <= 1
    assert 0 <= lengths[-1] - lengths[0] < cycles


@given(n=st.integers(1000, 10**6), s=st.floats(0, 0.99), cycles=st.integers(1, 12))
def test_counts_grow_and_the_last_hits_the_goal_exactly(n: int, s: float, cycles: int) -> None:
    found = pruned_per_cycle(n, s, cycles, per_cycle=False)
    assert min(found) >= 0
    assert list(accumulate(found))[-1] == round(s * n)


def test_an_exact_fraction_makes_the_cycles_of_a_lower_sparsity_the_first_of_a_higher() -> None:
    renda = Renda(epochs=4, finetune_epochs=0, fraction=0.2, cycles=None, paper_cycles=True, exact_fraction=True)
    low, middle, high = (renda.phases(goal) for goal in (0.9, 0.95, 0.98))
    assert (low, middle) == (high[:11], high[:15])
    assert [phase.fraction for phase in high[1:]] == [0.2] * 18
