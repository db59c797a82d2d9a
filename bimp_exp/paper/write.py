"""The files of a table, a figure or the claims: what is drawn and written from the runs of the sweeps that feed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bimp_exp import files
from bimp_exp.paper import claims_page, columns, figure_schedules, figures, page_html, page_text
from bimp_exp.paper.block import Block, differences
from bimp_exp.paper.compare import lines
from bimp_exp.paper.draw import Panel, figure
from bimp_exp.paper.figures import Drawing
from bimp_exp.paper.page import METRICS, SELECTED, Page, Part
from bimp_exp.paper.published import dense, numbers, of_table
from bimp_exp.paper.runs import Measured
from bimp_exp.paper.table import cells
from bimp_exp.report.figures import save
from bimp_exp.text import counted


@dataclass(frozen=True, kw_only=True)
class Source:
    """What feeds one block of a table or a figure.

    runs: finished ones. commands: of their sweeps. waiting: how many runs of these sweeps have no result.
    """

    block: Block
    runs: Sequence[Measured]
    commands: Sequence[str]
    waiting: int

    @property
    def unlike(self) -> list[str]:
        """Every way in which some of the runs differ from what the block expects."""
        return sorted({text for run in self.runs for text in differences(run, self.block)})


def table(name: str, sources: Sequence[Source], folder: Path) -> Page:
    """Write tNN.md, .html, .csv, .tex and .png, with a part for each source."""
    parts, panels = [], []
    for source in sources:
        block = source.block
        made = lines(cells(block, source.runs), table=block.table, dataset=block.dataset, model=block.model)
        title = f"{block.model} on {block.dataset}"
        parts.append(Part(title=title, lines=made))
        # numbers of another scale are not drawn beside the paper's
        printed = [] if source.unlike else columns.printed(of_table(block.table, block.dataset, block.model))
        about = dense(block.dataset, block.model)
        drawing = figures.table(columns.ours(block, source.runs), printed, METRICS[about.metric], about.mean)
        panels += _titled(drawing, title if len(sources) > 1 else "")
    number = int(name[1:])
    whole = Page(
        name=name,
        title=f"Table {number}: {'; '.join(part.title for part in parts)}",
        commands=_commands(sources),
        notes=[*_notes(sources), SELECTED],
        parts=parts,
    )
    image = folder / f"{name}.png"
    save(
        figure(
            panels,
            x=drawing.x,
            y=drawing.y,
            title=_title(whole.title, sources),
            note=drawing.note,
            columns=drawing.columns,
        ),
        image,
    )
    files.write(folder / f"{name}.csv", page_text.csv(whole).encode())
    files.write(folder / f"{name}.tex", page_text.tex(whole).encode())
    files.write(folder / f"{name}.md", page_text.markdown(whole).encode())
    files.write(folder / f"{name}.html", page_html.html(whole, image.read_bytes()).encode())
    return whole


def a_figure(name: str, sources: Sequence[Source], folder: Path) -> None:
    """Write fNN.png and .csv, the points that it shows."""
    number = int(name[1:])
    drawing = _drawing(number, sources)
    subject = "; ".join(dict.fromkeys(f"{s.block.model} on {s.block.dataset}" for s in sources))
    title = _title(f"Figure {number}" + (f": {subject}" if subject else ""), sources)
    made = figure(drawing.panels, x=drawing.x, y=drawing.y, title=title, note=drawing.note, columns=drawing.columns)
    save(made, folder / f"{name}.png")
    files.write(folder / f"{name}.csv", figures.csv(drawing).encode())


def _drawing(number: int, sources: Sequence[Source]) -> Drawing:
    if number == 1:
        return figure_schedules.schedules()
    ours = [column for source in sources for column in columns.ours(source.block, source.runs)]
    block = sources[0].block
    about = dense(block.dataset, block.model)
    metric = METRICS[about.metric]
    if number == 2:
        unlike = any(source.unlike for source in sources)
        printed = [] if unlike else columns.printed(n for n in numbers() if n.table in ("8", "9"))
        return figures.totals(ours, printed, metric, about.mean)
    if number in (3, 4, 5):
        return figures.envelope(ours, metric)
    if number in (6, 7):
        return figures.deviations(ours, metric)
    return figures.criteria(ours, metric, by_cycles=number == 11)


def claims(sources: Mapping[str, Sequence[Source]], folder: Path) -> str:
    """Write claims.md and .csv from the tables and figures by name; the page."""
    answered = claims_page.answers(
        {name: [column for s in of for column in columns.ours(s.block, s.runs)] for name, of in sources.items()}
    )
    every = [source for of in sources.values() for source in of if source.runs]
    own = ", ".join(source.block.sweep for source in sources.get("", ()))
    notes = [f"At another scale: the sweeps {own} are none of the paper's tables."] if own else []
    notes += _notes(every)
    text = claims_page.markdown(answered, commands=_commands(every), notes=notes)
    files.write(folder / "claims.md", text.encode())
    files.write(folder / "claims.csv", claims_page.csv(answered).encode())
    return text


def own(source: Source, folder: Path) -> None:
    """Write SWEEP.png of a sweep that is none of the paper's, drawn as a table of the paper is."""
    made = columns.ours(source.block, source.runs)
    metric = METRICS.get(source.runs[0].metric, source.runs[0].metric) if source.runs else ""
    drawing = figures.table(made, [], metric, None)
    image = figure(
        drawing.panels, x=drawing.x, y=drawing.y, title=source.block.sweep, note=drawing.note, columns=drawing.columns
    )
    save(image, folder / f"{source.block.sweep}.png")


def _commands(sources: Sequence[Source]) -> list[str]:
    return list(dict.fromkeys(command for source in sources for command in source.commands))


def _notes(sources: Sequence[Source]) -> list[str]:
    unlike = sorted({text for source in sources for text in source.unlike})
    waiting = sum(source.waiting for source in sources)
    notes = [f"At another scale, not comparable with the paper: {', '.join(unlike)}."] if unlike else []
    return notes + ([f"{counted(waiting, 'run')} of these sweeps without a result."] if waiting else [])


def _title(title: str, sources: Sequence[Source]) -> str:
    return f"{title} (at another scale)" if any(source.unlike for source in sources) else title


def _titled(drawing: Drawing, prefix: str) -> list[Panel]:
    return [
        Panel(**{**vars(panel), "title": f"{prefix} {panel.title}".strip()}) if prefix else panel
        for panel in drawing.panels
    ]
