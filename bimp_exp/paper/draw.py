"""Panels of lines with intervals: what every table and figure of the paper is drawn as."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, log2, log10
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bimp_exp.report.figures import COLOURS, GREY, MARKERS, new_figure, tidy

MAX_COLUMNS = 4
CURVE = 40  # from so many points on, a line has no marks
ASIDE = 0.012  # of the axis' length: lines that lie on each other are set apart by it


@dataclass(frozen=True, kw_only=True)
class Point:
    """A mean at ``x``. low, high: ends of the bar, None for a single run. published: the printed mean, if there is one."""

    x: float
    mean: float | None
    low: float | None = None
    high: float | None = None
    published: float | None = None


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How values of x are placed on the axis, and written."""

    place: Callable[[float], float]
    write: Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes: lines by label, and horizontal lines (label -> height) to compare them with."""

    title: str
    lines: dict[str, list[Point]]
    scale: Scale
    levels: dict[str, float] = field(default_factory=dict)


LINEAR = Scale(place=lambda x: x, write=lambda x: f"{x:g}")
DOUBLING = Scale(place=log2, write=lambda x: f"{x:g}")
"""Equally far for equal ratios: budgets, speed-ups."""
LEFT = Scale(place=lambda s: -log10(1 - s), write=lambda s: f"{100 * s:g}")
"""Sparsity by the logarithm of what is left: 0, 90 and 99 % are equally far from each other."""


def figure(
    panels: Sequence[Panel], *, x: str, y: str, title: str, note: str = "", columns: int = MAX_COLUMNS
) -> Figure:
    """The panels in rows of ``columns``, with one legend. Hollow marks are published means; ``note`` stands below.

    The y axis shows the data and no more; a point is never drawn outside of it.
    """
    columns = max(1, min(columns, len(panels)))
    rows = max(1, ceil(len(panels) / columns))
    made = new_figure(max(7.5, 2.2 + 3.1 * columns), 1.4 + 2.8 * rows)
    grid = made.subplots(rows, columns, squeeze=False)
    labels = list(dict.fromkeys(label for panel in panels for label in panel.lines))
    hollow = any(point.published is not None for p in panels for points in p.lines.values() for point in points)
    handles: dict[str, Any] = {}
    for axes, panel in zip(grid.flat, panels, strict=False):
        places = [panel.scale.place(point.x) for points in panel.lines.values() for point in points]
        width = (max(places) - min(places) if places else 0) or 1.0
        for label, points in panel.lines.items():
            number = labels.index(label)
            shift = ASIDE * width * (number - (len(labels) - 1) / 2)
            handles[label] = _line(axes, points, panel.scale, number, shift)
        for number, (label, height) in enumerate(panel.levels.items()):
            style = (0, (5, 3)) if number == 0 else (0, (1, 2))
            handles[label] = axes.axhline(height, color=GREY, linewidth=1, linestyle=style, zorder=1)
        axes.set_title(panel.title, fontsize=9)
        _ticks(axes, panel)
        tidy(axes)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    made.suptitle(title, fontsize=11, x=0.01, ha="left")
    made.supxlabel(f"{x}\n{note}".rstrip(), fontsize=10)
    made.supylabel(y, fontsize=10)
    if hollow:
        handles["published"] = grid.flat[0].plot([], [], "o", mfc="none", mec=GREY, ms=6)[0]
    if handles:
        made.legend(handles.values(), handles.keys(), loc="outside right upper", frameon=False, fontsize=9)
    return made


def _line(axes: Axes, points: Sequence[Point], scale: Scale, number: int, shift: float) -> Any:
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    if len(points) > CURVE:
        return axes.plot(
            [scale.place(p.x) for p in points], [p.mean or 0.0 for p in points], color=colour, linewidth=1.3
        )[0]
    ours = sorted((p for p in points if p.mean is not None), key=lambda p: p.x)
    places = [scale.place(p.x) + shift for p in ours]
    means = [p.mean for p in ours if p.mean is not None]
    bars = [
        [p.mean - (p.mean if p.low is None else p.low) for p in ours if p.mean is not None],
        [(p.mean if p.high is None else p.high) - p.mean for p in ours if p.mean is not None],
    ]
    handle = axes.errorbar(
        places,
        means,
        yerr=bars if ours else None,
        color=colour,
        marker=marker,
        markersize=4.5,
        capsize=2.5,
        linewidth=1.3,
    )
    printed = [(scale.place(p.x) + shift, p.published) for p in points if p.published is not None]
    if printed:
        axes.plot(*zip(*printed, strict=True), marker, mfc="none", mec=colour, ms=7, zorder=3)
    return handle


def _ticks(axes: Axes, panel: Panel) -> None:
    values = sorted({point.x for points in panel.lines.values() for point in points})
    if panel.scale is LINEAR and len(values) > 12:
        return
    step = ceil(len(values) / 8) or 1
    shown = values[::step]
    axes.set_xticks(
        [panel.scale.place(value) for value in shown], [panel.scale.write(value) for value in shown], fontsize=8
    )
    axes.minorticks_off()
