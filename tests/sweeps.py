"""The runs of a file in sweeps/ and what they cost, without running them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from bimp_exp.config.compose import Composer
from bimp_exp.run import plan
from bimp_exp.run.plan import Plan
from hydra_plugins.bimp_exp_grids import runs_of


class Cost(NamedTuple):
    """Runs; distinct phases; epochs of all runs; epochs of the distinct phases."""

    runs: int
    phases: int
    requested: float
    distinct: float


def load(overrides: list[str]) -> DictConfig:
    return compose("config", overrides, return_hydra_config=True)


def runs(*arguments: str) -> list[list[str]]:
    """The overrides of every run of ``+sweeps=NAME`` and what else the command line has."""
    parser = OverridesParser.create()
    swept = [o.input_line for o in parser.parse_overrides(list(arguments)) if o.is_sweep_override()]
    config = load([each for each in arguments if each not in swept])
    sweeper: Any = OmegaConf.to_container(config.hydra.sweeper)
    params, grids = sweeper["params"] or {}, sweeper["grids"]
    return runs_of(parser, config, list(arguments), load=load, params=params, grids=grids)


def cost(overrides: Sequence[Sequence[str]]) -> Cost:
    """Of runs, as ``plan.from_config`` plans them; every schedule counts for itself, also where the rates of two are the same.

    A seed changes neither phases nor epochs, so one is planned and counted as often as there are seeds.
    """
    composer, kinds, distinct, requested, seeds = Composer(load), set(), {}, 0.0, set()
    for run in overrides:
        config = composer(run).config
        seed = config.pop("seed")
        seeds.add(seed)
        kind = json.dumps(config, sort_keys=True)
        if kind in kinds:
            continue
        kinds.add(kind)
        planned = plan.from_config({**config, "seed": seed})
        before = ""
        for phase in planned.phases:
            before = f"{before} {_added(config, planned, phase.number)} {asdict(phase.phase)}"
            distinct[before] = phase.phase.epochs
            requested += phase.phase.epochs
    assert len(overrides) == len(kinds) * len(seeds)
    return Cost(
        len(overrides), len(distinct) * len(seeds), requested * len(seeds), sum(distinct.values()) * len(seeds)
    )  # fmt: skip


def _added(config: Mapping[str, Any], planned: Plan, number: int) -> str:
    """What a phase depends on beside its epochs and the phases before it."""
    later = ["schedule", "selector"]
    first = ["dataset", "model", "optim", "lr", "method"] + (
        ["selector", "sparsity"] if planned.prunes_while_training else []
    )
    return json.dumps([config[name] for name in (later if number else first)])
