"""What happens between the phases of a run, on toy runs."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from bimp_exp import lr
from bimp_exp.budget import Pretrained, Renda
from bimp_exp.dataset.data import Batches, ImageData
from bimp_exp.errors import ConfigError
from bimp_exp.method.base import MethodContext
from bimp_exp.method.imp import IMP
from bimp_exp.seeds import derive
from tests import toys
from tests.toy_runs import Forgetful, Nowhere, Pixels, experiment, run


def states(method: str, **changes: Any) -> list[dict[str, Any]]:
    """Those stored after each phase."""
    store = Forgetful()
    run(experiment(method, store=store, **changes))
    return store.states


@pytest.mark.parametrize("wanted", [False, True])
def test_validation_images_are_augmented_as_the_conventions_say(wanted: bool) -> None:
    made = experiment("imp", dataset=Pixels())
    made = dataclasses.replace(made, conventions=dataclasses.replace(made.conventions, augment_validation=wanted))
    run(made)
    assert made.dataset.loaded["augment_validation"] is wanted  # type: ignore[attr-defined]


def test_every_phase_and_every_seed_has_another_order_and_none_is_that_of_the_initial_weights() -> None:
    seeds: list[int] = []

    class Watched(ImageData):
        def epoch(self, *, seed: int, **how: Any) -> Batches:
            seeds.append(seed)
            return super().epoch(seed=seed, **how)

    class Recorded(Pixels):
        def load(self, device: torch.device, **how: Any) -> ImageData:
            return Watched(**vars(toys.data(8)))

    for seed in (0, 1):
        run(experiment("imp", seed=seed, dataset=Recorded()))
    assert len({*seeds, derive(0, "init"), derive(1, "init"), 0, 1}) == 4 + 2 + 2


def test_streams_differ_by_every_part_of_their_name() -> None:
    names = [(0,), (1,), (0, "data"), (0, "data", 0), (0, "data", 1), (0, "init"), (0, "cycle 1"), (0, "noise", 1)]
    assert len({derive(*name) for name in names}) == len(names)
    assert all(0 <= derive(*name) < 2**63 for name in names)


class Keeping(Forgetful):
    """A store that finds what it was given; ``states`` are those of the phases that had to be computed."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Any] = {}

    def load(self, key: str) -> Any:
        return copy.deepcopy(self.kept.get(key))

    def save(self, key: str, header: Any, state: dict[str, Any]) -> None:
        super().save(key, header, state)
        self.kept[key] = self.states[-1]


def timeless(result: Any) -> Any:
    """A result without what clocks say."""
    if isinstance(result, dict):
        return {k: timeless(v) for k, v in result.items() if "second" not in k}
    return [timeless(v) for v in result] if isinstance(result, list | tuple) else result


@pytest.mark.parametrize("method", ["gsm", "lc", "lc_lagrangian", "gmp", "dpf", "dnw", "str", "cs", "dst"])
def test_a_method_goes_on_from_the_dense_network_of_imp_wherever_it_was_cut_off(method: str) -> None:
    """Only two phases are left to compute of three, then one, then none; the results have the same bits."""
    budget = Pretrained(epochs=4, train_epochs=5, finetune_epochs=2)
    alone, shared = Keeping(), Keeping()
    wanted = timeless(run(experiment(method, store=alone, budget=budget)))
    assert [(p["name"], p["num_steps"]) for p in wanted["phases"]] == [("dense", 4), ("training", 5), ("finetune", 2)]
    assert wanted["budget"]["epochs"] == 4 + 5
    run(experiment("imp", store=shared))
    assert torch.equal(alone.states[0]["model"]["0.weight"], shared.states[0]["model"]["0.weight"])
    for left in (2, 1, 0):
        shared.states.clear()
        if left == 1:
            shared.kept.popitem()  # the last phase
        assert timeless(run(experiment(method, store=shared, budget=budget))) == wanted
        assert len(shared.states) == left


@pytest.mark.parametrize("method", ["imp", "wr"])
def test_a_method_that_prunes_between_phases_has_none_in_a_budget_of_pretrained_networks(method: str) -> None:
    with pytest.raises(ConfigError, match=r"^budget=pretrained has no pruning, .* one of bimp, imp, renda$"):
        run(experiment(method, budget=Pretrained(epochs=4, train_epochs=5, finetune_epochs=2)))


