"""The names of the runs of a sweep, and the files that hold the runs together: sweep.json and cells.json.

A run is named by the values of the keys that differ between the runs, so that names are short and distinct. Imports no
PyTorch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override

from bimp_exp import files
from bimp_exp.config import choices
from bimp_exp.config.check import plain
from bimp_exp.config.neutral import is_neutral
from bimp_exp.config.signatures import constant
from bimp_exp.errors import DataError
from bimp_exp.results import provenance

if TYPE_CHECKING:
    from bimp_exp.config.compose import Composed

LONGEST = 120  # characters of a folder's name


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of the grid: its overrides, the swept keys with its values, its name and its folder's name."""

    overrides: Sequence[str]
    swept: dict[str, Any]
    name: str
    folder: str


def cells(job_overrides: Sequence[Sequence[str]]) -> list[Cell]:
    """Name the runs of a grid by what differs between them; a key that only some of them set differs."""
    parsed = [{o.key_or_group: o.value() for o in choices.parse(job)} for job in job_overrides]
    keys = [
        key
        for key in dict.fromkeys(k for job in parsed for k in job)
        if len({f"={job[key]}" if key in job else "" for job in parsed}) > 1
    ]
    short = Counter(key.rpartition(".")[2] for key in keys)

    def label(key: str, value: Any) -> str:
        last = key.rpartition(".")[2]
        if "." not in key and isinstance(value, str):
            return value  # an option of a group says by itself what it is
        return f"{last if short[last] == 1 else key}={plain(value)}"

    swepts = [{key: _plain(value) for key, value in values.items() if key in keys} for values in parsed]
    names = [" ".join(label(key, value) for key, value in swept.items()) or "run" for swept in swepts]
    folders = [folder_name(name) for name in names]
    twice = {folder for folder, count in Counter(folders).items() if count > 1}
    return [
        Cell(overrides=o, swept=s, name=n, folder=f"{f}~{_digest(str(s))}" if f in twice else f)
        for o, s, n, f in zip(job_overrides, swepts, names, folders, strict=True)
    ]


def folder_name(name: str) -> str:
    """``name`` as the name of a folder, without blanks or slashes; long ones end in a hash that keeps them apart."""
    safe = re.sub(r"[^A-Za-z0-9_.=+-]+", ",", name)
    return safe if len(safe) <= LONGEST else f"{safe[: LONGEST - 13]}~{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def sweep_name(overrides: Sequence[Override]) -> str:
    """The folder of a sweep: its file in sweeps/, its scale, the keys that the command line sweeps, a hash of what else that sets.

    It does not name the values of the swept keys, so that a larger grid goes on in the same folder, and more seeds of a file do.
    """
    file, scale = ([str(o.value()) for o in overrides if o.key_or_group == group] for group in ("sweeps", "scale"))
    others = [o for o in overrides if not (file and o.key_or_group == "seed")]
    fixed = sorted(f"{o.key_or_group}={o.value()}" for o in others if not o.is_sweep_override() and not _neutral(o))
    swept = sorted(o.key_or_group for o in others if o.is_sweep_override())
    name = folder_name("+".join([*file, *scale, *swept]) or "run")
    return f"{name}~{_digest(str(fixed))[:6]}" if fixed else name


def _neutral(override: Override) -> bool:
    key = override.key_or_group
    return key in ("sweeps", "scale") or key.startswith("hydra") or is_neutral(key)


def write(folder: Path, runs: Sequence[Cell], made: Sequence[Composed], baseline: Mapping[str, Any] | None) -> None:
    """Write sweep.json (name, command, swept keys, the runs with their values) and cells.json (how to do each run).

    baseline: of the sweep, for sweep.json.

    Runs that ``folder`` holds already stay. Each run has the command that has named it last.
    """
    command = provenance.command_line()
    before = _read(folder / "sweep.json") or {"swept": [], "runs": [], "cells": {}}
    cells = {**before["cells"], **{cell.folder: {"name": cell.name, "swept": cell.swept} for cell in runs}}
    how = {
        **(_read(folder / "cells.json") or {}),
        **{
            cell.folder: {"config": each.config, "choices": each.options, "command": command}
            for cell, each in zip(runs, made, strict=True)
        },
    }
    files.write(folder / "cells.json", (json.dumps(how) + "\n").encode())
    files.write_json(
        folder / "sweep.json",
        {
            "name": folder.name,
            "command": command,
            "swept": list(dict.fromkeys([*before["swept"], *(key for cell in runs for key in cell.swept)])),
            "runs": list(cells),
            "cells": cells,
            **({"baseline": baseline} if baseline else {}),
        },
    )


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except ValueError:
        raise DataError(f"{path}: not JSON; restore the file, or delete the sweep's folder") from None
    return found


def identity(
    options: Mapping[str, Any], config: Mapping[str, Any], cell: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Name, options and swept values of a run, for run.json; ``cell`` is its entry in sweep.json.

    options: of each config group, as ``config.naming`` calls them.
    """
    about = {"choices": dict(options)}
    if cell is not None:
        return {**about, **cell}
    how = options["budget"] if options["method"] == "imp" else options["method"]
    prunes, aims = (constant(config["method"]["_target_"], name) for name in ("prunes", "has_target"))
    schedule = [options["schedule"]] if prunes == "between phases" else []
    goal = [f"sparsity={config['sparsity']:g}"] if prunes != "never" and aims else []
    parts = [options["dataset"], options["model"], how, *schedule, *goal, f"seed={config['seed']}"]
    return about | {"name": " ".join(parts), "swept": {}}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
