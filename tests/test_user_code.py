"""Methods and selectors of the user's own, written with public names only."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from bimp_exp.config.signatures import constant, parameters
from bimp_exp.method.base import Method, MethodContext, Prunes
from bimp_exp.pruning import weights as prune
from bimp_exp.selector.base import Masks, PruningTarget, Selector, one_threshold
from tests import toys, user_method
from tests.toy_runs import Forgetful, experiment, run


def test_a_magnitude_method_is_a_short_file_of_public_names() -> None:
    source = Path(user_method.__file__).read_text()
    assert len(source.splitlines()) < 40
    names = [node.module or "" for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    assert not any(part.startswith("_") for name in names if name != "__future__" for part in name.split("."))


def test_a_method_of_the_user_prunes_when_it_says() -> None:
    """4 of 8 weights in six steps, a third of them after every second."""
    method, model = user_method.Linear(every=2), toys.linear()
    context = toys.method_context(model, num_steps=6, steps_per_epoch=6)
    method.attach(context)
    numbers: list[int] = []
    toys.train(
        model, toys.data(48), steps=6, method=method, context=context,
        progress=lambda *_: numbers.append(prune.num_pruned(method.masks(context))),
    )  # fmt: skip
    assert numbers == [0, 1, 1, 3, 3, 4]


def test_a_method_of_the_user_reaches_its_goal_in_a_run() -> None:
    target = "tests.user_method.Linear"
    assert constant(target, "prunes") == "while training"  # read without importing it, from the base class
    assert list(parameters(target)) == ["every"]
    result = run(dataclasses.replace(experiment("gmp"), method=user_method.Linear(every=2)))
    assert result["final"]["sparsity"] == 0.5
    assert result["attested"]["exact_count"] == 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumPy(Selector):
    """Global magnitude, by functions that take no tensor with a gradient."""

    def __call__(self, weights: Mapping[str, Tensor], masks: Masks, target: PruningTarget) -> Masks:
        scores = {name: torch.from_numpy(np.abs(weight.numpy())) * torch.ones(()) for name, weight in weights.items()}
        assert not any(score.requires_grad for score in scores.values())
        return one_threshold(scores, masks, target.total_pruned)


@pytest.mark.parametrize("method", ["imp", "gmp", "dpf", "dnw", "gsm", "lc", "lc_lagrangian"])
def test_a_selector_of_the_user_gets_plain_numbers(method: str) -> None:
    ours, theirs = (
        run(dataclasses.replace(experiment(method), selector=s)) for s in (NumPy(), experiment(method).selector)
    )
    assert ours["final"] == theirs["final"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decay(Method):
    """weight_decay / 2 * ||W||^2 in the loss; it notes the steps in which it acts, and of how many."""

    prunes: ClassVar[Prunes] = "between phases"
    acts_while_retraining: ClassVar[bool] = True

    strength: float
    seen: list[tuple[int, int, int]]

    def attach(self, context: MethodContext) -> None:
        context.state["calls"] = torch.tensor(0)

    def penalty(self, context: MethodContext) -> Tensor:
        return 0.5 * self.strength * torch.stack([w.square().sum() for w in context.weights.values()]).sum()

    def on_step(self, context: MethodContext, step: int, optimizer: Any) -> None:
        context.state["calls"] += 1
        self.seen.append((step, context.num_steps, int(context.state["calls"])))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecayFirst(Decay):
    acts_while_retraining: ClassVar[bool] = False


@pytest.mark.parametrize(("kind", "num"), [(Decay, 6), (DecayFirst, 4)])
def test_a_regulariser_acts_while_retraining_if_it_says_so(kind: type[Decay], num: int) -> None:
    """Four steps, then a cycle of two; what it keeps in the context's state goes on."""
    method = kind(strength=0.1, seen=[])
    run(dataclasses.replace(experiment("imp"), method=method))
    expected = [(0, 4, 1), (1, 4, 2), (2, 4, 3), (3, 4, 4), (0, 2, 5), (1, 2, 6)]
    assert method.seen == expected[:num]


def test_a_penalty_while_retraining_changes_what_is_learnt() -> None:
    """Both prune the same network; the one that goes on to decay ends with smaller weights."""
    pruned, norms = [], []
    for kind in (Decay, DecayFirst):
        store = Forgetful()
        result = run(dataclasses.replace(experiment("imp", store=store), method=kind(strength=0.5, seen=[])))
        pruned.append(result["phases"][1]["pruning"]["d1"])
        norms.append(prune.norm(store.states[-1]["model"][f"{layer}.weight"] for layer in (0, 4, 5)))
    assert pruned[0] == pruned[1]
    assert norms[0] < 0.99 * norms[1]


def test_only_a_method_that_prunes_between_phases_can_act_while_retraining() -> None:
    with pytest.raises(TypeError, match='needs prunes = "between phases", not "while training"'):

        class Wrong(user_method.Linear):
            acts_while_retraining: ClassVar[bool] = True
