"""One row per cell of a sweep's grid (mean and spread over its seeds), or one per phase of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.measure import Measurement

from bimp_exp import files
from bimp_exp.errors import DataError
from bimp_exp.report import render, rivals
from bimp_exp.report.figures import save
from bimp_exp.report.grid_plot import grid_figure
from bimp_exp.report.statistics import t_interval
from bimp_exp.results.reader import ABSENT, Run, Sweep, is_absent, read_run, read_sweep

BOTH = ("training", "finetune")  # phases of a run that ends with the better one of two networks


def summarise(sweep_dir: Path) -> pd.DataFrame:
    """A row per cell, in the grid's order: the swept keys but ``seed`` and, over the cell's n finished runs:

    n, status, test_mean, test_std (ddof = 1), test_low and test_high (95 % t interval; these three blank for n = 1),
    test_min and test_max (of a seed), mark (best, tie or unknown among its rivals), the means validation, after_training and
    after_finetune (test, of the runs that have both), chosen_training and chosen_finetune (how many runs end with
    the one or the other), final_sparsity, sparsity_all_parameters, theoretical_speedup (of the runs where it could
    be counted), pruning_stability (of the last cycle), epochs_used, multiply_adds (forward and backward, of
    training), images_per_second (of training), seconds (of computing the phases, also of those that another run
    computed), and off_budget: "used/allowed" epochs where a run did not use exactly its budget. Scores are in [0, 1].
    """
    return _frame(read_sweep(sweep_dir))


def write_summary(sweep: Sweep, folder: Path) -> None:
    """Write summary.csv (unrounded), .md, .tex, .png and, last, .html (self-contained) to ``folder``, atomically."""
    frame = _frame(sweep)
    table, notes = _table(sweep, frame)
    save(grid_figure(frame, sweep.keys, sweep.metric), folder / "summary.png")
    image = (folder / "summary.png").read_bytes()
    exact = frame.assign(**{key: [render.text(value) for value in frame[key]] for key in sweep.keys})
    files.write(folder / "summary.csv", exact.to_csv(index=False).encode())
    files.write(folder / "summary.md", render.markdown(sweep, table, notes).encode())
    files.write(folder / "summary.tex", render.latex(table).encode())
    files.write(folder / "summary.html", render.html(sweep, table, notes, image).encode())


def print_summary(sweep: Sweep, console: Console) -> None:
    """Print the grid's table and, below it, each run without a result and why."""
    table, notes = _table(sweep, _frame(sweep))
    print_table(sweep.name, table, console)
    for line in [*notes, *(f"{name}: {problem}" for name, problem in sweep.problems)]:
        print_line(line, console)


def print_run(run_dir: Path, console: Console) -> None:
    """Print a row per phase, the final figures and where the files lie; without a result, the reason."""
    run = read_run(run_dir)
    if run.status == "not started":
        raise DataError(f"{run_dir / 'run.json'}: absent; give the folder of a run")
    if run.result is None:
        print_line(f"{run.name}: {run.status}" + (f": {run.failure}" if run.failure else ""), console)
    else:
        final = run.result.final
        print_table(run.name, render.phase_table(run.result, run.items), console)
        print_line(
            f"final: test {run.metric} {render.percent(final.test)} %, sparsity {render.percent(final.sparsity)} %"
            f" ({render.percent(final.sparsity_all_parameters)} % of all parameters), theoretical speed-up"
            f" {render.number(final.theoretical_speedup) or 'not counted'}",
            console,
        )
    print_line(f"files: {run_dir}", console)


def print_table(title: str, table: render.Rows, console: Console) -> None:
    """Print ``table``, wider than the terminal if need be."""
    shown = render.rich_table(title, table)
    needed = Measurement.get(console, console.options.update(max_width=10_000), shown).maximum
    if needed > console.width:  # rather long lines than numbers cut off
        shown.width = needed
    console.print(shown, crop=False)


