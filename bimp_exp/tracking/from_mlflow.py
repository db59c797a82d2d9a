"""A sweep as MLflow holds it, for the same tables as from disk: all that they need is mirrored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

from bimp_exp.errors import DataError
from bimp_exp.results.reader import Run, Sweep, read_json, sweep_of
from bimp_exp.tracking.mlflow_store import client_of, sqlite_file

IS_SWEEP = "tags.`bimp.command` LIKE '%'"  # the tag that runs of a sweep do not have
AT_ONCE = 8  # runs fetched
LARGEST_PAGE = 50_000
NAMED = 10  # sweeps that are named where there is no such one


def fetch(uri: str, sweep: str) -> Sweep:
    """The sweep of that name or run id in the store at ``uri``; DataError where it has none, or several of that name."""
    with _explained(uri):
        database = sqlite_file(uri, "--mlflow")
        if database is not None and not database.exists():
            raise DataError(f"--mlflow {uri}: {database} is absent")
        client = client_of(uri)
        parent = _find(client, uri, sweep)
        of_sweep = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
        children = _search(client, [parent.info.experiment_id], of_sweep)
        with TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
            facts = _json(client, parent, ["sweep.json"], Path(folder))["sweep.json"]
            if facts is None:
                raise DataError(f"--mlflow {uri}: the sweep {sweep} has no sweep.json there; make sync mirrors it")
            cells = facts.get("cells", {})
            by_name = {_folder_name(child): child for child in children}

            def run(name: str) -> Run:
                where = Path(facts["name"]) / name
                return _run(client, by_name.get(name), where, cells.get(name, {}), Path(folder))

            return sweep_of(facts, Path(facts["name"]), list(pool.map(run, facts["runs"])))


def _find(client: Any, uri: str, sweep: str) -> Any:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    there = _search(client, experiments, IS_SWEEP)
    found = [run for run in there if sweep in (run.info.run_id, run.info.run_name)]
    if len(found) > 1:
        ids = ", ".join(f"{run.info.run_id} in {client.get_experiment(run.info.experiment_id).name}" for run in found)
        raise DataError(f"{sweep}: {uri} holds {len(found)} sweeps of that name; give the run id of one: {ids}")
    if not found:
        names = [run.info.run_name for run in there[:NAMED]]
        more = f" and {len(there) - NAMED} more" if len(there) > NAMED else ""
        raise DataError(
            f"{sweep}: {uri} holds no sweep of that name or run id; it has {', '.join(names) or 'none'}{more}"
        )
    return found[0]


def _search(client: Any, experiments: list[str], which: str) -> list[Any]:
    found, token = [], None
    while True:
        page = client.search_runs(experiments, which, max_results=LARGEST_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _folder_name(child: Any) -> str:
    return unquote(child.data.tags["bimp.run_dir"]).rstrip("/").rpartition("/")[2]


def _run(client: Any, mirror: Any, where: Path, cell: dict[str, Any], temporary: Path) -> Run:
    if mirror is None:
        return Run(folder=where, cell=cell, facts={}, result=None, failure=None)
    found = _json(client, mirror, ["run.json", "result.json"], temporary)
    return Run(
        folder=where,
        cell=cell,
        facts=found["run.json"] or {},
        result=found["result.json"],
        failure=mirror.data.tags.get("bimp.error") or None,
    )


def _json(client: Any, mirror: Any, names: list[str], temporary: Path) -> dict[str, dict[str, Any] | None]:
    """Artifacts of a run, None for one that it does not have."""
    run_id = mirror.info.run_id
    there = {artifact.path for artifact in client.list_artifacts(run_id)}
    folder = temporary / run_id
    folder.mkdir()
    for name in there.intersection(names):
        client.download_artifacts(run_id, name, str(folder))
    return {name: read_json(folder / name) for name in names}


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Errors of MLflow, of HTTP and of SQL as one line."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:  # those of requests are OSErrors
        reason = re.sub(r"\s+", " ", str(error))[:300]
        raise DataError(f"--mlflow {uri}: {reason}") from None
