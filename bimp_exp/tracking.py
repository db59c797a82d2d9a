"""MLflow as a mirror of what is on disk: each call copies what is new, and may be repeated, cut off or fail.

Exactly once: MLflow stores a metric point under (run, key, timestamp, step, value) and ignores an equal one, so every line of
metrics.jsonl has a timestamp of its own (the run's start plus its line number in ms) and writing it again changes nothing. What is about to be
written is announced in the tag ``bimp.announced`` (number of lines and their hash) and counted in ``bimp.mirrored`` afterwards. Points and
parameters cannot be taken back: where the store holds something else than the disk, its run is replaced by a new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from bimp_exp.errors import ConfigError, DataError
from bimp_exp.report import flat
from bimp_exp.report.files import Run, read_lines, read_run, read_sweep

log = logging.getLogger(__name__)
ENVIRONMENT = {  # for MLflow, where the user has not set it: no telemetry, and a dead server must not hold up training
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
MAX_METRICS = 1000  # MLflow's limits for one log_batch: metrics, and params or tags
MAX_PARAMS = 100
Book = dict[str, Any]  # mlflow.json: "run_id", and "attached": file name -> [size, time of change]


class Nothing:
    """Tracks nothing; the files of the runs are complete without it."""

    def sync(self, run_dir: Path) -> None: ...

    def sync_sweep(self, sweep_dir: Path) -> None: ...


class MLflow:
    """Mirrors runs into ``experiment`` of the store at ``uri``.

    ``uri``: sqlite:///FILE (relative to the current directory at construction; artifacts go to mlartifacts/ beside FILE) or
    http(s)://HOST. No call raises: a failure is one warning per folder, and the next call catches up.
    """

    def __init__(self, *, uri: str, experiment: str) -> None:
        scheme, _, place = uri.partition("://")
        self.database = Path(os.path.abspath(place[1:])) if scheme == "sqlite" and len(place) > 1 else None
        if self.database is None and (scheme not in ("http", "https") or not place):
            raise ConfigError(
                f"tracking.uri: {uri!r} is not legal; give sqlite:///FILE, http://HOST:PORT or https://HOST"
            )
        self.uri = f"sqlite:///{self.database}" if self.database else uri
        self.experiment = experiment
        self._connection: tuple[Any, str] | None = None
        self._warned: set[Path] = set()

    def sync(self, run_dir: Path) -> None:
        """Make the MLflow run of ``run_dir`` hold what is on disk; as a child of the sweep's where it is in a sweep's folder."""
        self._safely(run_dir.resolve(), self._mirror_run)

    def sync_sweep(self, sweep_dir: Path) -> None:
        """The same for a sweep: its status, its summary.* and, once no run is pending, the values that were swept."""
        self._safely(sweep_dir.resolve(), self._mirror_sweep)

    def _safely(self, folder: Path, mirror: Callable[[Path], None]) -> None:
        try:
            mirror(folder)
        except Exception as error:  # whatever it is, training goes on
            if folder not in self._warned:
                self._warned.add(folder)
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                log.warning("MLflow does not mirror %s for now, the files are complete (%s)", folder, reason)

    def _mirror_run(self, folder: Path) -> None:
        run = read_run(folder)
        if not run.facts:
            raise DataError(f"{folder / 'run.json'}: absent")
        lines = [*read_lines(folder), *([json.dumps(flat.final_metrics(run))] if run.result else [])]
        tags = flat.flatten(run.facts["provenance"], "bimp.")
        tags["mlflow.source.git.commit"] = tags.get("bimp.git.commit", "")
        tags["bimp.error"] = (run.failure or "")[: flat.MAX_TEXT] if run.status == "failed" else ""
        if (folder.parent / "sweep.json").exists():
            sweep = read_sweep(folder.parent)
            with _open(sweep.folder) as book:
                parent = self._run(book, sweep.folder, params={}, start=_start(sweep.runs), lines=[])
                tags["mlflow.parentRunId"] = parent.info.run_id
        with _open(folder) as book:
            mirror = self._run(book, folder, params=flat.params(run), start=_start([run]), lines=lines)
            self._set_tags(mirror, folder, run.name, tags)
            self._log_lines(mirror, lines)
            files = [folder / name for name in ("config.yaml", "result.json", "model.pt")]
            self._attach(book, mirror, [*files, *sorted(folder.glob("plots/*.png"))])
            self._set_status(mirror, [run])

    def _mirror_sweep(self, folder: Path) -> None:
        sweep = read_sweep(folder)
        over = all(run.status in ("finished", "failed") for run in sweep.runs)
        cells = [run.facts["swept"] for run in sweep.runs if run.facts]
        values = {
            key: ", ".join(dict.fromkeys(str(cell[key]) for cell in cells if key in cell))
            for key in sweep.swept
        }
        with _open(folder) as book:
            params = flat.flatten(values) if over else {}
            mirror = self._run(book, folder, params=params, start=_start(sweep.runs), lines=[])
            self._set_tags(mirror, folder, sweep.name, {"bimp.command": sweep.command[: flat.MAX_TEXT]})
            self._attach(book, mirror, [folder / "sweep.json", *sorted(folder.glob("summary.*"))])
            self._set_status(mirror, sweep.runs)

    def _run(self, book: Book, folder: Path, *, params: dict[str, str], start: int, lines: list[str]) -> Any:
        """The MLflow run of ``folder``, with its params: the one in its book, else the one with its tag, else a new one."""
        from mlflow.entities import Param

        client, experiment_id = self._connect()
        old = self._find(book, folder)
        mirror = old
        if old is None or _contradicts(old, params, lines):
            tags = {"mlflow.source.name": "run.py", "mlflow.user": os.environ.get("USER", "")}
            tags["bimp.run_dir"] = folder.as_uri()
            mirror = client.create_run(experiment_id, start_time=start, tags=tags, run_name=folder.name)
            if old is not None and old.info.run_id == book.get(
                "run_id"
            ):  # never delete what only looks like ours
                children = f"tags.`mlflow.parentRunId` = '{old.info.run_id}'"
                for child in client.search_runs([experiment_id], children, max_results=50_000):
                    client.set_tag(child.info.run_id, "mlflow.parentRunId", mirror.info.run_id)
                client.delete_run(old.info.run_id)
        if mirror.info.run_id != book.get("run_id"):
            book.update(run_id=mirror.info.run_id, attached={})
        missing = [Param(key, value) for key, value in params.items() if key not in mirror.data.params]
        for first in range(0, len(missing), MAX_PARAMS):
            client.log_batch(mirror.info.run_id, params=missing[first : first + MAX_PARAMS])
        return mirror

    def _find(self, book: Book, folder: Path) -> Any | None:
        from mlflow.exceptions import MlflowException

        client, experiment_id = self._connect()
        if "run_id" in book:
            try:
                mirror = client.get_run(book["run_id"])
                if (mirror.info.experiment_id, mirror.info.lifecycle_stage) == (experiment_id, "active"):
                    return mirror
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        found = client.search_runs(
            [experiment_id], f"tags.`bimp.run_dir` = '{folder.as_uri()}'", max_results=1
        )
        return found[0] if found else None

    def _set_tags(self, mirror: Any, folder: Path, name: str, tags: dict[str, str]) -> None:
        """Set what differs; "" is for a tag that must not keep an old value."""
        from mlflow.entities import RunTag

        wanted = {**tags, "mlflow.runName": name, "bimp.run_dir": folder.as_uri()}
        changed = [
            RunTag(key, value) for key, value in wanted.items() if mirror.data.tags.get(key, "") != value
        ]
        for first in range(0, len(changed), MAX_PARAMS):
            self._connect()[0].log_batch(mirror.info.run_id, tags=changed[first : first + MAX_PARAMS])

    def _log_lines(self, mirror: Any, lines: list[str]) -> None:
        from mlflow.entities import Metric

        client, run_id = self._connect()[0], mirror.info.run_id
        first = int(mirror.data.tags.get("bimp.mirrored", "0"))
        if first == len(lines):
            return
        client.set_tag(run_id, "bimp.announced", _announce(lines))
        points = []
        for number, line in enumerate(lines[first:], first):
            record = json.loads(line)
            stamp = mirror.info.start_time + number
            points += [
                Metric(key, value, stamp, record["step"]) for key, value in flat.numbers(record).items()
            ]
        for at in range(0, len(points), MAX_METRICS):
            client.log_batch(run_id, metrics=points[at : at + MAX_METRICS])
        client.set_tag(run_id, "bimp.mirrored", str(len(lines)))

    def _attach(self, book: Book, mirror: Any, paths: list[Path]) -> None:
        """Copy the files that are new or changed since the last time."""
        for path in paths:
            stamp = [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else None
            if stamp is not None and book["attached"].get(path.name) != stamp:
                target = "plots" if path.parent.name == "plots" else None
                self._connect()[0].log_artifact(mirror.info.run_id, str(path), target)
                book["attached"][path.name] = stamp

    def _set_status(self, mirror: Any, runs: list[Run]) -> None:
        """RUNNING while a run has neither result nor failure; else FAILED if one has failed, ended when its last file was written."""
        client, run_id = self._connect()[0], mirror.info.run_id
        statuses = {run.status for run in runs}
        if not statuses <= {"finished", "failed"}:
            if mirror.info.status != "RUNNING":
                client.update_run(run_id, status="RUNNING")
            return
        status = "FAILED" if "failed" in statuses else "FINISHED"
        files = (run.folder / ("result.json" if run.status == "finished" else "failed.json") for run in runs)
        end = int(1000 * max((file.stat().st_mtime for file in files), default=0))
        if (mirror.info.status, mirror.info.end_time) != (status, end):
            client.set_terminated(run_id, status=status, end_time=end)

    def _connect(self) -> tuple[Any, str]:
        """The client and the experiment's id, both made on first use; MLflow's own creation of a database is not safe for many."""
        if self._connection is None:
            client = _import_mlflow().MlflowClient(tracking_uri=self.uri)
            if self.database is None:
                self._connection = client, self._experiment_id(client, None)
            else:
                self.database.parent.mkdir(parents=True, exist_ok=True)
                with _locked(self.database.with_name(f"{self.database.name}.lock")):
                    with closing(sqlite3.connect(self.database, timeout=20)) as database:
                        database.execute(
                            "PRAGMA journal_mode=wal"
                        )  # stays in the file; readers no longer block a writer
                    artifacts = (self.database.parent / "mlartifacts").as_uri()
                    self._connection = client, self._experiment_id(client, artifacts)
        return self._connection

    def _experiment_id(self, client: Any, artifacts: str | None) -> str:
        from mlflow.exceptions import MlflowException

        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            try:
                return str(client.create_experiment(self.experiment, artifact_location=artifacts))
            except MlflowException:  # another client of the same server was first
                experiment = client.get_experiment_by_name(self.experiment)
                if experiment is None:
                    raise
        return str(experiment.experiment_id)


def _import_mlflow() -> Any:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in (
        "alembic",
        "mlflow.store.db.utils",
        "urllib3.connectionpool",
    ):  # migrations, tracebacks, retries
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow


def _contradicts(mirror: Any, params: dict[str, str], lines: list[str]) -> bool:
    """Whether the store has params or points that the disk does not have (any more)."""
    stored = mirror.data.params
    if params and any(params.get(key) != value for key, value in stored.items()):
        return True
    announced = mirror.data.tags.get("bimp.announced")
    return announced is not None and _announce(lines[: int(announced.split()[0])]) != announced


def _announce(lines: list[str]) -> str:
    return f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


def _start(runs: list[Run]) -> int:
    """Milliseconds since 1970 of the first run's start; now, where none has started."""
    started = [datetime.fromisoformat(run.facts["started"]).timestamp() for run in runs if run.facts]
    return int(1000 * min(started, default=time.time()))


@contextmanager
def _locked(path: Path) -> Iterator[TextIO]:
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


@contextmanager
def _open(folder: Path) -> Iterator[Book]:
    """The book of ``folder``, locked; written in place, since a rename would lose the lock: a torn one counts as lost."""
    with _locked(folder / "mlflow.json") as file:
        file.seek(0)
        text = file.read()
        try:
            book = json.loads(text)
        except ValueError:
            book = {}
        try:
            yield book
        finally:
            if (new := json.dumps(book, indent=1)) != text:
                file.truncate(0)
                file.write(new)
