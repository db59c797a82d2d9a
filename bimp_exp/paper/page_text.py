"""The files of a table that are text: tNN.md for readers, .tex, and .csv with every digit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bimp_exp.paper.compare import Line
from bimp_exp.paper.page import (
    HEAD,
    LEGEND,
    METRICS,
    Page,
    by_metric,
    column_name,
    grids,
    row_name,
    setting_text,
    summary,
    texts,
)
from bimp_exp.paper.published import SCORES
from bimp_exp.report.render import Rows, latex


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
            text += [
                f"### {METRICS[metric]}",
                "",
                *(t for grid in grids(lines) for t in (*table(grid.texts()), "")),
                summary(lines),
                "",
            ]
    text += [line for note in [LEGEND, *page.notes] for line in (note, "")]
    text += ["## Every cell", ""]
    body = [texts(part, line) for part in page.parts for line in part.lines]
    return "\n".join([*text, *table([HEAD, *body])]) + "\n"


def tex(page: Page) -> str:
    """The tables of the scores alone, each a tabular."""
    return "\n".join(
        latex(grid.texts())
        for part in page.parts
        for metric, lines in by_metric(part.lines).items()
        if metric in SCORES
        for grid in grids(lines)
    )


def table(rows: Rows) -> list[str]:
    """Rows as lines of Markdown."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    cells.insert(1, ["---", *("--:" for _ in rows[0][1:])])
    return ["| " + " | ".join(row) + " |" for row in cells]
