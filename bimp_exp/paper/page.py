"""A table of the paper beside ours as texts: its grids as printed, and a line for each printed number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bimp_exp.config.check import plain
from bimp_exp.paper.columns import label
from bimp_exp.paper.compare import Line
from bimp_exp.paper.figures import name
from bimp_exp.paper.published import SCORES, Place
from bimp_exp.report.render import Rows

SIGNS = {
    "reproduced": "=",
    "within noise but imprecise": "~",
    "contradicted higher": "↑",
    "contradicted lower": "↓",
    "not run": "",
    "not comparable": "/",
}
"""Of the verdicts, in the order in which they are counted."""
MARKS = {"best": "*", "tie": "≈", "unknown": "?", "": ""}
METRICS = {
    "accuracy": "test accuracy [%]",
    "miou": "test mIoU [%]",
    "bleu": "test BLEU",
    "speedup": "theoretical speed-up",
}
METRICS |= {"achieved_sparsity": "sparsity reached [%]", "images_per_second": "images/s"}
HEAD = [
    "cell",
    "ours",
    "n",
    "95 % interval",
    "printed",
    "difference [95 %]",
    "p",
    "q",
    "p TOST (margin)",
    "verdict",
    "setting",
    "runs",
]
LEGEND = (
    "Each cell: ours, mean ± half-width of the 95 % t interval over seeds (number of seeds) and its mark in the column, | the"
    " printed mean ± standard deviation of two seeds, then the verdict. * best of ours in its column, ≈ not told apart from it"
    " (paired t test on common seeds, Holm over the column), ? too few runs to say; ° the three best as printed. Verdicts:"
    " = reproduced, ~ within noise but imprecise, ↑ contradicted, ours is higher, ↓ contradicted, ours is lower, / not comparable,"
    " blank: not run."
)
SELECTED = (
    "Settings were chosen on the mean validation score of the seeds, the test scores of the chosen ones were read once. The same"
    " networks are good on both, so choosing among k equal settings still lifts a mean of two seeds whose standard deviation is 0.2"
    " points by about 0.06 (k = 3), 0.11 (12) or 0.14 points (36); --confirm SEEDS runs the chosen ones with fresh seeds."
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One network on one data set in a table, with its lines."""

    title: str
    lines: Sequence[Line]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A table. name: t04. commands: of the sweeps that its runs come from. notes: on the whole table."""

    name: str
    title: str
    commands: Sequence[str]
    notes: Sequence[str]
    parts: Sequence[Part]


def row_name(place: Place) -> str:
    """As the paper writes it: ALLR, GMP (linear)."""
    text = name(label(place.method, place.schedule, ""))
    return f"{text} ({place.variant})" if place.variant else text


def sparsity_name(place: Place) -> str:
    """ "90 %"; "" where a number belongs to none."""
    return "" if place.sparsity is None else f"{100 * place.sparsity:g} %"


def budget_name(place: Place) -> str:
    """ "2 × 2.5 %": J and T_rt / T; "" where the method chooses them."""
    return "" if place.fraction is None else f"{place.cycles} × {100 * place.fraction:g} %"


def column_name(place: Place) -> str:
    """ "90 %, 2 × 2.5 %"."""
    return ", ".join(filter(None, [sparsity_name(place), budget_name(place)]))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Lines in rows and columns as printed: one sparsity over its budgets, or all sparsities."""

    title: str
    columns: list[str]
    rows: dict[str, dict[str, Line]]

    def texts(self) -> Rows:
        """As rows of cells."""
        body = [[row, *(text_of(of[c]) if c in of else "" for c in self.columns)] for row, of in self.rows.items()]
        return [[self.title, *self.columns], *body]


def grids(lines: Sequence[Line]) -> list[Grid]:
    """The tables that the lines of one metric make, in the order of their sparsities."""
    found: dict[str, Grid] = {}
    for line in sorted(lines, key=lambda line: line.cell.place.sparsity or 0):
        place = line.cell.place
        title, column = (
            (sparsity_name(place), budget_name(place)) if place.fraction else ("", sparsity_name(place) or "all")
        )
        grid = found.setdefault(title, Grid(title=title, columns=[], rows={}))
        if column not in grid.columns:
            grid.columns.append(column)
        grid.rows.setdefault(row_name(place), {})[column] = line
    return list(found.values())


