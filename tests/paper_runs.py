"""Runs made up of the paper's printed numbers, as if a sweep had given them."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

from bimp_exp.paper.block import Block
from bimp_exp.paper.published import SCORES, Number, of_table
from bimp_exp.paper.runs import Measured

EXPECTED = {"dataset": "data", "model": "network", "budget.epochs": 200}


def block(table: str, dataset: str, model: str, **more: Any) -> Block:
    numbers = of_table(table, dataset, model)
    about: dict[str, Any] = {
        "sweep": f"paper_t{int(table):02d}",
        "figure": "",
        "select": ("optim.weight_decay",),
        "variant": (),
        "budgeted": not any(n.place.cycles for n in numbers),
        "expected": EXPECTED,
    }
    return Block(table=table, dataset=dataset, model=model, **about | more)


def run(number: Number, seed: int, test: float, **more: Any) -> Measured:
    """A run that stands where ``number`` does and has the score ``test``, in points."""
    place = number.place
    assert place.sparsity is not None
    values = {**EXPECTED, "optim.weight_decay": 1e-4}
    about: dict[str, Any] = {
        "name": f"sweep/{place.method},{place.schedule},{place.sparsity},{place.cycles},{place.fraction},{seed}",
        "method": place.method,
        "schedule": place.schedule,
        "sparsity": place.sparsity,
        "cycles": place.cycles,
        "fraction": place.fraction,
        "values": values,
        "metric": place.metric,
        "validation": test - 1,
        "numbers": {place.metric: test, "achieved_sparsity": 100 * place.sparsity},
        "before_pruning": False,
        "epochs": 200.0,
        "collapsed": False,
    }
    return Measured(seed=seed, test=test, **about | more)


def as_printed(table: str, dataset: str, model: str, *, shift: float = 0.0) -> list[Measured]:
    """Ten seeds for every score of a table that have its printed mean and standard deviation, moved by ``shift``."""
    found = []
    for number in of_table(table, dataset, model):
        if number.place.metric in SCORES:
            tests = _spread(number.mean + shift, number.std or 0.0, 10)
            found += [run(number, seed, test) for seed, test in enumerate(tests)]
    return found


def _spread(mean: float, std: float, n: int) -> Sequence[float]:
    """n values of that mean and sample standard deviation."""
    step = std * sqrt((n - 1) / n)
    return [mean + (step if place % 2 else -step) for place in range(n)]
