"""The paper's figures, and its tables as figures, from columns of runs and of printed means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bimp_exp.paper.columns import PRINTED, Column, Row
from bimp_exp.paper.draw import DOUBLING, LEFT, LINEAR, Panel, Point
from bimp_exp.report.statistics import t_interval

BARS = "bars: 95 % t interval, of two seeds their range"
RANGE = "bars: lowest and highest seed"
TOTAL = "retraining in all cycles, J T_rt / T [%]"
NAMES = {
    **{rate: f"{rate} (tuned)" for rate in ("constant", "stepped", "cosine", "linear")},
    "renda": "Renda et al.",
    "imp": "IMP",
    "bimp": "BIMP",
    "global": "Global",
    "uniform": "Uniform",
    "uniform_plus": "Uniform+",
}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What a figure shows: its panels, the texts of its axes, what the bars are, how many panels stand side by side."""

    panels: Sequence[Panel]
    x: str
    y: str
    note: str = ""
    columns: int = 4


Values = Mapping[int, float]


def name(label: str) -> str:
    """A row as it is written in a legend: FT, GMP linear."""
    first, _, rest = label.partition(" ")
    return f"{NAMES.get(first, first.upper().replace('_', '-'))} {rest}".strip()


def point(x: float, values: Values, published: float | None = None, *, seeds_range: bool = False) -> Point:
    """The mean of a cell with its bar."""
    tests = list(values.values())
    if not tests:
        return Point(x=x, mean=None, published=published)
    if len(tests) == 1:
        return Point(x=x, mean=tests[0], published=published)
    interval = t_interval(tests)
    ends = (min(tests), max(tests)) if seeds_range or len(tests) < 3 else (interval.low, interval.high)
    return Point(x=x, mean=interval.mean, low=ends[0], high=ends[1], published=published)


def table(ours: Sequence[Column], printed: Sequence[Column], metric: str, reference: float | None) -> Drawing:
    """A table as panels: of schedules over their budget, one panel a sparsity and J, or of methods over the sparsity."""
    levels = {"dense (Table 3)": reference} if reference is not None and printed else {}
    if any(column.cycles for column in [*ours, *printed]):
        places = sorted({(c.sparsity, c.cycles or 0) for c in [*ours, *printed]})
        panels = []
        for sparsity, cycles in places:
            own, theirs = ([c for c in of if (c.sparsity, c.cycles) == (sparsity, cycles)] for of in (ours, printed))
            title = f"{100 * sparsity:g} %" + ("" if cycles == 1 else f", {cycles} cycles")
            panels.append(
                Panel(
                    title=title,
                    lines=_lines(own, theirs, x=lambda c: 100 * (c.fraction or 0)),
                    levels=levels,
                    scale=DOUBLING,
                )
            )
        side = len({cycles for _, cycles in places})
        return Drawing(panels=panels, x="T_rt / T [%], per cycle", y=metric, note=BARS, columns=side if side > 1 else 4)
    lines = _lines(ours, printed, x=lambda c: c.sparsity)
    return Drawing(panels=[Panel(title="", lines=lines, scale=LEFT)], x="sparsity [%]", y=metric, note=BARS)


def _lines(ours: Sequence[Column], printed: Sequence[Column], x: Callable[[Column], float]) -> dict[str, list[Point]]:
    labels = dict.fromkeys(label for column in [*printed, *ours] for label in column.rows)
    lines = {}
    for label in labels:
        tests = {x(c): c.rows[label].tests for c in ours if label in c.rows}
        means = {x(c): c.rows[label].tests[PRINTED] for c in printed if label in c.rows}
        lines[name(label)] = [point(at, tests.get(at, {}), means.get(at)) for at in sorted(tests.keys() | means.keys())]
    return lines


def totals(ours: Sequence[Column], printed: Sequence[Column], metric: str, reference: float | None) -> Drawing:
    """Figure 2: for every total of retraining the best number of cycles, chosen on validation; a panel a sparsity."""
    panels = []
    for sparsity in sorted({c.sparsity for c in [*ours, *printed]}):
        lines: dict[str, list[Point]] = {}
        here = [[c for c in of if c.sparsity == sparsity] for of in (ours, printed)]
        for label in dict.fromkeys(label for of in here for c in of for label in c.rows):
            rows, means = (_best_by_total(of, label) for of in here)
            lines[name(label)] = [
                point(
                    100 * total,
                    rows[total].tests if total in rows else {},
                    means[total].tests[PRINTED] if total in means else None,
                    seeds_range=True,
                )
                for total in sorted(rows.keys() | means.keys())
            ]
        levels = {"dense (Table 3)": reference} if reference is not None and printed else {}
        panels.append(Panel(title=f"{100 * sparsity:g} %", lines=lines, levels=levels, scale=DOUBLING))
    return Drawing(panels=panels, x=TOTAL, y=metric, note=RANGE)


