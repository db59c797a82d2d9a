"""What determines the result of a phase, as a hash: its name in the store.

It covers the configuration of the phase without ``bimp_exp.config.neutral``, the data, the seed, the phase before it, the kind
of arithmetic of the machine, and the code that computes its numbers (``bimp_exp.run.code``). So an edit to a method makes that
method's results be computed anew and no other's. The modules of ``bimp_exp.run`` themselves count by ``ALGORITHM`` alone.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bimp_exp.config.neutral import without_neutral
from bimp_exp.config.signatures import constant
from bimp_exp.lr import Schedule
from bimp_exp.run.code import code_hash, targets
from bimp_exp.run.plan import Plan, PlannedPhase

RULE = 2
"""Version of what this module makes of the same run; ``bimp-exp store rekey`` renames what an older one has named."""

ALGORITHM = 1
"""Raised whenever ``bimp_exp.run`` changes what a run computes; tests/test_algorithm.py notices that it has to be."""

DENSE = {"method": {"_target_": "bimp_exp.method.imp.IMP"}}
"""The method of dense training for another method: as of IMP, so that both share the network."""


def phase_keys(config: Mapping[str, Any], plan: Plan, facts: Mapping[str, Any]) -> list[str]:
    """A key for every phase of ``plan``, each of which includes those before it.

    config: resolved.
    facts: known only once a run starts: data, device, threads, versions, dense checkpoint, and ``runtime``, what its options
        became there, in place of the configured ones. {} gives recipes, which are the same on every machine.
    """
    counted = without_neutral(config)
    acting = {"method": counted["method"]}
    if plan.prunes_while_training:
        acting |= {name: counted[name] for name in ("selector", "sparsity")}
    if constant(config["method"]["_target_"], "looks_ahead"):
        acting["retraining"] = [planned.num_steps for planned in plan.phases[1:]]
    common = {
        name: counted[name] for name in ("dataset", "task", "model", "optim", "lr", "conventions", "seed", "runtime")
    }
    first = common | (DENSE if plan.start else acting)
    found: list[str] = []
    for planned in plan.phases:
        if planned.number == 0:
            what, code = {**first, **facts}, targets(first)
        else:
            how = _retraining(counted, plan, planned) | (acting if planned.number == plan.start else {})
            what, code = {"before": found[-1], **how}, targets({**first, **how})
        what |= {"phase": asdict(planned.phase), "num_steps": planned.num_steps, "first_step": planned.first_step}
        what |= {"code": code_hash(code), "algorithm": ALGORITHM}
        found.append(_digest(what)[:32])
    return found


def _retraining(config: Mapping[str, Any], plan: Plan, planned: PlannedPhase) -> dict[str, Any]:
    """What a later phase adds: its selector, and its learning rates, be it as numbers or as the rule that adapts them."""
    selector = {} if plan.prunes_while_training else {"selector": config["selector"]}
    if planned.rates is not None:
        return {**selector, "rates": _rates_hash(planned.rates)}
    return {**selector, "schedule": config["schedule"]}


def _rates_hash(rates: Schedule) -> str:
    """Alike for schedules that have the same rates, whatever they are called."""
    numbers = array("d", [rates.peak, *(rates(step) for step in range(rates.num_steps))])
    return hashlib.sha256(numbers.tobytes()).hexdigest()


def kind(config: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """What a phase has in common with those whose epochs take about as long: data, network, batch, machine, and the method."""
    counted = without_neutral(config)
    what = [
        {name: counted[name] for name in ("dataset", "model", "runtime")},
        config["optim"]["batch_size"],
        facts["device"],
    ]
    return f"{_digest(what)[:12]} {config['method']['_target_']}"


def without_method(kind: str) -> str:
    """The same for whatever method."""
    return kind.partition(" ")[0]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
