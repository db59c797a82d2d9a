"""What a launcher does with a whole grid of runs: check it, show its plan, sum it up. Imports no PyTorch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from hydra.errors import HydraException
from omegaconf import DictConfig
from rich.console import Console

from bimp_exp import cli, files, plan, sweep
from bimp_exp.errors import ConfigError, UserError
from bimp_exp.plan import Plan
from bimp_exp.sweep import Cell

T = TypeVar("T")


def start(cells: Sequence[Cell], configs: Sequence[DictConfig], folder: Path) -> bool:
    """Check every run of the grid; then write sweep.json in ``folder``, or with ``plan=true`` show the plan: False."""
    if not cells:
        raise ConfigError("the grid is empty: a swept key has no values")
    same = [name for name, count in Counter((c.name, str(c.swept)) for c in cells).items() if count > 1]
    if same:
        raise ConfigError(f"the grid has the same run more than once: {same[0][0]}")
    if (folder / "sweep.json").exists():
        raise ConfigError(f"{folder} holds a sweep already: give hydra.sweep.dir another folder")
    resolved = [cli.resolve(without_hydra(config)) for config in configs]
    plans = _each(cells, lambda i: plan.from_config(resolved[i][0]))
    if any(planning for _, planning in resolved):
        show(cells, plans)
        return False
    seen: set[str] = set()

    def check(i: int) -> None:
        alike = {key: value for key, value in resolved[i][0].items() if key not in ("seed", "schedule", "lr")}
        if (key := json.dumps(alike, sort_keys=True)) not in seen:
            cli.experiment(resolved[i][0])
            seen.add(key)

    _each(cells, check)
    sweep.write(folder, cells)
    return True


def discard(folder: Path) -> None:
    """Leave no trace of a sweep that did not start; Hydra's sweeper writes multirun.yaml before anything is checked."""
    (folder / "multirun.yaml").unlink(missing_ok=True)
    files.remove_empty(folder)


def _each(cells: Sequence[Cell], check: Callable[[int], T]) -> list[T]:
    """``check(i)`` for every cell; one ConfigError that lists all that are impossible, before anything starts."""
    found: list[T] = []
    wrong: list[str] = []
    for i, cell in enumerate(cells):
        try:
            found.append(check(i))
        except (UserError, HydraException) as error:
            wrong.append(f"{cell.name}: {cli.explain(error)}")
    if wrong:
        raise ConfigError(f"{len(wrong)} of {len(cells)} runs are impossible, nothing was started: {'; '.join(wrong)}")
    return found


def without_hydra(config: DictConfig) -> DictConfig:
    """The part of a composed configuration that is ours."""
    ours = config.copy()
    ours._set_flag("struct", False)
    del ours["hydra"]
    return ours


def show(cells: Sequence[Cell], plans: Sequence[Plan]) -> None:
    """One line for each run, and the sum."""
    console = Console(soft_wrap=True, highlight=False)
    width = max(len(cell.name) for cell in cells)
    for cell, planned in zip(cells, plans, strict=True):
        console.print(f"{cell.name:{width}}  {plan.line(planned)}")
    epochs, steps = sum(p.epochs for p in plans), sum(p.num_steps for p in plans)
    console.print(f"{len(plans)} runs: {epochs:g} epochs, {steps} steps; nothing was started")


def say_failed(cell: Cell, error: object) -> None:
    """One line for a run that has failed while others go on."""
    reason = cli.explain(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"failed: {cell.name}: {reason}", markup=False)


def finish(folder: Path, config: DictConfig) -> None:
    """The table of the grid: on the terminal, in files, and with the parent run in MLflow."""
    from hydra.utils import instantiate

    from bimp_exp.report.summary import print_summary, write_summary

    write_summary(folder)
    instantiate(config.tracking).sync_sweep(folder, over=True)
    print_summary(folder, Console())
