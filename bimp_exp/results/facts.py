"""Content of run.json and sweep.json, typed; as for result.json (``bimp_exp.results.schema``). Imports no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bimp_exp.results.codec import Json


@dataclass(frozen=True, kw_only=True)
class RunFacts(Json):
    """run.json: what is known when a run starts.

    metric: name of the task's metric. items: what the data set has many of. starts: how often the run was started.
    metric_signature: what else decides the metric's numbers, such as the tokenisation of BLEU and its version.
    data: what was read from the data since the configuration leaves it open, such as mean and standard deviation.
    """

    name: str
    choices: dict[str, Any]
    swept: dict[str, Any]
    metric: str
    items: str | None = None
    metric_signature: str | None = None
    data: dict[str, Any] | None = None
    provenance: dict[str, Any]
    started: str
    starts: int = 1


@dataclass(frozen=True, kw_only=True)
class CellFacts(Json):
    """A run of a sweep as the grid has it: name and swept values."""

    name: str
    swept: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SweepFacts(Json):
    """sweep.json: the keys that are swept, the folder names of the runs in the grid's order, and the cell of each folder.

    baseline: swept values of the cell that the others are compared with (``sweep.baseline``).
    """

    name: str
    command: str
    swept: list[str]
    runs: list[str]
    cells: dict[str, CellFacts] = field(default_factory=dict)
    baseline: dict[str, Any] | None = None
