"""The plot of a sweep's grid: the mean test metric, with an interval over seeds, over the values of one swept key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil, log10
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bimp_exp.report import render
from bimp_exp.report.figures import COLOURS, MARKERS, new_figure, tidy
from bimp_exp.results.reader import is_absent

MAX_PANELS = 24
TICKS = [0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999]  # of sparsity
WIDE = 50  # from this ratio of largest to smallest value on, the x axis is logarithmic


def grid_figure(frame: pd.DataFrame, keys: Sequence[str], metric: str) -> Figure:
    """The test metric [%] over the swept numeric key with most values, or without one over the most categories.

    A line per value of the next key (categories first), a panel per combination of the rest (the first 24). Where some
    cells lack some keys (a union of grids) it is the trade-off between the metric and the sparsity that was reached.
    """
    shared = [key for key in keys if not any(map(is_absent, frame[key]))]
    if len(shared) < len(keys):
        return _trade_off(frame, shared, metric)
    x, line, rest = choose_axes(frame, keys)
    panels, ends = _split(frame, rest), bar_ends(frame)
    shown = list(panels.items())[:MAX_PANELS]
    num_last = len(_values(frame, rest[-1])) if rest else 1
    num_columns = num_last if 1 < num_last <= 4 else min(len(shown), 4)
    num_rows = ceil(len(shown) / num_columns)
    figure = new_figure(3.2 + 3.4 * num_columns, 0.8 + 3.2 * num_rows)
    grid = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False)
    lines = list(_split(frame, line))
    for axes, (title, panel) in zip(grid.flat, shown, strict=False):
        for label, part in _split(panel, line).items():
            _draw(axes, part, frame, x, ends, number=lines.index(label), num_lines=len(lines), label=label)
        axes.set_title(title, fontsize=9)
        tidy(axes)
        _label_x(axes, frame, x)
    for place in range(len(shown), grid.size):
        grid.flat[place].set_visible(False)
        grid.flat[place - num_columns].tick_params(labelbottom=True)
    figure.supxlabel(x or "", fontsize=10)
    figure.supylabel(_y_label(frame, metric), fontsize=10)
    _limit_y(grid.flat[0], frame, ends)
    if len(panels) > len(shown):
        figure.suptitle(f"the first {len(shown)} of {len(panels)} panels", fontsize=10)
    if line:
        handles = {
            label: handle for a in grid.flat for handle, label in zip(*a.get_legend_handles_labels(), strict=True)
        }
        drawn = {label.removeprefix(f"{line[0]}="): handles[label] for label in lines if label in handles}
        figure.legend(drawn.values(), drawn.keys(), title=line[0], loc="outside right upper", frameon=False)
    return figure


def _trade_off(frame: pd.DataFrame, keys: Sequence[str], metric: str) -> Figure:
    """The test metric over the reached sparsity; a line per combination of ``keys``, the ones that all cells have."""
    figure = new_figure(8, 4.8)
    axes, ends = figure.subplots(), bar_ends(frame)
    for number, (label, part) in enumerate(_split(frame, keys).items()):
        part = part[part["test_mean"].notna()].sort_values("final_sparsity", kind="stable")
        places = [_place(reached) for reached in part["final_sparsity"]]
        _errorbar(axes, places, part, ends, number=number, label=label.partition("=")[2], linestyle="-")
    low, high = axes.get_xlim()
    ticks = [tick for tick in TICKS if low <= _place(tick) <= high]
    axes.set_xticks([_place(tick) for tick in ticks], [f"{100 * tick:g}" for tick in ticks])
    axes.set_xlabel("sparsity reached [%], on a scale of the logarithm of what is left")
    axes.set_ylabel(_y_label(frame, metric))
    _limit_y(axes, frame, ends)
    tidy(axes)
    if keys:
        figure.legend(title=keys[0], loc="outside right upper", frameon=False)
    return figure


def _place(sparsity: float) -> float:
    """Where a sparsity is drawn: 0, 0.9 and 0.99 are equally far from each other; nothing beyond 0.9999."""
    return -log10(max(1 - sparsity, 1e-4))


def choose_axes(frame: pd.DataFrame, keys: Sequence[str]) -> tuple[str | None, list[str], list[str]]:
    """The key on the x axis (None if only seeds were swept), the key told apart by lines, those by panels."""
    varying = [key for key in keys if len(_values(frame, key)) > 1] or list(keys[:1])
    if not varying:
        return None, [], []
    numeric = [key for key in varying if _is_numeric(frame, key)]
    x = max(numeric or varying, key=lambda key: len(_values(frame, key)))  # the first of equals
    rest = [key for key in varying if key != x]
    # Stable: categories first; data sets last, since lines of one panel are compared.
    rest.sort(key=lambda key: (key == "dataset", _is_numeric(frame, key)))
    return x, rest[:1], [key for key in varying if key in rest[1:]]


def bar_ends(frame: pd.DataFrame) -> tuple[str, str]:
    """The columns that bars reach to: the 95 % t interval, or in all cells the lowest and highest seed where a cell has two seeds.

    Of two seeds the interval is 13 times as wide as they are apart: it would press all else into a line.
    """
    return ("test_min", "test_max") if (frame["n"] == 2).any() else ("test_low", "test_high")


def _y_label(frame: pd.DataFrame, metric: str) -> str:
    bars = {"test_low": "95 % t interval over seeds", "test_min": "lowest to highest seed"}[bar_ends(frame)[0]]
    return f"test {metric} [%]" + (f"\nmean, {bars}" if (frame["n"] > 1).any() else "")


def _limit_y(axes: Axes, frame: pd.DataFrame, ends: tuple[str, str]) -> None:
    """From the lowest to the highest end of a bar and a little more, within [0, 100]."""
    drawn = 100 * np.clip(frame[["test_mean", *ends]].to_numpy(dtype=float), 0, 1)
    drawn = drawn[~np.isnan(drawn)]
    if drawn.size:
        room = max(0.05 * float(np.ptp(drawn)), 0.25)
        axes.set_ylim(max(drawn.min() - room, 0.0), min(drawn.max() + room, 100.0))


def _draw(
    axes: Axes,
    part: pd.DataFrame,
    frame: pd.DataFrame,
    x: str | None,
    ends: tuple[str, str],
    *,
    number: int,
    num_lines: int,
    label: str,
) -> None:
    part = part[part["test_mean"].notna()]
    numeric = x is not None and _is_numeric(frame, x)
    if numeric:
        part = part.sort_values(str(x))
        places = [float(value) for value in part[x]]
    else:  # side by side, so that equal means are all seen
        values = _values(frame, x) if x else {}
        aside = 0.5 * ((number + 0.5) / num_lines - 0.5)
        places = [values[json.dumps(value)] + aside for value in part[x]] if x else [0.0] * len(part)
    _errorbar(axes, places, part, ends, number=number, label=label, linestyle="-" if numeric else "")


def _errorbar(
    axes: Axes,
    places: Sequence[float],
    part: pd.DataFrame,
    ends: tuple[str, str],
    *,
    number: int,
    label: str,
    linestyle: str,
) -> None:
    lengths = [(part[end] - part["test_mean"]).abs().fillna(0) for end in ends]
    axes.errorbar(
        places,
        100 * part["test_mean"],
        yerr=[100 * length for length in lengths],
        label=label,
        color=COLOURS[number % len(COLOURS)],
        marker=MARKERS[number % len(MARKERS)],
        linestyle=linestyle,
        markersize=5,
        capsize=3,
        linewidth=1.4,
    )


def _label_x(axes: Axes, frame: pd.DataFrame, x: str | None) -> None:
    if x is None:
        axes.set_xticks([])
    elif not _is_numeric(frame, x) or frame.empty:
        names = [_text(json.loads(value)) for value in _values(frame, x)]
        upright = sum(len(name) for name in names) > 30
        axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0)
        axes.set_xlim(-0.5, max(len(names), 1) - 0.5)
    else:
        numbers = sorted(set(frame[x]))
        if numbers[0] > 0 and numbers[-1] / numbers[0] >= WIDE:
            axes.set_xscale("log")
        if len(numbers) <= 8:
            axes.set_xticks(numbers, [f"{value:g}" for value in numbers])
            axes.minorticks_off()


def _split(frame: pd.DataFrame, keys: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The rows by their values of ``keys``, in the frame's order, each named "key=value, ..."."""
    if not keys:
        return {"": frame}
    names = [", ".join(f"{key}={_text(row[key])}" for key in keys) for _, row in frame.iterrows()]
    return {name: frame[[other == name for other in names]] for name in dict.fromkeys(names)}


def _values(frame: pd.DataFrame, key: str) -> dict[str, int]:
    """Each distinct value (as JSON: lists are values too) -> its place in the frame's order."""
    return {value: place for place, value in enumerate(dict.fromkeys(json.dumps(value) for value in frame[key]))}


def _is_numeric(frame: pd.DataFrame, key: str) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in frame[key])


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else render.text(value)
