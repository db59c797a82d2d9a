"""The runs of one experiment in MLflow: found, made, replaced, and brought up to what is on disk.

Exactly once: MLflow stores a point under (run, key, timestamp, step, value) and ignores an equal one. So
each line of metrics.jsonl has its own timestamp (the run's start plus the line's number in ms), and writing
it again changes nothing. The tag ``bimp.announced`` says what is about to be written (number of lines and
their hash), ``bimp.mirrored`` what has been. ``Figures`` stand at the step that they count, with a timestamp
of the same kind. Points and params cannot be taken back: a run that holds something else than the disk is
replaced by a new one.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bimp_exp.results.reader import Run
from bimp_exp.tracking import entries
from bimp_exp.tracking.entries import Figures
from bimp_exp.tracking.mlflow_store import Book, absolute, connect, sqlite_file

MAX_METRICS = 1000  # MLflow's limits for one log_batch: metrics, and params or tags
MAX_PARAMS = 100
MAX_TAG = 8000  # characters
MAX_RUNS = 50_000  # the largest page of a search


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a run in MLflow is of. kind: run, cell or sweep. uri: of its folder; a cell has a fragment of its sweep's."""

    kind: str
    uri: str
    name: str


class MLflowRuns:
    """Runs in ``experiment`` of the store at ``uri``, which is connected to on first use. Each call may raise, and be repeated."""

    def __init__(self, *, uri: str, experiment: str) -> None:
        self.uri, self.database = absolute(uri), sqlite_file(uri)
        self.experiment = experiment
        self._connection: tuple[Any, str] | None = None

    def connect(self) -> tuple[Any, str]:
        """MLflow's client and the experiment's id."""
        if self._connection is None:
            self._connection = connect(self.uri, self.database, self.experiment)
        return self._connection

    def ensure(
        self,
        book: Book,
        place: Place,
        *,
        start: int,
        params: dict[str, str] | None = None,
        lines: Sequence[str] = (),
        figures: Sequence[Figures] = (),
        known: Any = None,
    ) -> Any:
        """The run of ``place``: the one in its book, else the one with its tag, else a new one; with ``params``.

        start: of a new run, in ms since 1970. params, lines, figures: what the disk has, where the caller knows it; a run that
        contradicts it is replaced. known: the run in the book, where it was just read.
        """
        from mlflow.entities import Param

        client = self.connect()[0]
        mirror, params = known or self._find(book, place), params or {}
        if mirror is None or _contradicts(mirror, params, lines, figures):
            # By its tag alone it may be of another machine; it goes first, so that no cut leaves two.
            old = mirror.info.run_id if mirror and mirror.info.run_id == book.get("run_id") else None
            if old:
                client.delete_run(old)
            mirror = self._create(place, start)
            if old:
                for child in self.children(old):
                    client.set_tag(child.info.run_id, "mlflow.parentRunId", mirror.info.run_id)
        run_id = mirror.info.run_id
        if run_id != book.get("run_id"):
            book.update(run_id=run_id, attached={})
        missing = [Param(key, value) for key, value in params.items() if key not in mirror.data.params]
        for first in range(0, len(missing), MAX_PARAMS):
            client.log_batch(run_id, params=missing[first : first + MAX_PARAMS])
        return mirror

    def children(self, run_id: str) -> list[Any]:
        """The runs of which ``run_id`` is the parent."""
        client, experiment_id = self.connect()
        of_it = f"tags.`mlflow.parentRunId` = '{run_id}'"
        return list(client.search_runs([experiment_id], of_it, max_results=MAX_RUNS))

    def _find(self, book: Book, place: Place) -> Any:
        from mlflow.exceptions import MlflowException

        client, experiment_id = self.connect()
        if "run_id" in book:
            try:
                mirror = client.get_run(book["run_id"])
                if (mirror.info.experiment_id, mirror.info.lifecycle_stage) == (experiment_id, "active"):
                    return mirror
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        with_tag = f"tags.`bimp.run_dir` = '{place.uri}'"  # a URI has no quotes
        return next(iter(client.search_runs([experiment_id], with_tag, max_results=1)), None)

    def _create(self, place: Place, start: int) -> Any:
        client, experiment_id = self.connect()
        tags = {**_tags(place), "mlflow.source.name": "run.py", "mlflow.user": _user()}
        return client.create_run(experiment_id, start_time=start, tags=tags)

    def set_tags(self, mirror: Any, place: Place, tags: dict[str, str]) -> None:
        """Set what differs; "" is for a tag that must not keep an old value."""
        from mlflow.entities import RunTag

        wanted = {**tags, **_tags(place)}
        changed = [RunTag(key, value) for key, value in wanted.items() if mirror.data.tags.get(key, "") != value]
        for first in range(0, len(changed), MAX_PARAMS):
            self.connect()[0].log_batch(mirror.info.run_id, tags=changed[first : first + MAX_PARAMS])

    def log_lines(self, mirror: Any, lines: list[str], *, first_key: str) -> None:
        """Log the points that are not there yet. first_key: the metric on which MLflow's compare page shall open."""
        from mlflow.entities import Metric

        client, run_id = self.connect()[0], mirror.info.run_id
        first = int(mirror.data.tags.get("bimp.mirrored", "0"))
        if first == len(lines):
            return
        client.set_tag(run_id, "bimp.announced", _announce(lines))
        points = []
        for number, line in enumerate(lines[first:], first):
            record, stamp = json.loads(line), mirror.info.start_time + number
            points += [Metric(key, value, stamp, record["step"]) for key, value in entries.numbers(record).items()]
        points.sort(key=lambda point: point.key != first_key)
        for at in range(0, len(points), MAX_METRICS):
            client.log_batch(run_id, metrics=points[at : at + MAX_METRICS])
        client.set_tag(run_id, "bimp.mirrored", str(len(lines)))

    def log_figures(self, mirror: Any, figures: Sequence[Figures]) -> None:
        """Log those that the run does not hold, what they count last."""
        from mlflow.entities import Metric

        points = []
        for each in figures:
            if any(mirror.data.metrics.get(key) != value for key, value in each.numbers.items()):
                stamp = mirror.info.start_time + each.count
                points += [Metric(key, value, stamp, each.count) for key, value in each.numbers.items()]
        if points:
            self.connect()[0].log_batch(mirror.info.run_id, metrics=points)

    def attach(self, book: Book, mirror: Any, paths: Iterable[Path]) -> None:
        """Copy the files that are new or changed since the last time."""
        for path in filter(Path.exists, paths):
            stamp = [path.stat().st_size, path.stat().st_mtime_ns]
            if book["attached"].get(path.name) != stamp:
                target = "plots" if path.parent.name == "plots" else None
                self.connect()[0].log_artifact(mirror.info.run_id, str(path), target)
                book["attached"][path.name] = stamp

    def set_status(self, mirror: Any, runs: Sequence[Run], *, over: bool = False) -> None:
        """RUNNING while a run has neither result nor failure and may still get one, else FINISHED if all have a result."""
        client, run_id = self.connect()[0], mirror.info.run_id
        statuses = {run.status for run in runs}
        if not over and not statuses <= {"finished", "failed"}:
            if mirror.info.status != "RUNNING":
                client.update_run(run_id, status="RUNNING")
            return
        status = "FINISHED" if statuses == {"finished"} else "FAILED"
        last = (run.folder / ("result.json" if run.status == "finished" else "failed.json") for run in runs)
        end = int(1000 * max((path.stat().st_mtime for path in last if path.exists()), default=time.time()))
        if (mirror.info.status, mirror.info.end_time) != (status, end):
            client.set_terminated(run_id, status=status, end_time=end)


def start_of(runs: Sequence[Run]) -> int:
    """Milliseconds since 1970 of the first run's start; now, where none has started."""
    started = [datetime.fromisoformat(run.facts.started).timestamp() for run in runs if run.facts]
    return int(1000 * min(started, default=time.time()))


def _contradicts(mirror: Any, params: dict[str, str], lines: Sequence[str], figures: Sequence[Figures]) -> bool:
    """Whether the store has params, points or figures that the disk does not have (any more)."""
    if params and any(params.get(key) != value for key, value in mirror.data.params.items()):
        return True
    if any(each.contradict(mirror.data.metrics) for each in figures):
        return True
    announced = mirror.data.tags.get("bimp.announced")
    return announced is not None and _announce(lines[: int(announced.split()[0])]) != announced


def _announce(lines: Sequence[str]) -> str:
    return f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


def _tags(place: Place) -> dict[str, str]:
    return {"bimp.kind": place.kind, "bimp.run_dir": place.uri, "mlflow.runName": place.name}


def _user() -> str:
    """As MLflow's pages name who made a run; "" where the system has no name for it, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
