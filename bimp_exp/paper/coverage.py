"""How much of the paper has been run: coverage.md, a line for each table and figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bimp_exp.paper.page import SIGNS, Page, counts
from bimp_exp.paper.page_text import table
from bimp_exp.paper.published import numbers
from bimp_exp.paper.write import Source


def markdown(pages: Mapping[str, Page], sources: Mapping[str, Sequence[Source]]) -> str:
    """Verdicts of every table, runs and their epochs of every sweep; epochs that runs share count in each."""
    head = ["", "printed", *SIGNS, "runs finished", "left", "epochs of the finished"]
    rows, total = [], dict.fromkeys(SIGNS, 0)
    for name, of in sorted(sources.items()):
        page = pages.get(name)
        told = counts([line for part in page.parts for line in part.lines]) if page else {}
        total = {verdict: total[verdict] + told.get(verdict, 0) for verdict in SIGNS}
        runs = [run for source in of for run in source.runs]
        rows.append(
            [
                f"{'Table' if name[0] == 't' else 'Figure'} {int(name[1:])}",
                str(sum(told.values())) if page else "",
                *(str(told.get(verdict, 0)) if page else "" for verdict in SIGNS),
                str(len(runs)),
                str(sum(source.waiting for source in of)) if any(source.commands for source in of) else "not started",
                f"{sum(run.epochs for run in runs):,.0f}",
            ]
        )
    rows.append(["all tables", str(sum(total.values())), *(str(count) for count in total.values()), "", "", ""])
    text = ["# What of the paper has been run", "", *table([head, *rows]), ""]
    text += [
        f"The paper prints 2,530 numbers in these tables, of which {len(numbers())} are no repetition within a table."
        " A number is counted in every table that prints it."
    ]
    return "\n".join(text) + "\n"
