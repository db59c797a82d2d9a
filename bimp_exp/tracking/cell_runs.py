"""One run in MLflow for each cell of a sweep whose runs have seeds: below the sweep's run, and above those of its seeds."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bimp_exp.results.cells import SEED, Swept, baseline_of, cells, key_of, name_of
from bimp_exp.results.reader import Run, Sweep
from bimp_exp.tracking import cell_figures, entries
from bimp_exp.tracking.mlflow_runs import MAX_TAG, MLflowRuns, Place, start_of
from bimp_exp.tracking.mlflow_store import Book


def ensure(mlflow: MLflowRuns, book: Book, parent: str, run: Run) -> str:
    """The id of the MLflow run of the cell of ``run``, made where it is absent; book, parent: the sweep's, and its run's id."""
    swept, folder = _swept(run), run.folder.parent
    place = _place(folder, name_of(run.name, swept), swept)
    cell = mlflow.ensure(_page(book, swept), place, start=start_of([run]))
    mlflow.set_tags(cell, place, {"mlflow.parentRunId": parent, "bimp.cell": place.name})
    return str(cell.info.run_id)


def add(book: Book, run: Run, run_id: str) -> None:
    """Note in the sweep's book that ``run_id`` is one of its cell's."""
    _page(book, _swept(run))["runs"][run.folder.name] = run_id


def mirror(mlflow: MLflowRuns, book: Book, parent: str, sweep: Sweep, *, over: bool) -> None:
    """All cells with runs that have begun: params, links, statistics, status; book, parent: the sweep's, and its run's id."""
    there = {child.info.run_id: child for child in mlflow.children(parent)}
    among = cells(sweep)
    for cell in among:
        begun = [run for run in cell.runs if run.facts and SEED in run.facts.swept]
        if not begun:
            continue
        page, place = _page(book, cell.swept), _place(sweep.folder, cell.name, cell.swept)
        baseline = baseline_of(cell, among, sweep.facts.baseline or {})
        figures = cell_figures.figures(cell, baseline)
        found = mlflow.ensure(
            page,
            place,
            start=start_of(begun),
            params=entries.flatten(cell.swept),
            figures=figures,
            known=there.get(page.get("run_id")),
        )
        run_ids = [page["runs"][run.folder.name] for run in begun if run.folder.name in page["runs"]]
        tags = {
            "mlflow.parentRunId": parent,
            "bimp.cell": place.name,
            "bimp.baseline": baseline.name if baseline else "",
            "bimp.run_ids": " ".join(run_ids)[:MAX_TAG],
        }
        mlflow.set_tags(found, place, tags)
        mlflow.log_figures(found, figures)
        mlflow.set_status(found, cell.runs, over=over)


def _swept(run: Run) -> Swept:
    assert run.facts is not None
    return run.facts.swept


def _place(sweep: Path, name: str, swept: Swept) -> Place:
    return Place(kind="cell", uri=f"{sweep.as_uri()}#{_digest(swept)}", name=name)


def _page(book: Book, swept: Swept) -> Book:
    """The part of a sweep's book that is about one cell; swept: the values of one of its runs."""
    found: Book = book.setdefault("cells", {}).setdefault(_digest(swept), {"runs": {}})
    return found


def _digest(swept: Swept) -> str:
    return hashlib.sha256(key_of(swept).encode()).hexdigest()[:16]
