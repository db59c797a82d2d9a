"""Whole runs in this process, into a folder, and what they left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from rich.console import Console

from bimp_exp.results.schema import Result
from bimp_exp.results.writer import RunWriter
from bimp_exp.run.execute import execute
from bimp_exp.run.experiment import Experiment
from bimp_exp.run.log import Log
from bimp_exp.run.process import Process
from bimp_exp.run.progress import Display
from bimp_exp.run.state import make_env
from bimp_exp.store import phases as store
from bimp_exp.tracking.mlflow import NoTracking
from tests.conftest import composed


@dataclass(frozen=True, kw_only=True)
class Done:
    """result: as in result.json. lines: of metrics.jsonl. network: the state_dict in model.pt. states: stored after each phase."""

    result: dict[str, Any]
    lines: list[dict[str, Any]]
    network: dict[str, torch.Tensor]
    states: list[dict[str, Any]]


def execute_in(folder: Path, config: Mapping[str, Any], experiment: Experiment | None = None) -> Result:
    """Do the run that ``config`` describes, or ``experiment`` in its place, without run.json and result.json."""
    made: Experiment = experiment or instantiate(config, _convert_="all")
    with Process() as process:
        env = make_env(made, config, process)
        writer = RunWriter(folder=folder, tracking=NoTracking())
        log = Log(writer=writer, display=Display(Console(quiet=True), env.plan, "test"))
        result = execute(env, made.store.open(folder), log)
    assert result is not None
    return result


def do(folder: Path, *overrides: str) -> Done:
    """The run of a command line, which keeps its phases in ``folder``."""
    config = composed("store=own", *overrides)
    result = execute_in(folder, config).to_json()
    return Done(
        result=result,
        lines=[json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()],
        network=torch.load(folder / "model.pt", weights_only=True),
        states=[store.read(folder / "phases" / p["key"] / "done.pt", p["key"]) for p in result["phases"]],
    )