def print_line(line: str, console: Console) -> None:
    """Print ``line`` as it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(sweep: Sweep, frame: pd.DataFrame) -> tuple[render.Rows, list[str]]:
    table, notes = render.grid_table(frame, sweep.keys, sweep.metric, sweep.items)
    values, cells = _cells(sweep)
    scores = [_scores(runs) for runs in cells]
    groups = [[scores[place] for place in group] for group in rivals.groups(sweep.keys, values)]
    among = f"of the rows that differ from it in {', '.join(rivals.names(sweep.keys, values))} alone"
    notes += rivals.notes(groups, among=among, file="summary.csv")
    united = any(is_absent(value) for cell in values for value in cell)
    return table, [*notes, rivals.UNITED] if united else notes


def _frame(sweep: Sweep) -> pd.DataFrame:
    values, cells = _cells(sweep)
    rows = [_row(runs) for runs in cells]
    for group in rivals.groups(sweep.keys, values):
        marks = rivals.marks([_scores(cells[place]) for place in group])
        for place, mark in zip(group, marks, strict=True):
            rows[place]["mark"] = mark
    swept = {key: pd.Series([cell[place] for cell in values], dtype=object) for place, key in enumerate(sweep.keys)}
    return pd.DataFrame({**swept, **{name: [row[name] for row in rows] for name in _row([])}})


def _cells(sweep: Sweep) -> tuple[list[list[Any]], list[list[Run]]]:
    """The values of the swept keys in each cell, and its runs."""
    cells: dict[str, list[Run]] = {}
    for run in sweep.runs:
        if run.swept is not None:  # without its values, a run is only listed among the problems
            cells.setdefault(json.dumps([run.swept.get(key, ABSENT) for key in sweep.keys]), []).append(run)
    return [json.loads(cell) for cell in cells], list(cells.values())


def _scores(runs: Sequence[Run]) -> dict[int, float]:
    return {run.seed: float(run.result.final.test) for run in runs if run.result is not None}


def _row(runs: Sequence[Run]) -> dict[str, Any]:
    results = [run.result for run in runs if run.result is not None]
    counts = Counter(run.status for run in runs)
    finals = [result.final for result in results]
    tests = [float(final.test) for final in finals]
    interval = t_interval(tests) if tests else None
    budgets = [result.budget for result in results]
    last = [pruning for result in results if (pruning := result.phases[-1].pruning)]
    after = [{candidate.phase: candidate.test for candidate in result.candidates or ()} for result in results]
    two = [(result.final, tests) for result, tests in zip(results, after, strict=True) if tests.keys() >= set(BOTH)]
    return {
        "n": len(results),
        "status": ", ".join(f"{count} {status}" for status, count in counts.items()),
        "test_mean": _mean(tests),
        **{f"test_{name}": _mean([getattr(interval, name, None)]) for name in ("std", "low", "high")},
        "test_min": min(tests, default=np.nan),
        "test_max": max(tests, default=np.nan),
        "mark": "",
        "validation": _mean(final.validation for final in finals),
        **{f"after_{phase}": _mean(tests[phase] for _, tests in two) for phase in BOTH},
        **{f"chosen_{phase}": sum(final.phase == phase for final, _ in two) for phase in BOTH},
        "final_sparsity": _mean(final.sparsity for final in finals),
        "sparsity_all_parameters": _mean(final.sparsity_all_parameters for final in finals),
        "theoretical_speedup": _mean(final.theoretical_speedup for final in finals),
        "pruning_stability": _mean(pruning.pruning_stability for pruning in last),
        "epochs_used": _mean(budget.epochs_used for budget in budgets),
        "multiply_adds": _mean(result.ledger.multiply_adds for result in results if result.ledger),
        "images_per_second": _mean(result.images_per_second for result in results),
        "seconds": _mean(result.seconds_of_phases for result in results),
        "off_budget": ", ".join(dict.fromkeys(budget.deviation for budget in budgets if budget.deviation)),
    }


def _mean(values: Iterable[float | None]) -> float:
    """The mean of the numbers among ``values``; NaN where there is none."""
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else float("nan")
