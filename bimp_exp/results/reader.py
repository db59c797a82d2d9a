"""The files of a run or a sweep, read as they stand; tables, plots and MLflow only copy it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from bimp_exp.errors import DataError
from bimp_exp.results.codec import Json
from bimp_exp.results.facts import CellFacts, RunFacts, SweepFacts
from bimp_exp.results.schema import PhaseResult, Result

T = TypeVar("T", bound=Json)

ABSENT = float("nan")  # stands in tables for a swept key that a run does not have; null is a value


def is_absent(value: Any) -> bool:
    """Whether a swept value says that the run does not have the key."""
    return isinstance(value, float) and isnan(value)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run's folder. facts: None where the run was never started. failure: the reason of its last attempt, in one line.

    cell: what its sweep knew of it beforehand; None without a sweep.
    """

    folder: Path
    cell: CellFacts | None
    facts: RunFacts | None
    result: Result | None
    failure: str | None

    @property
    def name(self) -> str:
        known = self.facts or self.cell
        return known.name if known else self.folder.name

    @property
    def swept(self) -> dict[str, Any] | None:
        """The swept keys with this run's values; None where nobody has written them down."""
        known = self.facts or self.cell
        return known.swept if known else None

    @property
    def seed(self) -> int:
        """The swept seed; 0 where seeds were not swept, and each cell has one run."""
        return int((self.swept or {}).get("seed", 0))

    @property
    def metric(self) -> str:
        """The name of the task's metric."""
        return self.facts.metric if self.facts else "metric"

    @property
    def items(self) -> str:
        """What its data set has many of."""
        return (self.facts and self.facts.items) or "images"

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
    facts: SweepFacts
    runs: list[Run]

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def command(self) -> str:
        return self.facts.command

    @property
    def keys(self) -> list[str]:
        """The keys that tell the cells of the grid apart; seeds are the repetitions within a cell."""
        return [key for key in self.facts.swept if key != "seed"]

    @property
    def metric(self) -> str:
        """The name of the task's metric; of all of them, where the runs have several tasks."""
        return "/".join(dict.fromkeys(run.metric for run in self.runs if run.facts)) or "metric"

    @property
    def items(self) -> str:
        """What the data set has many of; "items" where the runs have several data sets with unlike ones."""
        names = {run.items for run in self.runs if run.facts} or {"images"}
        return names.pop() if len(names) == 1 else "items"

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Name of each run without a result, and why: its error in one line, or that it has not finished."""
        return [
            (run.name, f"failed: {run.failure}" if run.status == "failed" else run.status)
            for run in self.runs
            if run.status != "finished"
        ]


def read_run(folder: Path, cell: CellFacts | None = None) -> Run:
    """The run in ``folder``. A file may be absent yet; DataError for one that is not what such a file holds."""
    failed = read_json(folder / "failed.json")
    return Run(
        folder=folder,
        cell=cell,
        facts=read_run_facts(folder),
        result=_read(Result, folder / "result.json"),
        failure=None if failed is None else " ".join(str(failed.get("error", "")).split()),
    )


def read_run_facts(folder: Path) -> RunFacts | None:
    """run.json in ``folder``; None where the run was never started."""
    return _read(RunFacts, folder / "run.json")


def read_phases(folder: Path) -> list[PhaseResult]:
    """The phases in result.json, which come first there, without parsing the rest; [] where there is no result."""
    path, start = folder / "result.json", '"phases":'
    try:
        text = path.read_text()
        phases = json.JSONDecoder().raw_decode(text, text.index(start) + len(start) + 1)[0]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise _damaged(path, f"not JSON ({error})") from None
    return [_typed(PhaseResult, path, phase) for phase in phases]


def read_sweep_facts(folder: Path) -> SweepFacts:
    """sweep.json in ``folder``; DataError where there is none."""
    facts = _read(SweepFacts, folder / "sweep.json")
    if facts is None:
        raise DataError(f"{folder / 'sweep.json'}: absent; give the folder of a sweep (python run.py -m ...)")
    return facts


def read_sweep(folder: Path) -> Sweep:
    """The sweep in ``folder`` and all its runs; DataError where it holds no sweep.json."""
    facts = read_sweep_facts(folder)
    runs = [read_run(folder / name, facts.cells.get(name)) for name in facts.runs]
    return Sweep(folder=folder, facts=facts, runs=runs)


def find(root: Path, name: str) -> list[Path]:
    """All folders from ``root`` down that hold a file ``name``, in the order of their names, but for MLflow's copies."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(below for below in folders if below != "mlartifacts")
        if name in names:
            found.append(Path(folder))
    return found


def read_lines(folder: Path) -> list[str]:
    """The complete lines of metrics.jsonl: what follows the last newline is still being written."""
    path = folder / "metrics.jsonl"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The points of metrics.jsonl in the order in which they were written."""
    return [_parse(folder / "metrics.jsonl", line) for line in read_lines(folder)]


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, None where there is no such file."""
    try:
        return _parse(path, path.read_text())
    except FileNotFoundError:
        return None


def _read(kind: type[T], path: Path) -> T | None:
    values = read_json(path)
    return None if values is None else _typed(kind, path, values)


def _typed(kind: type[T], path: Path, values: Mapping[str, Any]) -> T:
    try:
        return kind.from_json(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{key}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _damaged(path, f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: a JSON object is expected, found {text[:40]!r}")
    return value


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path}: {why}; restore the file, or delete its folder and run again")