def _best_by_total(columns: Sequence[Column], label: str) -> dict[float, Row]:
    """Of every total the row that is selected as a setting is: by most seeds, then by validation."""
    rows: dict[float, list[Row]] = {}
    for column in columns:
        if label in column.rows and column.cycles and column.fraction:
            rows.setdefault(round(column.cycles * column.fraction, 6), []).append(column.rows[label])
    return {total: max(of, key=lambda row: (len(row.tests), row.validation)) for total, of in rows.items()}


def envelope(ours: Sequence[Column], metric: str) -> Drawing:
    """Figures 3 to 5: the best J and T_rt of every total, the running maximum of their means, and the baseline."""
    panels = []
    for sparsity in sorted({c.sparsity for c in ours if "renda" not in c.rows or len(c.rows) > 1}):
        here = [c for c in ours if abs(c.sparsity - sparsity) < 0.01]
        lines: dict[str, list[Point]] = {}
        for label in dict.fromkeys(label for c in here for label in c.rows if label != "renda"):
            best = sorted(_best_by_total(here, label).items())
            lines[name(label)] = [point(100 * total, row.tests, seeds_range=True) for total, row in best]
            means = [float(np.mean(list(row.tests.values()))) for _, row in best]
            lines[f"{name(label)}, best so far"] = [
                Point(x=100 * total, mean=max(means[: place + 1])) for place, (total, _) in enumerate(best)
            ]
        bases = [float(np.mean(list(c.rows["renda"].tests.values()))) for c in here if "renda" in c.rows]
        panels.append(
            Panel(
                title=f"{100 * sparsity:g} %",
                lines=lines,
                levels={NAMES["renda"]: bases[0]} if bases else {},
                scale=DOUBLING,
            )
        )
    return Drawing(panels=panels, x=TOTAL, y=metric, note=RANGE)


def deviations(ours: Sequence[Column], metric: str) -> Drawing:
    """Figures 6 and 7: what shorter dense training costs, seed by seed against the full length; one line a sparsity."""
    panels = []
    for cycles in sorted({c.cycles or 1 for c in ours}):
        lines: dict[str, list[Point]] = {}
        for column in (c for c in ours if (c.cycles or 1) == cycles and "1 T" in c.rows):
            full = column.rows["1 T"].tests
            lines[f"{100 * column.sparsity:g} %"] = [
                point(
                    100 * float(label.split()[0]),
                    {seed: value - full[seed] for seed, value in row.tests.items() if seed in full},
                    seeds_range=True,
                )
                for label, row in column.rows.items()
            ]
        panels.append(
            Panel(
                title="one shot" if cycles == 1 else f"{cycles} cycles",
                lines=lines,
                levels={"full length": 0.0},
                scale=LINEAR,
            )
        )
    return Drawing(panels=panels, x="dense training, T_0 / T [%]", y=f"deviation of {metric}", note=RANGE, columns=1)


def criteria(ours: Sequence[Column], metric: str, *, by_cycles: bool) -> Drawing:
    """Figures 8 to 11: criteria over sparsity, FT left and SLR right; below over the speed-up, or (11) in several cycles."""
    panels = []
    for cycles in sorted({c.cycles or 1 for c in ours}):
        here = [c for c in ours if (c.cycles or 1) == cycles]
        for over in ("sparsity",) if by_cycles else ("sparsity", "speedup"):
            for schedule in ("ft", "slr"):
                lines: dict[str, list[Point]] = {}
                for label in dict.fromkeys(label for c in here for label in c.rows if label.startswith(f"{schedule} ")):
                    rows = [(c.sparsity, c.rows[label]) for c in here if label in c.rows]
                    lines[NAMES.get(label.split()[1], label.split()[1].upper())] = [
                        point(x, row.tests, seeds_range=True)
                        for x, row in (((s if over == "sparsity" else _speedup(row)), row) for s, row in rows)
                    ]
                what = (
                    f", {cycles} cycles"
                    if by_cycles and cycles > 1
                    else ", over the speed-up"
                    if over == "speedup"
                    else ""
                )
                panels.append(
                    Panel(
                        title=f"{schedule.upper()}{what}", lines=lines, scale=LEFT if over == "sparsity" else DOUBLING
                    )
                )
    return Drawing(
        panels=panels,
        x="sparsity [%]" if by_cycles else "sparsity [%], below: theoretical speed-up",
        y=metric,
        note=RANGE,
        columns=2,
    )


def _speedup(row: Row) -> float:
    values: list[Any] = [run.numbers.get("speedup") for run in row.runs]
    return float(np.mean([value for value in values if value is not None]))


def csv(drawing: Drawing) -> str:
    """The points of a drawing, a line each."""
    rows = [
        {"panel": panel.title, "line": label, **vars(point)}
        for panel in drawing.panels
        for label, points in panel.lines.items()
        for point in points
    ]
    return pd.DataFrame(rows).to_csv(index=False)