def counts(lines: Sequence[Line]) -> dict[str, int]:
    """How many lines have each verdict, of those with a printed number."""
    found = Counter[str](line.verdict for line in lines if line.cell.published)
    return {verdict: found[verdict] for verdict in SIGNS}


def summary(lines: Sequence[Line]) -> str:
    """Counts of verdicts and the median difference, in one line."""
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts(lines).items() if count)
    found = [
        line.judged.difference for line in lines if line.judged.p is not None and line.judged.difference is not None
    ]
    return f"{told}." + (f" Median difference of the compared scores: {median(found):+.2f} points." if found else "")


def cell_id(part: Part, line: Line) -> str:
    """An anchor that is unique on the page, for links to a printed number."""
    place = line.cell.place
    values = (
        part.title,
        place.method,
        place.schedule,
        place.variant,
        place.sparsity,
        place.cycles,
        place.fraction,
        place.metric,
    )
    return "-".join(str(value).replace(" ", "_") for value in values if value not in (None, ""))


def by_metric(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """The lines of each metric, scores first."""
    metrics = dict.fromkeys(line.cell.place.metric for line in lines)
    return {metric: [line for line in lines if line.cell.place.metric == metric] for metric in metrics}


def text_of(line: Line) -> str:
    """ "90.75 ± 0.16 (10) * | 90.72 ± 0.22° =": ours, the printed number, the verdict."""
    ours = ""
    if line.ours:
        width = "" if line.ours.half_width is None else f" ± {line.ours.half_width:.2f}"
        ours = f"{line.ours.mean:.2f}{width} ({line.ours.n}){MARKS[line.mark]}"
    printed = line.cell.published
    if printed is None:
        return ours
    return f"{ours} | {_printed(line)} {SIGNS[line.verdict]}".strip()


def texts(part: Part, line: Line) -> list[str]:
    """The line of a cell in the list of all of them, as in ``HEAD``."""
    ours, place = line.ours, line.cell.place
    what = "" if place.metric in SCORES else f", {place.metric.replace('_', ' ')}"
    limits = "" if ours is None or ours.low is None else f"{ours.low:.2f} to {ours.high:.2f}"
    apart = "" if line.judged.difference is None else f"{line.judged.difference:+.2f}"
    apart += "" if line.judged.low is None else f" [{line.judged.low:+.2f}, {line.judged.high:+.2f}]"
    tost = "" if line.judged.p_tost is None else f"{line.judged.p_tost:.3g} ({line.judged.margin:g})"
    chosen = f"{setting_text(line.cell.setting)} (of {line.cell.num_settings})" if line.cell.num_settings > 1 else ""
    chosen += "" if line.cell.best_on_test is None or not chosen else f"; best on test {line.cell.best_on_test:.2f}"
    return [
        f"{row_name(place)}, {column_name(place)}{what}",
        "" if ours is None else f"{ours.mean:.2f}",
        "" if ours is None else str(ours.n),
        limits,
        _printed(line) if line.cell.published else "",
        apart,
        "" if line.judged.p is None else f"{line.judged.p:.3g}",
        "" if line.judged.p_adjusted is None else f"{line.judged.p_adjusted:.3g}",
        tost,
        line.verdict + (f": {line.reason}" if line.reason else "") if line.cell.published else "not printed",
        chosen,
        ", ".join(line.cell.runs),
    ]


def setting_text(values: Mapping[str, Any]) -> str:
    """ "weight_decay=0.0002": keys by their last part."""
    return ", ".join(f"{key.rpartition('.')[2]}={plain(value)}" for key, value in values.items())


def _printed(line: Line) -> str:
    number = line.cell.published
    assert number is not None
    digits = 2 if number.place.metric in SCORES or number.place.metric == "achieved_sparsity" else 0
    spread = "" if number.std is None else f" ± {number.std:.{max(digits, 1)}f}"
    return f"{number.mean:.{digits}f}{spread}{'°' if line.highlighted else ''}"
