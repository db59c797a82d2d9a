"""A client of an MLflow store: made on first use, by one process at a time, without telemetry and noise."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TextIO

from bimp_exp.errors import ConfigError

ENVIRONMENT = {  # where the user has not set it: no telemetry, no prints, and no long wait for a dead server
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
TAGS = {"mlflow.experimentKind": "custom_model_development"}  # else the pages open on traces of language models
NOISE = ["alembic", "mlflow.store.db.utils", "urllib3.connectionpool"]  # migrations, tracebacks, retries
Book = dict[str, Any]  # mlflow.json: "run_id", and "attached": file name -> [size, time of change]


def sqlite_file(uri: str) -> Path | None:
    """The database of sqlite:///FILE, as an absolute path; None for a server. ConfigError for what is neither."""
    scheme, _, place = uri.partition("://")
    if scheme == "sqlite" and place[1:]:
        return Path(os.path.abspath(place[1:]))
    if scheme in ("http", "https") and place:
        return None
    raise ConfigError(f"tracking.uri: {uri!r} is not legal; give sqlite:///FILE, http://HOST:PORT or https://HOST")


def absolute(uri: str) -> str:
    """``uri`` as it means the same wherever it is read."""
    database = sqlite_file(uri)
    return f"sqlite:///{database}" if database else uri


def _client(uri: str) -> Any:
    """MLflow's client of the store at ``uri``, which makes an SQLite database that is absent."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in NOISE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow.MlflowClient(tracking_uri=uri)


def connect(uri: str, database: Path | None, experiment: str) -> tuple[Any, str]:
    """The client of the store at ``uri`` and the id of ``experiment``; ``database``: SQLite's file.

    Several processes that create a database at once destroy it (MLflow 3.17), hence the lock beside it.
    """
    client = _client(uri)
    if database is None:
        return client, _experiment_id(client, experiment, None)
    database.parent.mkdir(parents=True, exist_ok=True)
    with _locked(database.with_name(f"{database.name}.lock")):
        with closing(sqlite3.connect(database, timeout=20)) as connection:
            connection.execute("PRAGMA journal_mode=wal")  # stays so; readers no longer block a writer
        return client, _experiment_id(client, experiment, (database.parent / "mlartifacts").as_uri())


@contextmanager
def open_book(folder: Path) -> Iterator[Book]:
    """What ``folder`` remembers of its MLflow run, locked against other processes; a torn one counts as lost.

    It is written in place, since a new file under its name would not be the one that others wait for.
    """
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


def _experiment_id(client: Any, name: str, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts, tags=TAGS))
        except MlflowException:  # another client of the same server was first
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    return str(experiment.experiment_id)


@contextmanager
def _locked(path: Path) -> Iterator[TextIO]:
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
