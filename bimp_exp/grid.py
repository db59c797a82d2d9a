"""What a launcher does with a whole grid of runs: check it, show its plan, sum it up. Imports no PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from bimp_exp import cli, files, plan, sweep
from bimp_exp.errors import ConfigError, UserError
from bimp_exp.plan import Plan
from bimp_exp.sweep import Cell


def start(cells: Sequence[Cell], configs: Sequence[DictConfig], folder: Path) -> bool:
    """Check every run of the grid; then write sweep.json in ``folder``, or with ``plan=true`` show the plan: False."""
    go = False
    try:
        if (folder / "sweep.json").exists():
            raise ConfigError(f"{folder} holds a sweep already: give hydra.sweep.dir another folder")
        plans = check(cells, configs)
        go = not any(config.plan for config in configs)
    finally:
        if not go:
            (folder / "multirun.yaml").unlink(missing_ok=True)  # Hydra's sweeper writes it before anything is checked
            files.remove_empty(folder)
    if go:
        sweep.write(folder, cells)
    else:
        show(cells, plans)
    return go


def check(cells: Sequence[Cell], configs: Sequence[DictConfig]) -> list[Plan]:
    """The plans of all runs; one ConfigError that lists every impossible one, before anything starts."""
    plans: list[Plan] = []
    wrong: list[str] = []
    for cell, config in zip(cells, configs, strict=True):
        try:
            plans.append(plan.from_config(cli.resolve(without_hydra(config))))
        except UserError as error:
            wrong.append(f"{cell.name}: {error}")
    if wrong:
        raise ConfigError(f"{len(wrong)} of {len(cells)} runs are impossible, nothing was started: {'; '.join(wrong)}")
    return plans


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
    instantiate(config.tracking).sync_sweep(folder)
    print_summary(folder, Console())
