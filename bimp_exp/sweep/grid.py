"""What a launcher does with a whole grid of runs: check it, show its plan, sum it up. Imports no PyTorch until all is checked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from hydra.errors import HydraException
from omegaconf import DictConfig
from rich.console import Console

from bimp_exp import files
from bimp_exp.config.compose import Composed, Composer
from bimp_exp.config.messages import explain
from bimp_exp.errors import ConfigError, UserError
from bimp_exp.results.reader import read_sweep
from bimp_exp.run import plan
from bimp_exp.run.plan import Plan
from bimp_exp.sweep import cells as sweep
from bimp_exp.sweep import forecast, single
from bimp_exp.sweep.cells import Cell

T = TypeVar("T")
NAMED = 3  # runs that are named of those that are impossible for one reason


def start(job_overrides: Sequence[Sequence[str]], load: Callable[[list[str]], DictConfig], folder: Path) -> bool:
    """Check every run of the grid; then write it into ``folder``, or with ``plan=true`` show what would be done: False.

    ``load`` composes a command line. A sweep that lies in ``folder`` is continued: what it has is kept, what the grid has more
    is added.
    """
    cells = sweep.cells(job_overrides)
    if not cells:
        raise ConfigError("the grid is empty: a swept key has no values")
    same = [name for name, count in Counter((c.name, str(c.swept)) for c in cells).items() if count > 1]
    if same:
        raise ConfigError(f"the grid has the same run more than once: {same[0][0]}")
    composer = Composer(load)
    made = _each(cells, lambda i: composer(cells[i].overrides))
    plans = _each(cells, lambda i: plan.from_config(made[i].config))
    checked: set[str] = set()

    def check(i: int) -> None:
        alike = {key: value for key, value in made[i].config.items() if key not in ("seed", "schedule", "lr")}
        if (key := json.dumps(alike, sort_keys=True)) not in checked:
            single.experiment(made[i].config)
            checked.add(key)

    _each(cells, check)
    if any(each.asks["plan"] for each in made):
        show(cells, made, plans, folder)
        return False
    sweep.write(folder, cells, made)
    for cell, each in zip(cells, made, strict=True):
        if each.asks["retry"] == "failed":
            (folder / cell.folder / "failed.json").unlink(missing_ok=True)
    return True


def discard(folder: Path) -> None:
    """Leave no trace of a sweep that did not start, unless one lies there from before."""
    files.remove_empty(folder)


def _each(cells: Sequence[Cell], check: Callable[[int], T]) -> list[T]:
    """``check(i)`` for every cell; one ConfigError that lists all that are impossible, before anything starts."""
    found: list[T] = []
    wrong: dict[str, list[str]] = {}  # by reason
    for i, cell in enumerate(cells):
        try:
            found.append(check(i))
        except (UserError, HydraException) as error:
            wrong.setdefault(explain(error), []).append(cell.name)
    if wrong:
        each = [f"{_few(names)}: {reason}" for reason, names in wrong.items()]
        num = len(cells) - len(found)
        raise ConfigError(f"{num} of {len(cells)} runs are impossible, nothing was started: {'; '.join(each)}")
    return found


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def show(cells: Sequence[Cell], made: Sequence[Composed], plans: Sequence[Plan], folder: Path) -> None:
    """One line for each run, and the sums: what is asked for, what of it is the same, what is done already."""
    console = Console(soft_wrap=True, highlight=False)
    width = max(len(cell.name) for cell in cells)
    for cell, planned in zip(cells, plans, strict=True):
        done = "  (done)" if (folder / cell.folder / "result.json").exists() else ""
        console.print(f"{cell.name:{width}}  {plan.line(planned)}{done}")
    console.print(forecast.line(forecast.of(list(zip(cells, made, plans, strict=True)), folder)))


def finish(folder: Path, config: DictConfig) -> None:
    """The table of the grid: on the terminal, in files, and with the parent run in MLflow."""
    from hydra.utils import instantiate

    from bimp_exp.report import refresh
    from bimp_exp.report.summary import print_summary

    refresh.now(folder)
    instantiate(config.tracking).sync_sweep(folder, over=True)
    print_summary(read_sweep(folder), Console())


def complain(folder: Path) -> None:
    """UserError where a run of the sweep has failed."""
    runs = read_sweep(folder).runs
    failed = sum(run.status == "failed" for run in runs)
    if failed:
        raise UserError(f"{failed} of {len(runs)} runs failed; each says why in its folder below {folder}")
