"""A table of the paper as one HTML file: every cell links to its line in the list of all cells, and that to its runs."""

from __future__ import annotations

from base64 import b64encode

from jinja2 import Environment

from bimp_exp.paper.compare import Line
from bimp_exp.paper.page import (
    HEAD,
    LEGEND,
    METRICS,
    Page,
    Part,
    by_metric,
    cell_id,
    grids,
    summary,
    text_of,
    texts,
)

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ page.title }}</title>
<style>
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 90em; padding: 0 1em; color: #222 }
table { border-collapse: collapse } div { overflow-x: auto }
th, td { padding: .3em .7em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left } th { border-bottom: 2px solid #222 }
td a { color: inherit; text-decoration: none } :target td { background: #fff3c4 }
.reproduced { background: #e3f4e6 } .within { background: #f6f6f6 } .contradicted { background: #fbe3df }
.runs { white-space: normal; text-align: left; font-size: 85%; min-width: 22em } .grey { color: #777 }
img { max-width: 100% } code { background: #f4f4f4; padding: .1em .3em }
</style></head><body>
<h1>{{ page.title }}</h1>
{% for command in page.commands %}<p><code>{{ command }}</code></p>
{% endfor %}{% for table in tables %}<h2>{{ table.title }}</h2>
<div><table><tr>{% for cell in table.head %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr><td>{{ row.name }}</td>{% for cell in row.cells %}<td class="{{ cell.kind }}">
{%- if cell.id %}<a href="#{{ cell.id }}">{{ cell.text }}</a>{% endif %}</td>{% endfor %}</tr>
{% endfor %}</table></div>
<p>{{ table.summary }}</p>
{% endfor %}{% for note in notes %}<p>{{ note }}</p>
{% endfor %}{% if plot %}<p><img alt="{{ page.title }}" src="data:image/png;base64,{{ plot }}"></p>
{% endif %}<h2>Every cell</h2>
<div><table><tr>{% for cell in head %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for line in lines %}<tr id="{{ line.id }}">{% for text in line.texts[:-1] %}<td>{{ text }}</td>{% endfor %}
<td class="runs">{{ line.texts[-1] }}</td></tr>
{% endfor %}</table></div></body></html>
"""


def html(page: Page, plot: bytes) -> str:
    """The page with its plot, a PNG, inside it."""
    tables = []
    for part in page.parts:
        for metric, lines in by_metric(part.lines).items():
            name = f"{part.title}: {METRICS[metric]}" if len(page.parts) > 1 else METRICS[metric]
            made = grids(lines)
            for grid in made:
                rows = [
                    {"name": row, "cells": [_cell(part, of.get(c)) for c in grid.columns]}
                    for row, of in grid.rows.items()
                ]
                tables.append(
                    {
                        "title": f"{name}, {grid.title}".rstrip(", "),
                        "head": ["", *grid.columns],
                        "rows": rows,
                        "summary": summary(lines) if grid is made[-1] else "",
                    }
                )
    records = [{"id": cell_id(part, line), "texts": texts(part, line)} for part in page.parts for line in part.lines]
    return (
        Environment(autoescape=True, keep_trailing_newline=True)
        .from_string(PAGE)
        .render(
            page=page,
            tables=tables,
            notes=[LEGEND, *page.notes],
            plot=b64encode(plot).decode(),
            head=HEAD,
            lines=records,
        )
    )


def _cell(part: Part, line: Line | None) -> dict[str, str]:
    if line is None:
        return {}
    return {"text": text_of(line), "id": cell_id(part, line), "kind": line.verdict.partition(" ")[0]}
