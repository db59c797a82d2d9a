"""MLflow as a mirror of what is on disk: each call copies what is new, and may be repeated, cut off or fail.

Exactly once: MLflow stores a point under (run, key, timestamp, step, value) and ignores an equal one. So
each line of metrics.jsonl has its own timestamp (the run's start plus the line's number in ms), and writing
it again changes nothing. The tag ``bimp.announced`` says what is about to be written (number of lines and
their hash), ``bimp.mirrored`` what has been. Points and params cannot be taken back: a run that holds
something else than the disk is replaced by a new one.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from bimp_exp.errors import DataError
from bimp_exp.results.reader import Run, read_lines, read_run, read_sweep
from bimp_exp.tracking import entries
from bimp_exp.tracking.mlflow_store import Book, absolute, connect, open_book, sqlite_file

log = logging.getLogger(__name__)
MAX_METRICS = 1000  # MLflow's limits for one log_batch: metrics, and params or tags
MAX_TAG = 8000  # characters
MAX_PARAMS = 100
SUMMARY = [f"summary.{suffix}" for suffix in ("csv", "html", "md", "png", "tex")]


class Mirror:
    """Mirrors runs into ``experiment`` of the store at ``uri``: sqlite:///FILE or http(s)://HOST.

    A relative FILE starts at the directory that is current now; artifacts go to mlartifacts/ beside it. No
    later call raises: a failure is one warning per folder, and the next call catches up.
    """

    def __init__(self, *, uri: str, experiment: str) -> None:
        self.uri, self.database = absolute(uri), sqlite_file(uri)
        self.experiment = experiment
        self._connection: tuple[Any, str] | None = None
        self.behind: set[Path] = set()  # folders whose last mirroring failed
        self._warned: set[Path] = set()

    def sync(self, run_dir: Path, *, lines: int | None = None) -> None:
        """Make the MLflow run of ``run_dir`` hold what is on disk, as a child of its sweep's run.

        Of a run without a result only the first ``lines`` points, if not all.
        """
        self.safely(run_dir.resolve(), lambda folder: self._mirror_run(folder, lines))

    def sync_sweep(self, sweep_dir: Path, *, over: bool) -> None:
        """The same for a sweep: its status, its summary.* and, once all are known, the swept values."""
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

    def _connect(self) -> tuple[Any, str]:
        if self._connection is None:
            self._connection = connect(self.uri, self.database, self.experiment)
        return self._connection

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
            with ExitStack() as stack:
                if of_sweep:
                    parents = stack.enter_context(open_book(folder.parent))  # so that it is not replaced meanwhile
                    parent = self._run(parents, folder.parent, params={}, start=_start([run]), lines=[])
                    tags["mlflow.parentRunId"] = parent.info.run_id
                mirror = self._run(book, folder, params=entries.params(run), start=_start([run]), lines=lines)
                self._set_tags(mirror, folder, run.name, tags)
            self._log_lines(mirror, lines, first_key=f"test_{run.metric}")
            files = [folder / name for name in ("run.json", "config.yaml", "result.json", "model.pt")]
            files += [path for path in (folder / "predictions.md", folder / "tokenizer.model") if path.exists()]
            self._attach(book, mirror, [*files, *sorted(folder.glob("plots/*.png"))])
            self._set_status(mirror, [run])

    def mirror_sweep(self, folder: Path, *, over: bool) -> None:
        """As ``sync_sweep``, but errors are raised."""
        with open_book(folder) as book:
            sweep = read_sweep(folder)
            cells = [run.swept for run in sweep.runs if run.swept is not None]
            keys = sweep.facts.swept
            swept = {key: ", ".join(dict.fromkeys(str(cell[key]) for cell in cells if key in cell)) for key in keys}
            params = entries.flatten(swept) if len(cells) == len(sweep.runs) else {}
            mirror = self._run(book, folder, params=params, start=_start(sweep.runs), lines=[])
            note, command = _note(folder / "summary.md"), sweep.command[: entries.MAX_TEXT]
            self._set_tags(mirror, folder, sweep.name, {"bimp.command": command, "mlflow.note.content": note})
            self._attach(book, mirror, [folder / "sweep.json", *(folder / name for name in SUMMARY)])
            self._set_status(mirror, sweep.runs, over)

    def _run(self, book: Book, folder: Path, *, params: dict[str, str], start: int, lines: list[str]) -> Any:
        """The MLflow run of ``folder``: the one in its book, else the one with its tag, else a new one."""
        from mlflow.entities import Param

        client = self._connect()[0]
        mirror = self._find(book, folder)
        if mirror is None or _contradicts(mirror, params, lines):
            # By its tag alone it may be of another machine; it goes first, so that no cut leaves two.
            old = mirror.info.run_id if mirror and mirror.info.run_id == book.get("run_id") else None
            if old:
                client.delete_run(old)
            mirror = self._create(folder, start)
            if old:
                self._adopt_children(old, mirror.info.run_id)
        run_id = mirror.info.run_id
        if run_id != book.get("run_id"):
            book.update(run_id=run_id, attached={})
        missing = [Param(key, value) for key, value in params.items() if key not in mirror.data.params]
        for first in range(0, len(missing), MAX_PARAMS):
            client.log_batch(run_id, params=missing[first : first + MAX_PARAMS])
        return mirror

    def _find(self, book: Book, folder: Path) -> Any:
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
        with_tag = f"tags.`bimp.run_dir` = '{folder.as_uri()}'"  # a URI has no quotes
        return next(iter(client.search_runs([experiment_id], with_tag, max_results=1)), None)

    def _create(self, folder: Path, start: int) -> Any:
        client, experiment_id = self._connect()
        tags = {"bimp.run_dir": folder.as_uri(), "mlflow.source.name": "run.py", "mlflow.user": _user()}
        return client.create_run(experiment_id, start_time=start, tags=tags, run_name=folder.name)

    def _adopt_children(self, old: str, new: str) -> None:
        client, experiment_id = self._connect()
        of_old = f"tags.`mlflow.parentRunId` = '{old}'"
        for child in client.search_runs([experiment_id], of_old, max_results=50_000):  # the largest page
            client.set_tag(child.info.run_id, "mlflow.parentRunId", new)

    def _set_tags(self, mirror: Any, folder: Path, name: str, tags: dict[str, str]) -> None:
        """Set what differs; "" is for a tag that must not keep an old value."""
        from mlflow.entities import RunTag

        wanted = {**tags, "mlflow.runName": name, "bimp.run_dir": folder.as_uri()}
        changed = [RunTag(key, value) for key, value in wanted.items() if mirror.data.tags.get(key, "") != value]
        for first in range(0, len(changed), MAX_PARAMS):
            self._connect()[0].log_batch(mirror.info.run_id, tags=changed[first : first + MAX_PARAMS])

    def _log_lines(self, mirror: Any, lines: list[str], *, first_key: str) -> None:
        """Log the points that are not there yet. first_key: the metric on which MLflow's compare page shall open."""
        from mlflow.entities import Metric

        client, run_id = self._connect()[0], mirror.info.run_id
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

    def _attach(self, book: Book, mirror: Any, paths: list[Path]) -> None:
        """Copy the files that are new or changed since the last time."""
        for path in filter(Path.exists, paths):
            stamp = [path.stat().st_size, path.stat().st_mtime_ns]
            if book["attached"].get(path.name) != stamp:
                target = "plots" if path.parent.name == "plots" else None
                self._connect()[0].log_artifact(mirror.info.run_id, str(path), target)
                book["attached"][path.name] = stamp

    def _set_status(self, mirror: Any, runs: list[Run], over: bool = False) -> None:
        """RUNNING while a run has neither result nor failure and may still get one, else FINISHED if all have a result."""
        client, run_id = self._connect()[0], mirror.info.run_id
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


def _contradicts(mirror: Any, params: dict[str, str], lines: list[str]) -> bool:
    """Whether the store has params or points that the disk does not have (any more)."""
    if params and any(params.get(key) != value for key, value in mirror.data.params.items()):
        return True
    announced = mirror.data.tags.get("bimp.announced")
    return announced is not None and _announce(lines[: int(announced.split()[0])]) != announced


def _user() -> str:
    """As MLflow's pages name who made a run; "" where the system has no name for it, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _note(table: Path) -> str:
    """The description on the run's page; whole lines, where not all of them fit."""
    text = table.read_text() if table.exists() else ""
    if len(text) <= MAX_TAG:
        return text
    rest = "\n\nThe rest is in summary.html, among the artifacts.\n"
    return text[: MAX_TAG - len(rest)].rpartition("\n")[0] + rest


def _announce(lines: list[str]) -> str:
    return f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


def _start(runs: list[Run]) -> int:
    """Milliseconds since 1970 of the first run's start; now, where none has started."""
    started = [datetime.fromisoformat(run.facts.started).timestamp() for run in runs if run.facts]
    return int(1000 * min(started, default=time.time()))
