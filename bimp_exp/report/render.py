"""Tables as rows of strings, and those rows as Markdown, LaTeX, one HTML file and on the terminal."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from math import isnan
from typing import Any

import pandas as pd
from jinja2 import Environment
from rich.markup import escape as escape_markup
from rich.table import Table

from bimp_exp.report.rivals import SIGNS
from bimp_exp.results.reader import Sweep, is_absent
from bimp_exp.results.schema import Result

Rows = list[list[str]]  # the first row is the heading

ALL_PARAMETERS = "sparsity of all parameters [%]"
OFF_BUDGET = "off budget: epochs used/allowed where a run did not use exactly its budget; such rows do not compare."
CANDIDATES = (
    "after training, after fine-tuning: test means; † marks the network that a run ends with, the one of higher validation"
    " {metric}, in all runs of the row or in so many of them. The main column is of the marked ones."
)
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<title>{{ sweep.name }}</title>
<style>
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
table { border-collapse: collapse }
th, td { padding: .3em .8em; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } th { border-bottom: 2px solid #222 }
tr:hover td { background: #f4f4f4 } img { max-width: 100% } code { background: #f4f4f4; padding: .1em .3em }
div { overflow-x: auto }
</style></head><body>
<h1>{{ sweep.name }}</h1>
<p><code>{{ sweep.command }}</code></p>
<div><table>
<tr>{% for cell in table[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in table[1:] %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% for note in notes %}<p>{{ note }}</p>
{% endfor %}{% if sweep.problems %}<h2>Runs without a result</h2>
<ul>
{% for name, problem in sweep.problems %}<li>{{ name }}: {{ problem }}</li>
{% endfor %}</ul>
{% endif %}{% if plot %}<p><img alt="the table as a plot" src="data:image/png;base64,{{ plot }}"></p>
{% endif %}</body></html>
"""


def percent(value: float | None) -> str:
    """A share in [0, 1] as percent with 2 decimals, blank where there is none."""
    return "" if value is None or isnan(value) else f"{100 * value:.2f}"


def number(value: float | None) -> str:
    """4 significant digits (whole numbers below 10^9 in full), blank where there is none."""
    if value is None or isnan(value):
        return ""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def mean_cell(mean: float, half_width: float) -> str:
    """ "98.06 ± 0.56" in percent; half_width: NaN for a single run."""
    return percent(mean) + (f" ± {percent(half_width)}" if not isnan(half_width) else "")


def text(swept: Any) -> str:
    """A swept value, blank where the run does not have the key."""
    return "" if is_absent(swept) else "null" if swept is None else str(swept)


def grid_table(frame: pd.DataFrame, keys: Sequence[str], metric: str, items: str) -> tuple[Rows, list[str]]:
    """The cells of a sweep, and notes: a column of equal cells becomes a note, one of blanks nothing."""
    test_cells = [
        mean_cell(mean, high - mean) + SIGNS[mark]
        for mean, high, mark in zip(frame["test_mean"], frame["test_high"], frame["mark"], strict=True)
    ]
    others = [[part for part in status.split(", ") if not part.endswith(" finished")] for status in frame["status"]]
    test = f"test {metric} [%]"
    after = {name: _candidates(frame, name) for name in ("training", "finetune")}
    columns: dict[str, list[str]] = {
        **{key: [text(swept) for swept in frame[key]] for key in keys},
        "n": [str(n) for n in frame["n"]],
        "other runs": [", ".join(parts) for parts in others],
        test: test_cells,
        f"validation {metric} [%]": [percent(value) for value in frame["validation"]],
        "after training [%]": after["training"],
        "after fine-tuning [%]": after["finetune"],
        "sparsity [%]": [percent(value) for value in frame["final_sparsity"]],
        ALL_PARAMETERS: [percent(value) for value in frame["sparsity_all_parameters"]],
        "theoretical speed-up": [number(value) for value in frame["theoretical_speedup"]],
        "pruning stability [%]": [percent(value) for value in frame["pruning_stability"]],
        "epochs": [number(value) for value in frame["epochs_used"]],
        "training multiply-adds": [number(value) for value in frame["multiply_adds"]],
        "off budget": list(frame["off_budget"]),
        f"{items}/s": [number(value) for value in frame["images_per_second"]],
        "seconds": [number(value) for value in frame["seconds"]],
    }
    counts = list(frame["n"])
    free = {name: cells for name, cells in columns.items() if name not in (*keys, test)}
    equal = {name: cells for name, cells in free.items() if _all_equal(cells, counts)}
    if len(frame) < 2:
        equal = {name: cells for name, cells in equal.items() if not any(cells)}
    shown = {name: cells for name, cells in columns.items() if name not in equal}
    same = ", ".join(f"{name} {max(cells)}" for name, cells in equal.items() if any(cells))
    notes = [f"Equal throughout: {same}."] if same else []
    notes += [OFF_BUDGET] if any(frame["off_budget"]) else []
    notes += [CANDIDATES.format(metric=metric)] if any(after["training"]) else []
    return [list(shown), *(list(row) for row in zip(*shown.values(), strict=True))], notes


