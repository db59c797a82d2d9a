"""``--confirm SEEDS``: the chosen settings of a table once more, with seeds that did not choose them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Override
from hydra.utils import instantiate

from bimp_exp.config import choices
from bimp_exp.config.compose import Composed
from bimp_exp.errors import ConfigError
from bimp_exp.paper.table import cells
from bimp_exp.paper.write import Source
from bimp_exp.paths import CONF
from bimp_exp.results.reader import read_json, read_sweep_facts
from bimp_exp.run.process import Process
from bimp_exp.sweep import cells as sweep
from bimp_exp.sweep.cells import Cell
from bimp_exp.sweep.grid import Started
from bimp_exp.sweep.launcher import register_aliases

SUFFIX = "+confirm"
"""Of the folder of such a sweep, behind the name of the one that the settings were chosen from."""


def confirm(
    name: str, sources: Sequence[Source], folders: Sequence[Path], seeds: str, launcher: Sequence[str]
) -> list[Path]:
    """Do the runs, and return the folders of their sweeps, beside those that the settings were chosen from.

    folders: of these sweeps. seeds: 10,11 or range(10,20). launcher: hydra/launcher=slurm and its keys.
    """
    numbers = _seeds(seeds)
    chosen = {run for source in sources for cell in cells(source.block, source.runs) for run in cell.runs}
    if not chosen:
        raise ConfigError(f"{name}: nothing is chosen yet, no run of its sweeps is finished")
    made = []
    for folder in folders:
        of = [run.partition("/")[2] for run in sorted(chosen) if run.partition("/")[0] == folder.name]
        if of:
            made.append(_again(folder, of, numbers, launcher))
    return made


def _seeds(text: str) -> list[int]:
    override: Override = choices.parse([f"seed={text}"])[0]
    values = list(override.sweep_iterator()) if override.is_discrete_sweep() else [override.value()]
    found = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if len(found) != len(values) or not found:
        raise ConfigError(f"--confirm {text}: whole numbers are expected, as in 10,11 or range(10,20)")
    return found


def _again(folder: Path, names: Sequence[str], seeds: Sequence[int], launcher: Sequence[str]) -> Path:
    """The runs ``names`` of a sweep with other seeds, as a sweep of their own."""
    facts, how = read_sweep_facts(folder), read_json(folder / "cells.json") or {}
    used = {cell.swept.get("seed") for cell in facts.cells.values()}
    if again := sorted(set(seeds) & {seed for seed in used if seed is not None}):
        raise ConfigError(
            f"--confirm: the seeds {', '.join(map(str, again))} have chosen the settings in {folder}; take others"
        )
    found: dict[str, tuple[Cell, Composed]] = {}
    for name in names:
        for seed in seeds:
            config = {**how[name]["config"], "seed": seed}
            swept = {**facts.cells[name].swept, "seed": seed}
            title = re.sub(r"(^| )seed=\S+", "", facts.cells[name].name).strip() + f" seed={seed}"
            cell = Cell(overrides=(), swept=swept, name=title, folder=sweep.folder_name(title))
            made = Composed(config=config, choices=how[name]["choices"], run_options={})
            found.setdefault(json.dumps(config, sort_keys=True), (cell, made))
    target = folder.with_name(folder.name + SUFFIX)
    target.mkdir(parents=True, exist_ok=True)
    sweep.write(target, [cell for cell, _ in found.values()], [made for _, made in found.values()], None)
    with Process() as process:
        _launcher(launcher).work(target, Started(num_retried=0, allow=()), process)
    return target


def _launcher(overrides: Sequence[str]) -> Any:
    register_aliases()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [*overrides], return_hydra_config=True)
    made = instantiate(config.hydra.launcher)
    made.setup(hydra_context=None, task_function=None, config=config)
    made.check()
    return made
