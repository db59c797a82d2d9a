"""Every method with every selector and every schedule of conf/: a toy run where the three fit, one line where they do not."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from bimp_exp.config import signatures as config
from bimp_exp.config.defaults import default_options
from bimp_exp.errors import ConfigError, TrainingError
from bimp_exp.run import plan
from bimp_exp.schedule.ft import FT
from bimp_exp.selector.global_ import Global
from tests import toy_runs
from tests.conftest import ROOT, composed
from tests.toy_runs import Pixels, configured, experiment, parts, run

METHODS, SELECTORS, SCHEDULES = (
    sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml")) for group in ("method", "selector", "schedule")
)


def fit_together(method: str, selector: str, schedule: str) -> bool:
    """What the method says that it uses; of the others only the default is legal."""
    target = parts("method", method)["method"]["_target_"]
    rescheduled = config.constant(target, "prunes") == "between phases"
    return (rescheduled or schedule == "allr") and (config.constant(target, "selects") or selector == "global")


TRIPLES = list(product(METHODS, SELECTORS, SCHEDULES))


@pytest.mark.parametrize("method", METHODS)
def test_what_fits_together_trains_prunes_and_retrains(method: str) -> None:
    """Two or four steps a phase. The goal is hit exactly where the selector has one threshold for all layers."""
    fitting = [triple for triple in TRIPLES if triple[0] == method and fit_together(*triple)]
    assert fitting
    for triple in fitting:
        made = experiment(*triple)
        result = run(made)
        assert [phase["num_steps"] for phase in result["phases"]] == [p.num_steps for p in made.plan().phases], triple
        assert result["ledger"]["num_steps"] == (6 if made.method.prunes != "while training" else 8), triple
        assert all(rate >= 0 for rate in result["learning_rates"]["rate"]), triple
        if made.method.selects and made.selector.rounding == 0:
            assert result["final"]["sparsity"] == 44 / 88, triple


@pytest.mark.parametrize("method", METHODS)
def test_what_has_no_effect_is_refused_in_one_line_that_names_it(method: str) -> None:
    """Else a table would say that STR was run with ERK."""
    for triple in (triple for triple in TRIPLES if triple[0] == method):
        if fit_together(*triple):
            assert plan.from_config(configured(*triple)).num_steps > 0
            continue
        with pytest.raises(ConfigError) as refused:
            plan.from_config(configured(*triple))
        message = str(refused.value)
        assert message.startswith(f"method={method} "), triple
        assert "\n" not in message
        (named,) = [
            g for g, option in (("selector", triple[1]), ("schedule", triple[2])) if f"{g}={option} " in message
        ]
        assert message.endswith(f"has no effect, leave it at {'global' if named == 'selector' else 'allr'}")


def test_the_defaults_that_are_let_through_are_those_of_the_top_configuration() -> None:
    assert {group: default_options()[group] for group in ("selector", "schedule")} == {
        "selector": "global",
        "schedule": "allr",
    }


def test_a_budget_that_brings_a_schedule_is_named_by_it() -> None:
    with pytest.raises(ConfigError, match=r"^method=gmp .* schedule=lrw has no effect, leave it at allr$"):
        plan.from_config(composed("method=gmp", "budget=renda"))
    told = composed("method=gmp", "budget=renda", "schedule=allr")
    assert plan.from_config(told).epochs == 12 * 30  # the budget of eleven cycles is there for rivals, too


@pytest.mark.parametrize("method", METHODS)
def test_a_method_asks_the_selector_exactly_if_it_says_so(method: str) -> None:
    asked: list[int] = []

    class Counting(Global):
        def __call__(self, *arguments: Any) -> Any:
            asked.append(1)
            return super().__call__(*arguments)

    made = dataclasses.replace(experiment(method, "global"), selector=Counting())
    run(made)
    assert bool(asked) == made.method.selects


@pytest.mark.parametrize("method", METHODS)
def test_a_method_follows_the_schedule_exactly_if_it_prunes_between_phases(method: str) -> None:
    made = experiment(method, "global", "constant")
    (*_, last) = run(made)["phases"]
    wanted = {"between phases": 0.05, "while training": made.plan().original.floor, "never": made.plan().original.peak}
    assert last["learning_rate"]["peak"] == pytest.approx(wanted[made.method.prunes])
    assert isinstance(made.plan().retraining, FT) == (made.method.prunes == "while training")


EXTREMES: dict[str, list[Any]] = {
    "Count": [1, 10**9],
    "Count | None": [1, 10**9, None],
    "Positive": [1e-300, 1e38],
    "NonNegative": [0.0, 1e38],
    "Finite": [-1e38, 1e38],
    "bool": [False, True],
}
BUDGETS: list[dict[str, Any]] = [{}, {"epochs": 2, "dense_epochs": 1}, {"retrain_epochs": 2}, {"finetune_epochs": 0}]


def extremes(method: str) -> Iterator[dict[str, Any]]:
    """The configurations of a method at the ends of the range of each of its keys, one key at a time."""
    node = parts("method", method)["method"]
    yield node
    for key, hint in config.parameters(node["_target_"]).items():
        values = EXTREMES[hint] if hint in EXTREMES else ast.literal_eval(f"[{hint[len('Literal[') :]}")
        yield from (node | {key: value} for value in values)


@pytest.mark.parametrize("method", METHODS)
def test_whatever_a_method_is_given_is_refused_by_check_or_runs(method: str, tmp_path: Path) -> None:
    """A refusal that comes only with attach() leaves the folder of a run, and on a cluster comes after the queue."""
    torch.save(toy_runs.network(None, 2).state_dict(), tmp_path / "dense.pt")
    plain = experiment(method)
    variants: list[dict[str, Any]] = [{"method": instantiate(node)} for node in extremes(method)]
    variants += [{"budget": dataclasses.replace(plain.budget, **budget)} for budget in BUDGETS]
    variants += [{"dense_checkpoint": str(tmp_path / "dense.pt")}]
    outcomes = set()
    for selector, changes in product(("global", "uniform"), variants):
        made = dataclasses.replace(experiment(method, selector), **changes)
        try:
            made.check()
        except ConfigError:
            outcomes.add("refused")
            continue
        with contextlib.suppress(TrainingError):  # its loss is not a number any more
            run(made)
        outcomes.add("run")
    assert outcomes == {"run", "refused"} if method in PICKY else {"run"}


PICKY = ("cs", "dnw", "dpf", "gmp", "lc_lagrangian", "wr")


def example(image_shape: Any, num_classes: int) -> nn.Module:
    """The weights of docs/method.md, Selectors: 432, 4608 and 320; 91 % is too much for uniform+."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
    )


@pytest.mark.parametrize("selector", SELECTORS)
def test_an_impossible_target_is_refused_before_training(selector: str) -> None:
    """5360 weights: at 91 % uniform_plus would take more than the middle layer has and the last one may lose."""
    impossible = 0.91 if selector == "uniform_plus" else 0.99999
    data = Pixels(image_shape=(3, 8, 8), num_classes=10)
    made = [experiment(method, selector, model=example, dataset=data) for method in METHODS]
    for selecting in (x for x in made if x.method.selects):
        dataclasses.replace(selecting, sparsity=0.9).check()
        with pytest.raises(ConfigError, match=r"^sparsity: .* choose "):
            dataclasses.replace(selecting, sparsity=impossible).check()
