"""The files of a table: tNN.md and .html for readers, .tex, and .csv with every digit; a line for each printed number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd

from bimp_exp.config.check import plain
from bimp_exp.paper.columns import label
from bimp_exp.paper.compare import Line
from bimp_exp.paper.figures import name
from bimp_exp.paper.published import SCORES, Place
from bimp_exp.report.render import Rows, latex

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
    "Each cell: ours, mean ± half-width of the 95 % t interval over seeds (number of seeds) and its mark in the column, | the printed"
    " mean ± standard deviation of two seeds, then the verdict. * best of ours in its column, ≈ not told apart from it (paired t test on"
    " common seeds, Holm over the column), ? too few runs to say; ° the three best as printed. Verdicts: = reproduced, ~ within noise but"
    " imprecise, ↑ contradicted, ours is higher, ↓ contradicted, ours is lower, / not comparable, blank: not run."
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


def column_name(place: Place) -> str:
    """ "90 %, 2 x 2.5 %"."""
    sparsity = "" if place.sparsity is None else f"{100 * place.sparsity:g} %"
    budget = "" if place.fraction is None else f", {place.cycles} × {100 * place.fraction:g} %"
    return sparsity + budget


def overview(lines: Sequence[Line]) -> Rows:
    """Rows and columns as printed, of one metric."""
    columns = list(dict.fromkeys(column_name(line.cell.place) for line in lines))
    rows: dict[str, dict[str, str]] = {}
    for line in lines:
        rows.setdefault(row_name(line.cell.place), {})[column_name(line.cell.place)] = text_of(line)
    return [["", *columns], *([row, *(cells.get(column, "") for column in columns)] for row, cells in rows.items())]


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


def details(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """A record per line, unrounded."""
    return [
        {
            "row": row_name(line.cell.place),
            "column": column_name(line.cell.place),
            **vars(line.cell.place),
            "n": line.ours.n if line.ours else 0,
            "mean": line.ours.mean if line.ours else None,
            "std": line.ours.std if line.ours else None,
            "low": line.ours.low if line.ours else None,
            "high": line.ours.high if line.ours else None,
            "mark": line.mark,
            "published_mean": line.cell.published.mean if line.cell.published else None,
            "published_std": line.cell.published.std if line.cell.published else None,
            "difference": line.judged.difference,
            "difference_low": line.judged.low,
            "difference_high": line.judged.high,
            "p": line.judged.p,
            "p_adjusted": line.judged.p_adjusted,
            "p_tost": line.judged.p_tost,
            "margin": line.judged.margin,
            "verdict": line.verdict if line.cell.published else "",
            "reason": line.reason,
            "setting": setting_text(line.cell.setting),
            "num_settings": line.cell.num_settings,
            "validation": line.cell.validation,
            "best_on_test": line.cell.best_on_test,
            "runs": " ".join(line.cell.runs),
        }
        for line in lines
    ]


def csv(page: Page) -> str:
    """All lines of all parts."""
    rows = [{"part": part.title, **record} for part in page.parts for record in details(part.lines)]
    return pd.DataFrame(rows).to_csv(index=False)


def markdown(page: Page) -> str:
    """The table, and below it a line for each printed number."""
    text = [f"# {page.title}", "", *(f"    {command}" for command in page.commands), ""]
    for part in page.parts:
        text += [f"## {part.title}", ""] if len(page.parts) > 1 else []
        for metric, lines in by_metric(part.lines).items():
            text += [f"### {METRICS[metric]}", "", *table(overview(lines)), "", summary(lines), ""]
    text += [line for note in [LEGEND, *page.notes] for line in (note, "")]
    text += ["## Every cell", ""]
    body = [texts(part, line) for part in page.parts for line in part.lines]
    return "\n".join([*text, *table([HEAD, *body])]) + "\n"


def tex(page: Page) -> str:
    """The tables of the scores alone, each a tabular."""
    return "\n".join(
        latex(overview(lines))
        for part in page.parts
        for metric, lines in by_metric(part.lines).items()
        if metric in SCORES
    )


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


def table(rows: Rows) -> list[str]:
    """Rows as lines of Markdown."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    cells.insert(1, ["---", *("--:" for _ in rows[0][1:])])
    return ["| " + " | ".join(row) + " |" for row in cells]
