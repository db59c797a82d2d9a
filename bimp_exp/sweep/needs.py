"""Which stored phases the runs below a folder need, told by recipes, which are the same on every machine."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from bimp_exp.config.trust import NotAllowedError, from_file
from bimp_exp.errors import UserError
from bimp_exp.results import reader
from bimp_exp.run import plan
from bimp_exp.run.keys import phase_keys

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where it is there


def needs(results: Path, *, keep_finished: bool, allow: Collection[str] = ()) -> set[str | None]:
    """Recipes and keys of what runs below ``results`` need, and None.

    A run whose configuration is not legal (any more) needs nothing: this version of the code cannot do it. One that names a module
    of neither bimp_exp nor ``allow`` is an error, since what it needs is not known.
    """
    needed: set[str | None] = {None}
    for path, config in unfinished(results):
        try:
            needed.update(recipes(from_file(config, path, allow)))
        except NotAllowedError:
            raise
        except UserError:
            continue
    if keep_finished:
        for folder in reader.find(results, "result.json"):
            needed.update(phase.key for phase in reader.read_phases(folder))
    return needed


def unfinished(results: Path) -> Iterator[tuple[Path, Any]]:
    """File and configuration of each run without a result: those of the grids, then those that were begun otherwise."""
    seen: set[Path] = set()
    for folder in reader.find(results, "cells.json"):
        for name, cell in json.loads((folder / "cells.json").read_text()).items():
            seen.add(folder / name)
            if not (folder / name / "result.json").exists():
                yield folder / "cells.json", cell["config"]
    for folder in reader.find(results, "config.yaml"):
        if folder not in seen and not (folder / "result.json").exists():
            yield folder / "config.yaml", yaml.load((folder / "config.yaml").read_text(), Loader=LOADER)


def recipes(config: Mapping[str, Any]) -> list[str]:
    """Of every phase of the run that ``config`` describes."""
    return phase_keys(config, plan.from_config(config), {})
