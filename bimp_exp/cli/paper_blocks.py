"""The ``paper:`` blocks of the files in sweeps/, and what each of them expects of a run, composed by Hydra."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bimp_exp.cli.run import add_sweeps
from bimp_exp.config import naming
from bimp_exp.config.neutral import leaves
from bimp_exp.config.resolve import resolve, without_hydra
from bimp_exp.paper.block import ALWAYS, Block
from bimp_exp.paths import CONF, SWEEPS

OF_OPTIONS = {"recipe.milestones": "lr.milestones", "recipe.gamma": "lr.gamma"}
"""Keys that conf/lr takes from elsewhere, by where they end up."""


@cache
def names() -> dict[str, list[str]]:
    """Sweep -> the tables and figures that it feeds: "t04", "f02"."""
    found = {}
    for file in sorted(SWEEPS.glob("paper_*.yaml")):
        blocks = _blocks(_content(file))
        found[file.stem] = [name for block in blocks for name in feeds(block)]
    return found


def feeds(block: Mapping[str, Any]) -> list[str]:
    """The names of a block's table and figure."""
    return [f"{kind[0]}{int(block[kind]):02d}" for kind in ("table", "figure") if block.get(kind)]


@cache
def blocks(sweep: str) -> list[Block]:
    """The blocks of sweeps/``sweep``.yaml."""
    content = _content(SWEEPS / f"{sweep}.yaml")
    expected = _expected(sweep, content)
    return [
        Block(
            sweep=sweep,
            table=str(block.get("table") or ""),
            figure=str(block.get("figure") or ""),
            dataset=block["dataset"],
            model=block["model"],
            select=tuple(block.get("select") or ()),
            variant=tuple(block.get("variant") or ()),
            expected=expected,
        )
        for block in _blocks(content)
    ]


def _expected(sweep: str, content: Mapping[str, Any]) -> dict[str, Any]:
    add_sweeps()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"+sweeps={sweep}"], return_hydra_config=True)
    values, _ = resolve(without_hydra(config))
    options = naming.options(config.hydra.runtime.choices, values, naming.folders(config.hydra.runtime))
    all_values = {**dict(leaves(values)), **options}
    recipe = config.hydra.runtime.choices.get("recipe") or config.hydra.runtime.choices.get("recipe@_global_")
    said = dict(leaves(_ours(content))) | (dict(leaves(_ours(_content(CONF / "recipe" / f"{recipe}.yaml")))) if recipe else {})
    sweeper = content["hydra"]["sweeper"]
    swept = {*(sweeper.get("params") or {}), *(key for grid in sweeper.get("grids") or () for key in grid)}
    keys = [*ALWAYS, *(OF_OPTIONS.get(key, key) for key in said)]
    return {key: all_values[key] for key in dict.fromkeys(keys) if key in all_values and key not in swept}


def _ours(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in ("defaults", "hydra", "paper")}


def _blocks(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = content.get("paper") or []
    return list(found) if isinstance(found, list) else [found]


def _content(file: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
