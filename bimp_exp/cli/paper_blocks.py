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
from bimp_exp.paper.published import of_table
from bimp_exp.paths import CONF, SWEEPS
from bimp_exp.results.reader import read_sweep_facts

OF_OPTIONS = {"recipe.milestones": "lr.milestones", "recipe.gamma": "lr.gamma"}
"""Keys that conf/lr takes from elsewhere, by where they end up."""


@cache
def sources() -> dict[str, list[str]]:
    """Table or figure, "t04" or "f02" -> the sweeps that feed it, its own first."""
    found: dict[str, list[str]] = {}
    for file in sorted(SWEEPS.glob("paper_*.yaml")):
        for block in _blocks(_content(file)):
            for name in _names(str(block.get("table") or ""), str(block.get("figure") or "")):
                found.setdefault(name, []).append(file.stem)
    return {name: sorted(of, key=lambda sweep: sweep != f"paper_{name}") for name, of in sorted(found.items())}


def names_of(block: Block) -> list[str]:
    """The names of a block's table and figure."""
    return _names(block.table, block.figure)


def _names(table: str, figure: str) -> list[str]:
    return [f"{kind}{int(number):02d}" for kind, number in (("t", table), ("f", figure)) if number]


def sweep_of(folder: Path) -> str | None:
    """The paper's sweep that made a folder, by its name and command; None for another sweep."""
    facts = read_sweep_facts(folder)
    stated = (text.partition("=")[2] for text in facts.command.split() if text.startswith("+sweeps="))
    name = next(stated, folder.name.partition("+")[0].partition("~")[0])
    return name if (SWEEPS / f"{name}.yaml").exists() and name.startswith("paper_") else None


def scale_of(folder: Path) -> str:
    """The scale in a sweep's name, "ci" of paper_t04+ci; "" for none."""
    return next(
        (part for part in folder.name.partition("~")[0].split("+")[1:] if (CONF / "scale" / f"{part}.yaml").exists()),
        "",
    )


def own(folder: Path) -> Block:
    """A block for a sweep that is none of the paper's: what its tables leave open is selected on validation."""
    keys = read_sweep_facts(folder).swept
    budgeted = "method" in keys
    columns = {"seed", "sparsity", "schedule", "method"} | (
        set() if budgeted else {"budget.cycles", "budget.retrain_epochs"}
    )
    return Block(
        sweep=folder.name,
        table="",
        figure="",
        dataset=folder.name,
        model="",
        select=tuple(key for key in keys if key not in columns),
        variant=(),
        budgeted=budgeted,
        expected={},
    )


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
            budgeted=_budgeted(block),
            expected=expected,
        )
        for block in _blocks(content)
    ]


def _budgeted(block: Mapping[str, Any]) -> bool:
    """Whether the table prints no J and T_rt."""
    numbers = of_table(str(block["table"]), block["dataset"], block["model"]) if block.get("table") else []
    return bool(numbers) and not any(number.place.cycles for number in numbers)


def _expected(sweep: str, content: Mapping[str, Any]) -> dict[str, Any]:
    add_sweeps()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"+sweeps={sweep}"], return_hydra_config=True)
    values, _ = resolve(without_hydra(config))
    options = naming.options(config.hydra.runtime.choices, values, naming.folders(config.hydra.runtime))
    all_values = {**dict(leaves(values)), **options}
    recipe = config.hydra.runtime.choices.get("recipe") or config.hydra.runtime.choices.get("recipe@_global_")
    said = dict(leaves(_ours(content))) | (
        dict(leaves(_ours(_content(CONF / "recipe" / f"{recipe}.yaml")))) if recipe else {}
    )
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
