"""The files and the printed form of a pivot: pivot.md, .html and .tex for readers, pivot.csv with every digit."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from bimp_exp import files
from bimp_exp.report import render, rivals
from bimp_exp.report.pivot import WITHIN, Closest, Entry, Pivot, Values, by_dataset, pivot
from bimp_exp.report.summary import print_line, print_table
from bimp_exp.results.reader import Sweep


def report(
    sweep: Sweep, folder: Path, rows: Sequence[str], columns: Sequence[str], console: Console, *, within: float = WITHIN
) -> None:
    """Write pivot.csv, .md, .tex and .html of ``sweep`` to ``folder``, atomically, and print the table."""
    made = pivot(sweep, rows, columns, within=within)
    table, lines = cells(made), notes(made, sweep.metric)
    files.write(folder / "pivot.csv", flat(made).to_csv(index=False).encode())
    files.write(folder / "pivot.md", render.markdown(sweep, table, lines).encode())
    files.write(folder / "pivot.tex", render.latex(table).encode())
    files.write(folder / "pivot.html", render.html(sweep, table, lines, None).encode())
    print_table(sweep.name, table, console)
    for line in [*lines, *(f"{name}: {problem}" for name, problem in sweep.problems)]:
        print_line(line, console)


def cells(made: Pivot) -> render.Rows:
    """The table: mean ± half-width of its interval in percent, n where it is not the usual one, and a mark."""
    usual = rivals.usual_n([entry.tests for entry in _entries(made)])
    head = [*made.row_keys, *(_settings(made.column_keys, column) for column in made.columns)]
    body = [
        [*map(render.text, row), *(_cell(made.places[row, column], usual) for column in made.columns)]
        for row in made.rows
    ]
    return [head, *body]


def notes(made: Pivot, metric: str) -> list[str]:
    """What the table cannot say in its cells: how it was made, the settings chosen, what is nearest to each blank."""
    usual = rivals.usual_n([entry.tests for entry in _entries(made)])
    lines = [f"Test {metric} [%], means; n = {usual} seeds unless a cell says otherwise."]
    groups = [
        [place.tests for row in part if isinstance(place := made.places[row, column], Entry)]
        for column in made.columns
        for part in by_dataset(made.rows, made.row_keys)
    ]
    among = "of its column and dataset" if "dataset" in made.row_keys else "of its column"
    lines += rivals.notes(groups, among=among, file="pivot.csv")
    if made.within is not None:
        lines += [
            f"A run stands under the sparsity that it reached within {100 * made.within:g} %, asked for or not; others are left"
            " out."
        ]
    if any(isinstance(place, Entry) for place in made.places.values()):
        lines += [f"Sparsity of all parameters: {_sparsities(made)}."]
    if made.hidden_keys:
        lines += [
            "Of several settings of the other keys in one place, the one with most runs there is listed, and of these the one of"
            " best validation mean."
        ]
    for (row, column), place in made.places.items():
        where = _settings([*made.row_keys, *made.column_keys], (*row, *column))
        if isinstance(place, Entry) and place.setting:
            reached = f", sparsity reached {render.percent(place.sparsity)} %" if made.within is not None else ""
            several = f" (of {place.num_settings})" if place.num_settings > 1 else ""
            lines += [f"{where}: {_given(place.setting)}{several}{reached}."]
        if isinstance(place, Closest):
            setting = f" with {_given(place.setting)}" if place.setting else ""
            lines += [f"{where}: blank, the closest is {render.percent(place.sparsity)} %{setting}."]
    off: dict[str, list[str]] = {}
    for (row, _), place in made.places.items():
        if isinstance(place, Entry) and place.off_budget:
            off.setdefault(place.off_budget, []).append(_settings(made.row_keys, row))
    here = "; ".join(f"{spent} for {', '.join(dict.fromkeys(rows))}" for spent, rows in off.items())
    return [*lines, f"{render.OFF_BUDGET} Here {here}."] if off else lines


def flat(made: Pivot) -> pd.DataFrame:
    """A line per place of the table, unrounded; ``closest_sparsity`` where nothing stands there."""
    lines: list[dict[str, Any]] = []
    for (row, column), place in made.places.items():
        entry = place if isinstance(place, Entry) else None
        setting, interval = (entry.setting, entry.interval) if entry else ({}, None)
        given = zip((*made.row_keys, *made.column_keys), (*row, *column), strict=True)
        lines.append(
            {key: render.text(value) for key, value in given}
            | {key: render.text(setting[key]) if key in setting else "" for key in made.hidden_keys}
            | {
                "n": len(entry.tests) if entry else 0,
                **{f"test_{name}": _number(getattr(interval, name, None)) for name in ("mean", "std", "low", "high")},
                "validation": entry.validation if entry else nan,
                "reached_sparsity": entry.sparsity if entry else nan,
                "sparsity_all_parameters": entry.sparsity_all_parameters if entry else nan,
                "off_budget": entry.off_budget if entry else "",
                "mark": entry.mark if entry else "",
                "closest_sparsity": place.sparsity if isinstance(place, Closest) else nan,
            }
        )
    return pd.DataFrame(lines)


def _entries(made: Pivot) -> list[Entry]:
    return [place for place in made.places.values() if isinstance(place, Entry)]


def _number(value: float | None) -> float:
    return nan if value is None else value


def _sparsities(made: Pivot) -> str:
    """For each column, from the lowest to the highest in its places."""
    found: dict[str, list[float]] = {}
    for (_, column), place in made.places.items():
        if isinstance(place, Entry):
            found.setdefault(_settings(made.column_keys, column), []).append(place.sparsity_all_parameters)
    ranges = {
        name: dict.fromkeys((render.percent(min(all_)), render.percent(max(all_)))) for name, all_ in found.items()
    }
    return "; ".join(f"{' to '.join(ends)} % for {name}" for name, ends in ranges.items())


def _cell(place: Entry | Closest | None, usual: int) -> str:
    if not isinstance(place, Entry):
        return ""
    number = f" (n={len(place.tests)})" if len(place.tests) != usual else ""
    interval = place.interval
    return render.mean_cell(interval.mean, _number(interval.half_width)) + number + rivals.SIGNS[place.mark]


def _settings(keys: Sequence[str], values: Values) -> str:
    return _given(dict(zip(keys, values, strict=True)))


def _given(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={render.text(value)}" for key, value in values.items())