def phase_table(result: Result, items: str) -> Rows:
    """The phases of a run; d is the larger of d1 and d2, the drops that ALLR's learning rate follows."""
    heading = ["phase", "epochs", "sparsity [%]", ALL_PARAMETERS, "learning rate", "test before [%]", "right after [%]"]
    rows = [[*heading, "test after [%]", "stability [%]", "d", f"{items}/s"]]
    for phase in result.phases:
        pruning, rate = phase.pruning, phase.learning_rate
        rows.append(
            [
                phase.name,
                number(phase.epochs),
                percent(pruning.sparsity if pruning else 0.0),
                percent(pruning.sparsity_all_parameters if pruning else 0.0),
                _rates(rate.first, rate.peak, rate.last) if rate else "",
                percent(pruning.before.test if pruning else None),
                percent(pruning.right_after.test if pruning else None),
                percent(phase.metrics.test),
                percent(pruning.pruning_stability if pruning else None),
                number(pruning.d if pruning else None),
                number(phase.images_per_second),
            ]
        )
    return rows


def markdown(sweep: Sweep, table: Rows, notes: Sequence[str]) -> str:
    """The sweep as a Markdown page: command, table, notes, runs without a result."""
    lines = [f"# {sweep.name}", "", f"`{sweep.command}`", ""]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in table]
    cells.insert(1, ["---", *("--:" for _ in table[0][1:])])
    lines += ["| " + " | ".join(row) + " |" for row in cells]
    lines += [line for note in notes for line in ("", note)] + [""]
    lines += [f"- {name}: {problem}" for name, problem in sweep.problems]
    return "\n".join(lines).rstrip() + "\n"


def latex(table: Rows) -> str:
    """The table alone as a LaTeX tabular, for booktabs."""
    head, *body = table
    text = pd.DataFrame(body, columns=head).to_latex(
        index=False, escape=True, column_format=f"l{'r' * (len(head) - 1)}"
    )
    for sign, command in (("±", r"$\pm$"), ("≈", r"$\approx$"), ("†", r"$\dagger$")):
        text = text.replace(sign, command)
    return text


def html(sweep: Sweep, table: Rows, notes: Sequence[str], image: bytes | None) -> str:
    """The page as one HTML file, with the plot (a PNG) inside it if there is one."""
    page = Environment(autoescape=True, keep_trailing_newline=True).from_string(PAGE)
    plot = b64encode(image).decode() if image else ""
    return page.render(sweep=sweep, table=table, notes=notes, plot=plot)


def rich_table(title: str, table: Rows) -> Table:
    """The rows for the terminal; headings are broken at each word, which keeps the columns narrow."""
    head, *body = table
    shown = Table(title=escape_markup(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for position, name in enumerate(head):
        words = escape_markup(re.sub(r"\.(?=[a-z])", ". ", name)).split()
        shown.add_column(
            "\n".join(words), justify="left" if position == 0 else "right", no_wrap=True, vertical="bottom"
        )
    for row in body:
        shown.add_row(*(escape_markup(cell) for cell in row))
    return shown


def _candidates(frame: pd.DataFrame, name: str) -> list[str]:
    """Test means after ``name``, each with how many runs of its row end with that network."""
    marked = []
    for _, row in frame.iterrows():
        count, runs = row[f"chosen_{name}"], row["chosen_training"] + row["chosen_finetune"]
        mark = "" if not count else " †" if count == runs else f" †{count}/{runs}"
        marked.append(percent(row[f"after_{name}"]) + mark)
    return marked


def _all_equal(cells: Sequence[str], counts: Sequence[int]) -> bool:
    """Whether the rows with a result have one text in common, and the others that too or nothing."""
    common = {cell for cell, n in zip(cells, counts, strict=True) if n} or {""}
    return len(common) == 1 and {*cells} <= common | {""}


def _rates(first: float, peak: float, last: float) -> str:
    """ "first → peak → last", without the peak where it is one of the ends."""
    rates = [first, last] if peak in (first, last) else [first, peak, last]
    return " → ".join(f"{rate:.3g}" for rate in rates)
