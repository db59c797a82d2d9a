"""MLflow as a mirror of what is on disk: each call copies what is new, and may be repeated, cut off or fail.

A sweep has a run, each of its cells with seeds one below it, and its runs stand below their cell. A run whose seed is not swept
is a cell by itself, so it stands below the sweep.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bimp_exp.errors import DataError
from bimp_exp.results.cells import SEED, cells, name_of
from bimp_exp.results.reader import Run, read_lines, read_run, read_sweep
from bimp_exp.tracking import cell_figures, cell_runs, entries
from bimp_exp.tracking.mlflow_runs import MAX_TAG, MLflowRuns, Place, start_of
from bimp_exp.tracking.mlflow_store import Book, open_book

log = logging.getLogger(__name__)
SUMMARY = [f"summary.{suffix}" for suffix in ("csv", "html", "md", "png", "tex")]


class Mirror:
    """Mirrors runs into ``experiment`` of the store at ``uri``: sqlite:///FILE or http(s)://HOST.

    A relative FILE starts at the directory that is current now; artifacts go to mlartifacts/ beside it. No
    later call raises: a failure is one warning per folder, and the next call catches up.
    """

    def __init__(self, *, uri: str, experiment: str) -> None:
        self.mlflow = MLflowRuns(uri=uri, experiment=experiment)
        self.behind: set[Path] = set()  # folders whose last mirroring failed
        self._warned: set[Path] = set()

    def sync(self, run_dir: Path, *, lines: int | None = None) -> None:
        """Make the MLflow run of ``run_dir`` hold what is on disk, as a child of its cell's run.

        Of a run without a result only the first ``lines`` points, if not all.
        """
        self.safely(run_dir.resolve(), lambda folder: self._mirror_run(folder, lines))

    def sync_sweep(self, sweep_dir: Path, *, over: bool) -> None:
        """The same for a sweep and its cells: status, statistics, summary.* and, once all are known, the swept values."""
        self.safely(sweep_dir.resolve(), lambda folder: self.mirror_sweep(folder, over=over))

    def safely(self, folder: Path, mirror: Callable[[Path], None]) -> None:
        """Call ``mirror``; where it fails, ``folder`` is behind."""
        try:
            mirror(folder)
            self.behind.discard(folder)
        except Exception as error:  # whatever it is, the next folder may do better
            self.behind.add(folder)
            if folder not in self._warned:
                self._warned.add(folder)
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                log.warning("MLflow does not mirror %s for now, its files are complete (%s)", folder, reason)

    def _mirror_run(self, folder: Path, most: int | None) -> None:
        if not (folder / "run.json").exists():
            raise DataError(f"{folder / 'run.json'}: absent")
        of_sweep = (folder.parent / "sweep.json").exists()
        with open_book(folder) as book:
            run, lines = read_run(folder), read_lines(folder)  # under the lock: what is older never comes later
            assert run.facts is not None
            lines = lines[:most] if run.result is None else [*lines, json.dumps(entries.final_metrics(run))]
            tags = entries.flatten(run.facts.provenance, "bimp.")
            tags["mlflow.source.git.commit"] = tags.get("bimp.git.commit", "")
            tags["bimp.error"] = (run.failure or "")[:MAX_TAG] if run.status == "failed" else ""
            place = Place(kind="run", uri=folder.as_uri(), name=run.name)
            with ExitStack() as stack:
                links = {}
                if of_sweep:
                    parents = stack.enter_context(open_book(folder.parent))  # so that it is not replaced meanwhile
                    links = self._ensure_parents(parents, run)
                mirror = self.mlflow.ensure(book, place, start=start_of([run]), params=entries.params(run), lines=lines)
                if "bimp.cell" in links:
                    cell_runs.add(parents, run, mirror.info.run_id)
                self.mlflow.set_tags(mirror, place, tags | links)
            self.mlflow.log_lines(mirror, lines, first_key=f"test_{run.metric}")
            files = [folder / name for name in ("run.json", "config.yaml", "result.json", "model.pt")]
            files += [path for path in (folder / "predictions.md", folder / "tokenizer.model") if path.exists()]
            self.mlflow.attach(book, mirror, [*files, *sorted(folder.glob("plots/*.png"))])
            self.mlflow.set_status(mirror, [run])

    def _ensure_parents(self, parents: Book, run: Run) -> dict[str, str]:
        """The tags that link ``run`` to its sweep or, with a swept seed, its cell; both are made where they are absent."""
        assert run.facts is not None
        sweep = self.mlflow.ensure(parents, _sweep_place(run.folder.parent), start=start_of([run])).info.run_id
        if SEED not in run.facts.swept:
            return {"mlflow.parentRunId": sweep}
        cell = cell_runs.ensure(self.mlflow, parents, sweep, run)
        return {"mlflow.parentRunId": cell, "bimp.cell": name_of(run.name, run.facts.swept)}

    def mirror_sweep(self, folder: Path, *, over: bool) -> None:
        """As ``sync_sweep``, but errors are raised."""
        with open_book(folder) as book:
            sweep, place = read_sweep(folder), _sweep_place(folder)
            known = [run.swept for run in sweep.runs if run.swept is not None]
            keys = sweep.facts.swept
            swept = {key: ", ".join(dict.fromkeys(str(run[key]) for run in known if key in run)) for key in keys}
            params = entries.flatten(swept) if len(known) == len(sweep.runs) else {}
            among = cells(sweep)
            best, figures = cell_figures.best_figures(among)
            mirror = self.mlflow.ensure(book, place, start=start_of(sweep.runs), params=params, figures=[figures])
            tags = {
                "bimp.command": sweep.command[: entries.MAX_TEXT],
                "bimp.num_runs": str(len(sweep.runs)),
                "bimp.num_cells": str(len(among)),
                "bimp.best_cell": best,
                "mlflow.note.content": _note(folder / "summary.md"),
            }
            self.mlflow.set_tags(mirror, place, tags)
            self.mlflow.log_figures(mirror, [figures])
            cell_runs.mirror(self.mlflow, book, mirror.info.run_id, sweep, over=over)
            self.mlflow.attach(book, mirror, [folder / "sweep.json", *(folder / name for name in SUMMARY)])
            self.mlflow.set_status(mirror, sweep.runs, over=over)


def _sweep_place(folder: Path) -> Place:
    return Place(kind="sweep", uri=folder.as_uri(), name=folder.name)


def _note(table: Path) -> str:
    """The description on the run's page; whole lines, where not all of them fit."""
    text = table.read_text() if table.exists() else ""
    if len(text) <= MAX_TAG:
        return text
    rest = "\n\nThe rest is in summary.html, among the artifacts.\n"
    return text[: MAX_TAG - len(rest)].rpartition("\n")[0] + rest