def test_exact_fractions_prune_what_was_planned() -> None:
    """Half of the rest twice, of 88 weights: 44 and 22, whatever the goal of 70 % says."""
    budget = Renda(epochs=1, finetune_epochs=0, fraction=0.5, cycles=None, paper_cycles=False, exact_fraction=True)
    result = run(experiment("imp", schedule="lrw", budget=budget, sparsity=0.7))
    assert [p["pruning"]["num_pruned"] for p in result["phases"][1:]] == [44, 22]
    assert result["final"]["sparsity"] == 0.75


def test_the_initial_weights_follow_the_seed_alone() -> None:
    first, again, other = (experiment(m, seed=s).network()[0].weight for m, s in (("imp", 0), ("str", 0), ("imp", 1)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_d2_compares_a_cycle_with_dense_training_not_with_the_budget() -> None:
    """Two epochs after four, of six in all; the schedule that d2 alone decides starts there."""
    *_, cycle = run(experiment("imp", schedule="allr_d2"))["phases"]
    assert cycle["pruning"]["d2"] == 2 / 4
    assert cycle["learning_rate"]["peak"] == pytest.approx(0.1 * 2 / 4)


def test_allr_as_configured_goes_by_the_norm_of_all_parameters() -> None:
    """That of the prunable ones would say more damage, and d2 less."""
    *_, cycle = run(experiment("imp", schedule="allr", sparsity=0.8))["phases"]
    pruning = cycle["pruning"]
    assert pruning["d2"] < pruning["d1"] < pruning["d1_prunable"] < 1
    assert pruning["d"] == pytest.approx(pruning["d1"])


def decays(state: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Of each group of the optimiser, the number of parameters and their weight decay."""
    return [(len(group["params"]), group["weight_decay"]) for group in state["optimizer"]["param_groups"]]


def test_what_a_method_spares_is_not_decayed_in_a_run() -> None:
    """The s of CS, a tensor for each of three layers; the weights decay, and so does all that is left when the method is done."""
    decay = experiment("cs").optim.weight_decay
    assert decay > 0
    training, finetune = states("cs")
    assert decays(training) == [(7, decay), (3, 0.0)]  # three weights, two biases, two of batch-norm
    assert decays(finetune) == [(7, decay)]


def test_the_threshold_of_str_decays() -> None:
    """Nothing else drives it where it starts very negative."""
    ((number, decay),) = decays(states("str")[0])
    assert number == 7 + 3
    assert decay > 0


def test_fine_tuning_keeps_the_pattern_and_the_lowest_rate() -> None:
    store = Forgetful()
    result = run(
        experiment("str", store=store, lr=lr.Stepped(initial=0.1, warmup_epochs=0, milestones=[0.5], gamma=0.1))
    )
    rates = result["phases"][1]["learning_rate"]
    assert [rates["first"], rates["peak"], rates["last"]] == pytest.approx([0.01] * 3)
    state = store.states[1]
    assert len(state["masks"]) == 3
    assert all(torch.equal(state["model"][name] != 0, mask) for name, mask in state["masks"].items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class PullToZero(IMP):
    """A regulariser: the loss gets strength / 2 * ||W||^2 of the prunable weights."""

    strength: float
    acts_while_retraining = True

    def penalty(self, context: MethodContext) -> Tensor:
        return 0.5 * self.strength * sum(w.square().sum() for w in context.weights.values())  # type: ignore[return-value]

    def on_step(self, context: MethodContext, step: int, optimizer: torch.optim.Optimizer) -> None:
        context.state["steps"] = context.state.get("steps", torch.tensor(0)) + 1
        assert step < context.num_steps


def network(made: Any) -> dict[str, Tensor]:
    saved: dict[str, Tensor] = {}

    class Keep(Nowhere):
        def save(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
            saved.update(super().save(weights))
            return dict(saved)

    run(made, writer=Keep())
    return saved


def test_a_regulariser_can_act_while_retraining_too() -> None:
    """Four steps of dense training and two of retraining; what it changes after the pruning is seen in the final network."""
    store = Forgetful()
    run(dataclasses.replace(experiment("imp", store=store), method=PullToZero(strength=0.5)))
    assert [int(state["method"]["steps"]) for state in store.states] == [4, 6]

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class OnlyDense(PullToZero):
        acts_while_retraining = False

    both, dense_only = (
        network(dataclasses.replace(experiment("imp"), method=kind(strength=0.5))) for kind in (PullToZero, OnlyDense)
    )
    norms = [
        sum(float(net[name].square().sum()) for name in ("0.weight", "4.weight", "5.weight"))
        for net in (both, dense_only)
    ]
    assert norms[0] < norms[1]
