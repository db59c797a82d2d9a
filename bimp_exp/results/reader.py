"""What a run or a sweep left on disk, read as it stands; tables, plots and MLflow only copy it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from bimp_exp.errors import DataError

ABSENT = float("nan")  # in tables, for a swept key that a run does not have; null is a value


def is_absent(value: Any) -> bool:
    """Whether a swept value says that the run does not have the key."""
    return isinstance(value, float) and isnan(value)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run's folder. ``facts`` is run.json, empty where the job has not come so far.

    ``cell`` is what its sweep knew of it beforehand: "name" and "swept"; empty without a sweep.
    """

    folder: Path
    cell: dict[str, Any]
    facts: dict[str, Any]
    result: dict[str, Any] | None
    failure: str | None

    @property
    def name(self) -> str:
        return str((self.facts or self.cell).get("name", self.folder.name))

    @property
    def swept(self) -> dict[str, Any] | None:
        """The swept keys with this run's values; None where nobody has written them down."""
        return (self.facts or self.cell).get("swept")

    @property
    def metric(self) -> str:
        return str(self.facts.get("metric", "accuracy"))

    @property
    def status(self) -> str:
        """A result is written last, so it outweighs the failure of an earlier attempt."""
        if self.result is not None:
            return "finished"
        if self.failure is not None:
            return "failed"
        return "unfinished" if self.facts else "not started"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep's folder and its runs, in the grid's order."""

    folder: Path
    name: str
    command: str
    swept: list[str]
    runs: list[Run]

    @property
    def keys(self) -> list[str]:
        """The keys that tell the cells of the grid apart; seeds are the repetitions within a cell."""
        return [key for key in self.swept if key != "seed"]

    @property
    def metric(self) -> str:
        return next((run.metric for run in self.runs if run.facts), "accuracy")

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Name of each run without a result, and why: its error in one line, or that it has not finished."""
        return [
            (run.name, f"failed: {run.failure}" if run.status == "failed" else run.status)
            for run in self.runs
            if run.status != "finished"
        ]


def read_run(folder: Path, cell: dict[str, Any] | None = None) -> Run:
    """The run in ``folder``; a file may be absent yet, but one that is not JSON is a DataError."""
    failed = read_json(folder / "failed.json")
    failure = None if failed is None else " ".join(str(failed["error"]).split())
    return Run(
        folder=folder,
        cell=cell or {},
        facts=read_json(folder / "run.json") or {},
        result=read_json(folder / "result.json"),
        failure=failure,
    )


def read_phases(folder: Path) -> list[dict[str, Any]]:
    """The phases in result.json, which come first there, without the rest of it; [] where there is no result."""
    path, start = folder / "result.json", '"phases":'
    try:
        text = path.read_text()
        phases: list[dict[str, Any]] = json.JSONDecoder().raw_decode(text, text.index(start) + len(start) + 1)[0]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); restore the file, or delete its folder and run again") from None
    return phases


def read_sweep(folder: Path) -> Sweep:
    """The sweep in ``folder``; a DataError where it holds no sweep.json."""
    facts = read_json(folder / "sweep.json")
    if facts is None:
        raise DataError(f"{folder / 'sweep.json'}: absent; give the folder of a sweep (bimp-exp run -m ...)")
    runs = [read_run(folder / name, facts.get("cells", {}).get(name)) for name in facts["runs"]]
    return sweep_of(facts, folder, runs)


def sweep_of(facts: dict[str, Any], folder: Path, runs: list[Run]) -> Sweep:
    """The sweep that ``facts``, its sweep.json, describes."""
    return Sweep(folder=folder, name=facts["name"], command=facts["command"], swept=facts["swept"], runs=runs)


def find(root: Path, name: str) -> list[Path]:
    """All folders from ``root`` down that hold a file ``name``, in the order of their names, but for MLflow's copies."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(below for below in folders if below != "mlartifacts")
        if name in names:
            found.append(Path(folder))
    return found


def read_lines(folder: Path) -> list[str]:
    """The complete lines of metrics.jsonl; what follows the last newline is still being written."""
    path = folder / "metrics.jsonl"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The points of metrics.jsonl in the order in which they were written."""
    return [_parse(folder / "metrics.jsonl", line) for line in read_lines(folder)]


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        return _parse(path, path.read_text())
    except FileNotFoundError:
        return None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); restore the file, or delete its folder and run again") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: a JSON object is expected, found {text[:40]!r}")
    return value
