"""What a run hands to its parts, on toy runs."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any

import pytest
import torch

from bimp_exp import lr
from bimp_exp.dataset import loaded
from bimp_exp.run import train_phase as phase
from bimp_exp.seeds import derive
from bimp_exp.training import loop as training
from tests.toy_runs import Pixels, experiment, run


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each training of a phase was given."""
    seen: list[dict[str, Any]] = []

    def spy(*arguments: Any, **given: Any) -> Any:
        seen.append(given)
        return training.fit(*arguments, **given)

    monkeypatch.setattr(phase, "fit", spy)
    return seen


@pytest.mark.parametrize("wanted", [False, True])
def test_validation_images_are_augmented_as_the_conventions_say(wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "_kept", OrderedDict())  # another test may have loaded the same
    made = experiment("imp", dataset=Pixels())
    made = dataclasses.replace(made, conventions=dataclasses.replace(made.conventions, augment_validation=wanted))
    run(made)
    assert made.dataset.loaded["augment_validation"] is wanted  # type: ignore[attr-defined]


def test_every_phase_and_every_seed_has_another_order_and_none_is_that_of_the_initial_weights(
    fits: list[dict[str, Any]],
) -> None:
    for seed in (0, 1):
        run(experiment("imp", seed=seed))
    seeds = [given["seed"] for given in fits]
    assert len({*seeds, derive(0, "init"), derive(1, "init"), 0, 1}) == 4 + 2 + 2


def test_streams_differ_by_every_part_of_their_name() -> None:
    names = [(0,), (1,), (0, "data"), (0, "data", 0), (0, "data", 1), (0, "init"), (0, "cycle 1"), (0, "noise", 1)]
    assert len({derive(*name) for name in names}) == len(names)
    assert all(0 <= derive(*name) < 2**63 for name in names)


def test_the_initial_weights_follow_the_seed_alone() -> None:
    first, again, other = (experiment(m, seed=s).network()[0].weight for m, s in (("imp", 0), ("str", 0), ("imp", 1)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_d2_compares_a_cycle_with_dense_training_not_with_the_budget() -> None:
    """Two epochs after four, of six in all; the schedule that d2 alone decides starts there."""
    *_, cycle = run(experiment("imp", schedule="allr_d2"))["phases"]
    assert cycle["pruning"]["d2"] == 2 / 4
    assert cycle["learning_rate"]["peak"] == pytest.approx(0.1 * 2 / 4)


def test_what_a_method_spares_is_not_decayed_in_a_run(fits: list[dict[str, Any]]) -> None:
    """The s of CS; the weights decay, and all that is left when the method is done does too."""
    made = experiment("cs")
    run(made)
    decay = made.optim.weight_decay
    assert decay > 0
    decays = [[g["weight_decay"] for g in given["optimizer"].param_groups] for given in fits]
    assert decays == [[decay, 0.0], [decay]]


def test_the_threshold_of_str_decays(fits: list[dict[str, Any]]) -> None:
    """Nothing else drives it where it starts very negative."""
    run(experiment("str"))
    (group,) = fits[0]["optimizer"].param_groups
    assert group["weight_decay"] > 0
    assert sum(p.dim() == 0 for p in group["params"]) == 3  # one for each layer


def test_fine_tuning_keeps_the_pattern_and_the_lowest_rate(fits: list[dict[str, Any]]) -> None:
    made = experiment("str", lr=lr.Stepped(initial=0.1, warmup_epochs=0, milestones=[0.5], gamma=0.1))
    run(made)
    _, finetune = fits
    assert [finetune["lr"](i) for i in range(2)] == pytest.approx([0.01, 0.01])
    assert all(torch.equal(weight != 0, mask) for weight, mask in finetune["masked"])
    assert len(finetune["masked"]) == 3
