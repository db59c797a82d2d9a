"""Phases that an older rule has named get the names that the present one gives them, so that nothing has to be computed again.

A name covers the code, so an old name tells nothing by itself: the finished runs tell it. Each has its configuration, the facts
of its machine and the old keys of its phases in its folder; the new keys follow from the first two. Only phases that were stored
under an older ``RULE`` are renamed. That their numbers are those of the present code is what a release promises that raises
RULE and leaves ``ALGORITHM`` as it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimp_exp import files
from bimp_exp.config.trust import from_file
from bimp_exp.errors import DataError, UserError
from bimp_exp.lease import Lease
from bimp_exp.results.reader import find, read_run
from bimp_exp.results.schema import Result
from bimp_exp.results.writer import read_config
from bimp_exp.run import checkpoint, keys, plan
from bimp_exp.run.keys import RULE
from bimp_exp.store import phases as store

NEUTRAL_PARTS = {  # of older versions, in places that are no more; they are in no key
    "store": {"_target_": "bimp_exp.store.phases.Store", "root": None, "every": 60},
    "tracking": {"_target_": "bimp_exp.tracking.mlflow.NoTracking"},
}


@dataclass(frozen=True, kw_only=True)
class Renamed:
    """A phase of the store that an old run has left, and its key now."""

    name: str
    old: str
    new: str


def rekey(
    root: Path, results: Path, *, dry: bool, allow: Collection[str] = ()
) -> tuple[list[Renamed], dict[Path, str]]:
    """Rename the phases in ``root`` that finished runs below ``results`` know; and why some runs could not tell theirs.

    dry: rename nothing.
    allow: modules that a run's config.yaml may name beside bimp_exp's own.
    """
    renamed: list[Renamed] = []
    problems: dict[Path, str] = {}
    for folder in find(results, "result.json"):
        try:
            pairs = list(_pairs(folder, allow))
        except UserError as error:
            problems[folder] = str(error)
            continue
        for old, (new, recipe) in pairs:
            path = root / old / "done.pt"
            known = any(phase.old == old for phase in renamed)  # several runs share it
            if path.exists() and not known and not (root / new / "done.pt").exists():
                header = store.header(path)
                if header.get("rule", 1) < RULE and (dry or _rename(path, root / new, new, recipe)):
                    renamed.append(Renamed(name=header["name"], old=old, new=new))
    return renamed, problems


def _pairs(folder: Path, allow: Collection[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Of the phases of a finished run the old key, and the new key and recipe; UserError where they cannot be told."""
    result = read_run(folder).result
    assert result is not None
    path = folder / "config.yaml"
    config = from_file((read_config(path) or {}) | NEUTRAL_PARTS, path, allow)
    planned = plan.from_config(config)
    new = keys.phase_keys(config, planned, _facts(config, result))
    recipes = keys.phase_keys(config, planned, {})
    for phase, key, recipe in zip(result.phases, new, recipes, strict=True):
        if phase.key is not None and phase.key != key:
            yield phase.key, (key, recipe)


def _facts(config: Mapping[str, Any], result: Result) -> dict[str, Any]:
    if result.computed_on is None:
        raise DataError("the result does not say on what it was computed")
    start = config["dense_checkpoint"]
    if start is not None and not Path(start).is_file():
        raise DataError(f"dense_checkpoint={start}: there is no such file any more")
    digest = None if start is None else checkpoint.digest(start)
    return result.computed_on | {"data": result.data_hash, "start": digest}


def _rename(path: Path, folder: Path, key: str, recipe: str) -> bool:
    """Write the phase in ``path`` anew under its key, then remove the old folder; whether no other process holds it."""
    lease = Lease.take(path.parent / "lease")
    if lease is None:
        return False
    with lease:
        old = store.header(path)
        header = old | {"key": key, "recipe": recipe, "rule": RULE, "formerly": old["key"]}
        files.write(folder / "done.pt", json.dumps(header).encode() + b"\n" + store.content(path, old["key"]))
        shutil.rmtree(path.parent)
    return True
