"""What the runs of a multirun are called, and the file that holds them together: sweep.json.

A run is named by the values of the keys that differ between the runs, so that names are short and distinct. Imports no
PyTorch.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from bimp_exp import files
from bimp_exp.config import plain

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
    parser = OverridesParser.create()
    parsed = [{o.key_or_group: o.value() for o in parser.parse_overrides(list(job))} for job in job_overrides]
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


def write(folder: Path, runs: Sequence[Cell]) -> None:
    """sweep.json in ``folder``: name, command, the swept keys, and the runs with their values."""
    swept = list(dict.fromkeys(key for cell in runs for key in cell.swept))
    title = " x ".join(swept) if folder.parent.name == "sweeps" else folder.parent.name
    files.write_json(
        folder / "sweep.json",
        {
            "name": f"{title} {folder.name}",
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "swept": swept,
            "runs": [cell.folder for cell in runs],
            "cells": {cell.folder: {"name": cell.name, "swept": cell.swept} for cell in runs},
        },
    )


def identity(folder: Path, choices: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Name, options and swept values of the run in ``folder``, for run.json."""
    groups = {key: value for key, value in choices.items() if not key.startswith(("hydra", "sweeps")) and value}
    about = {"choices": groups, "metric": "accuracy"}
    sweep = folder.parent / "sweep.json"
    if sweep.exists():
        cell = json.loads(sweep.read_text())["cells"].get(folder.name)
        if cell is not None:
            return {**about, **cell}
    how = groups["budget"] if groups["method"] == "imp" else groups["method"]
    pruned = [] if how == "dense" else [groups["schedule"], f"sparsity={config['sparsity']:g}"]
    parts = [groups["dataset"], groups["model"], how, *pruned, f"seed={config['seed']}"]
    return about | {"name": " ".join(parts), "swept": {}}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
