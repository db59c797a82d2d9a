"""A sweep as a table of some of its keys against others: methods at equal sparsity, say.

``sparsity`` among these keys is the one that was reached, whether or not it could be asked for: a run stands under the swept
value that it came within a tolerance of (paper, Table 23: 0.25 %). The entries of a column compete.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bimp_exp.errors import ConfigError
from bimp_exp.report import rivals
from bimp_exp.report.statistics import Interval, Mark, t_interval
from bimp_exp.results.reader import ABSENT, Run, Sweep, is_absent
from bimp_exp.results.schema import Result

Values = tuple[Any, ...]
WITHIN = 0.0025  # of the sparsity asked for (paper, Table 23)
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The runs in one place of the table: all of one ``setting``, the values of the swept keys that the table hides.

    num_settings: how many had runs in this place. tests: seed -> score. validation, sparsity (the one that was reached),
    sparsity_all_parameters: means. All are in [0, 1].
    """

    setting: dict[str, Any]
    num_settings: int
    tests: dict[int, float]
    validation: float
    sparsity: float
    sparsity_all_parameters: float
    off_budget: str
    mark: Mark = ""

    @property
    def interval(self) -> Interval:
        """Of the mean, 95 %."""
        return t_interval(list(self.tests.values()))


@dataclass(frozen=True, kw_only=True)
class Closest:
    """For a place without runs: the ``sparsity`` nearest to its own that a finished run reached, and in what setting."""

    sparsity: float
    setting: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pivot:
    """``places``: (values of the row's keys, values of the column's keys) -> what stands there; None: nothing at all."""

    row_keys: list[str]
    column_keys: list[str]
    hidden_keys: list[str]
    within: float | None
    rows: list[Values]
    columns: list[Values]
    places: dict[tuple[Values, Values], Entry | Closest | None]


def pivot(sweep: Sweep, rows: Sequence[str], columns: Sequence[str], *, within: float = WITHIN) -> Pivot:
    """The pivot of ``sweep``; ConfigError for keys that were not swept.

    Of several settings in one place, the one with most runs there counts, and of these the one of best validation mean.
    """
    shown = _checked(sweep, rows, columns)
    runs = [run for run in sweep.runs if run.swept is not None]
    goals = sorted({run.swept["sparsity"] for run in runs if run.swept and "sparsity" in run.swept})
    goals = goals if "sparsity" in shown else [ABSENT]
    axes = [list(dict.fromkeys(_values(run, keys, goal) for goal in goals for run in runs)) for keys in (rows, columns)]
    hidden = [key for key in sweep.keys if key not in shown]
    found: dict[tuple[Values, Values], dict[Values, dict[int, Result]]] = {}
    for run in runs:
        if run.result is not None and (goal := _goal(run, goals, within)) is not None:
            place = _values(run, rows, goal), _values(run, columns, goal)
            there = found.setdefault(place, {}).setdefault(_values(run, hidden, goal), {})
            asked = (run.swept or {}).get("sparsity") == goal
            if asked or run.seed not in there:  # a seed counts once in a place
                there[run.seed] = run.result
    entries = {place: _entry(settings, hidden) for place, settings in found.items()}
    places: dict[tuple[Values, Values], Entry | Closest | None] = {}
    for column in axes[1]:
        marked: dict[Values, Entry] = {}
        for part in by_dataset(axes[0], rows):
            marked |= _mark({row: entries[row, column] for row in part if (row, column) in entries})
        for row in axes[0]:
            wanted = dict(zip(shown, (*row, *column), strict=True))
            places[row, column] = marked.get(row) or _closest(runs, wanted, hidden)
    return Pivot(
        row_keys=list(rows),
        column_keys=list(columns),
        hidden_keys=hidden,
        within=within if "sparsity" in shown else None,
        rows=axes[0],
        columns=axes[1],
        places=places,
    )


def _checked(sweep: Sweep, rows: Sequence[str], columns: Sequence[str]) -> list[str]:
    shown = [*rows, *columns]
    for name, keys in (("--rows", rows), ("--columns", columns)):
        for key in keys:
            if key not in sweep.keys:
                legal = ", ".join(sweep.keys) or "none"
                raise ConfigError(f"{name}: {key!r} was not swept in {sweep.folder}; the swept keys are {legal}")
            if shown.count(key) > 1:
                raise ConfigError(f"{name}: {key!r} is given twice; rows and columns share no key")
    return shown


def _values(run: Run, keys: Sequence[str], goal: float) -> Values:
    """The values of ``keys``, with ``goal`` for the sparsity where that is given."""
    swept = run.swept or {}
    given = {} if goal is ABSENT else {"sparsity": goal}
    return tuple((swept | given).get(key, ABSENT) for key in keys)


def _goal(run: Run, goals: Sequence[float], within: float) -> float | None:
    """The goal that a run reached: what it was asked for if that is one of several, else the nearest; or None."""
    if goals == [ABSENT]:
        return ABSENT
    assert run.result is not None
    reached, asked = run.result.final.sparsity, (run.swept or {}).get("sparsity")
    near = [goal for goal in goals if abs(goal - reached) <= within + ROUNDING]
    return min(near, key=lambda goal: (goal != asked, abs(goal - reached)), default=None)


def _entry(settings: dict[Values, dict[int, Result]], hidden: Sequence[str]) -> Entry:
    def merit(item: tuple[Values, dict[int, Result]]) -> tuple[int, float]:
        return len(item[1]), _mean(result.final.validation for result in item[1].values())

    setting, results = max(settings.items(), key=merit)
    finals = [result.final for result in results.values()]
    off = dict.fromkeys(result.budget.deviation for result in results.values() if result.budget.deviation)
    return Entry(
        setting=_present(dict(zip(hidden, setting, strict=True))),
        num_settings=len(settings),
        tests={seed: float(result.final.test) for seed, result in results.items()},
        validation=_mean(final.validation for final in finals),
        sparsity=_mean(final.sparsity for final in finals),
        sparsity_all_parameters=_mean(final.sparsity_all_parameters for final in finals),
        off_budget=", ".join(off),
    )


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not is_absent(value)}


def by_dataset(values: Sequence[Values], keys: Sequence[str]) -> list[list[Values]]:
    """The ``values`` of ``keys`` in parts that can be compared: those of one data set."""
    if "dataset" not in keys:
        return [list(values)]
    place = list(keys).index("dataset")
    return [[row for row in values if row[place] == name] for name in dict.fromkeys(row[place] for row in values)]


def _mark(column: dict[Values, Entry]) -> dict[Values, Entry]:
    """Entries of one column that can be compared, with their marks."""
    marks = rivals.marks([entry.tests for entry in column.values()])
    return {row: replace(entry, mark=mark) for (row, entry), mark in zip(column.items(), marks, strict=True)}


def _closest(runs: Sequence[Run], wanted: dict[str, Any], hidden: Sequence[str]) -> Closest | None:
    """The finished run of nearest sparsity that has all other values of ``wanted``."""
    if "sparsity" not in wanted:
        return None
    others = [key for key in wanted if key != "sparsity"]
    there = [
        (run.result.final.sparsity, dict(zip(hidden, _values(run, hidden, ABSENT), strict=True)))
        for run in runs
        if run.result is not None and _values(run, others, ABSENT) == tuple(wanted[key] for key in others)
    ]
    if not there:
        return None
    sparsity, setting = min(there, key=lambda pair: abs(pair[0] - wanted["sparsity"]))
    return Closest(sparsity=sparsity, setting=_present(setting))
