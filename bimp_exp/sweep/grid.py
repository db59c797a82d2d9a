"""A whole grid of runs: its check, its plan, its summary. Imports no PyTorch until all configurations are checked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hydra.errors import HydraException
from omegaconf import DictConfig
from rich.console import Console

from bimp_exp import files
from bimp_exp.config.build import build
from bimp_exp.config.compose import Composed, Composer
from bimp_exp.config.messages import explain
from bimp_exp.config.trust import modules_named
from bimp_exp.errors import ConfigError, UserError
from bimp_exp.results.cells import check_baseline
from bimp_exp.results.reader import read_sweep, read_sweep_facts
from bimp_exp.run import plan
from bimp_exp.run.plan import Plan
from bimp_exp.run.plan_text import one_line, without_data
from bimp_exp.run.process import Process
from bimp_exp.sweep import cells as sweep
from bimp_exp.sweep import forecast, single, worker
from bimp_exp.sweep.cells import Cell
from bimp_exp.text import counted

T = TypeVar("T")
NAMED = 3  # runs that are named of those that are impossible for one reason


@dataclass(frozen=True, kw_only=True)
class Started:
    """A grid that waits for its workers.

    num_retried: failed runs that are to be done again. allow: modules beside bimp_exp's own that the user's command line names, so
    that the workers may import them.
    """

    num_retried: int
    allow: tuple[str, ...]


def start(
    job_overrides: Sequence[Sequence[str]], load: Callable[[list[str]], DictConfig], folder: Path, process: Process
) -> Started | None:
    """Check every run of the grid and write it into ``folder``.

    With ``plan=true`` show what would be done, and None. A sweep that lies in ``folder`` is continued: what it has is kept,
    what the grid has more is added.

    load: composes a command line.
    """
    cells = sweep.cells(job_overrides)
    if not cells:
        raise ConfigError("the grid is empty: a swept key has no values")
    number = Counter((cell.name, str(cell.swept)) for cell in cells)
    for cell in cells:
        if number[cell.name, str(cell.swept)] > 1:
            raise ConfigError(f"the grid has the same run more than once: {' '.join(cell.overrides)}")
    composer = Composer(load)
    made = _each(cells, lambda i: composer(cells[i].overrides))
    plans = _each(cells, lambda i: plan.from_config(made[i].config))
    planning = any(each.run_options["plan"] for each in made)
    checked: set[str] = set()

    def check(i: int) -> None:
        if planning and plan.has_no_data(made[i].config):
            return
        alike = {key: value for key, value in made[i].config.items() if key not in ("seed", "schedule", "lr")}
        if (key := json.dumps(alike, sort_keys=True)) not in checked:
            single.experiment(made[i].config, process)
            checked.add(key)

    _each(cells, check)
    baseline = _baseline(folder, cells, made)
    if planning:
        show(cells, made, plans, folder, process)
        return None
    allow = modules_named(each.config for each in made)
    _check_others(folder, {cell.folder for cell in cells}, allow)
    sweep.write(folder, cells, made, baseline)
    retried = [
        folder / c.folder / "failed.json"
        for c, m in zip(cells, made, strict=True)
        if m.run_options["retry"] == "failed"
    ]
    retried = [path for path in retried if path.exists()]
    for path in retried:
        path.unlink(missing_ok=True)
    return Started(num_retried=len(retried), allow=tuple(allow))


def _baseline(folder: Path, cells: Sequence[Cell], made: Sequence[Composed]) -> dict[str, Any] | None:
    """``sweep.baseline`` of the command; ConfigError where no run has it, neither of ``cells`` nor of those in ``folder``."""
    asked: list[dict[str, Any] | None] = [each.run_options["baseline"] for each in made]
    if any(each != asked[0] for each in asked):
        raise ConfigError("sweep.baseline: a sweep has one baseline; give one {KEY: VALUE}, or null")
    earlier = read_sweep_facts(folder).cells.values() if (folder / "sweep.json").exists() else ()
    check_baseline(asked[0] or {}, [cell.swept for cell in (*earlier, *cells)])
    return asked[0]


def _check_others(folder: Path, ours: Collection[str], allow: Collection[str]) -> None:
    """ConfigError where a run that an earlier grid has left in ``folder`` may not be done along with ``ours``."""
    if (folder / "cells.json").exists():
        worker.checked(folder, allow, besides=ours)


def discard(folder: Path) -> None:
    """Leave no trace of a sweep that did not start, unless one lies there from before."""
    files.remove_empty(folder)


def _each(cells: Sequence[Cell], check: Callable[[int], T]) -> list[T]:
    """The values of ``check(i)`` for every cell; one ConfigError that lists all runs that are impossible."""
    found: list[T] = []
    wrong: dict[str, list[str]] = {}  # by reason
    for i, cell in enumerate(cells):
        try:
            found.append(check(i))
        except (UserError, HydraException) as error:
            wrong.setdefault(explain(error), []).append(cell.name)
    if wrong:
        each = [f"{_few(names)}: {reason}" for reason, names in wrong.items()]
        num, are = len(cells) - len(found), "is" if len(cells) == 1 else "are"
        raise ConfigError(
            f"{num} of {counted(len(cells), 'run')} {are} impossible, nothing was started: {'; '.join(each)}"
        )
    return found


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def show(
    cells: Sequence[Cell], made: Sequence[Composed], plans: Sequence[Plan], folder: Path, process: Process
) -> None:
    """One line for each run, and the sums: what is asked for, what of it is the same, what is done already."""
    console = Console(soft_wrap=True, highlight=False)
    width = max(len(cell.name) for cell in cells)
    for cell, planned in zip(cells, plans, strict=True):
        done = "  (done)" if (folder / cell.folder / "result.json").exists() else ""
        console.print(f"{cell.name:{width}}  {one_line(planned)}{done}")
    blind = {
        without_data(planned): None for each, planned in zip(made, plans, strict=True) if plan.has_no_data(each.config)
    }
    for line in blind:
        console.print(line)
    console.print(forecast.line(forecast.forecast_sweep(list(zip(cells, made, plans, strict=True)), folder, process)))


def finish(folder: Path, config: DictConfig, process: Process) -> None:
    """Show the table of the grid on the terminal, write it into files and mirror it into MLflow."""
    from bimp_exp.report import refresh
    from bimp_exp.report.summary import print_summary

    refresh.now(folder)
    process.tracker(build(config.tracking)).sync_sweep(folder, over=True)
    print_summary(read_sweep(folder), Console())


def raise_if_failed(folder: Path) -> None:
    """UserError where a run of the sweep has failed."""
    runs = read_sweep(folder).runs
    failed = sum(run.status == "failed" for run in runs)
    if failed:
        raise UserError(f"{failed} of {counted(len(runs), 'run')} failed; each says why in its folder below {folder}")
