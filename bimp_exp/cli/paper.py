"""``bimp-exp paper NAME``: a table or figure of the paper beside ours, the claims, or all of them, from finished runs.

NAME is t01 to t29, f01 to f11, claims, or all. The runs are those of the paper's sweeps in results/sweeps, whether these are over
or not; with --sweep those of the given folders, for the claims of any sweep. Files: docs/reproduction.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bimp_exp import files
from bimp_exp.cli import paper_blocks
from bimp_exp.cli.paper_confirm import SUFFIX, confirm
from bimp_exp.errors import ConfigError
from bimp_exp.paper import coverage, page, runs, write
from bimp_exp.paper.block import Block
from bimp_exp.paper.write import Source
from bimp_exp.results.reader import find, read_sweep

ROOT = Path("results/sweeps")
WITHOUT_RUNS = ("f01",)
"""Figures that need none. Table 22 has no numbers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to write, from which sweeps, where to."""
    parser.add_argument("name", metavar="NAME", help="t01 to t29, f01 to f11, claims, or all")
    parser.add_argument(
        "--sweep", metavar="FOLDER", type=Path, action="append", help="a sweep to read; may be repeated"
    )
    parser.add_argument("--to", metavar="FOLDER", type=Path, default=Path("results/paper"), help="default: %(default)s")
    parser.add_argument(
        "--confirm", metavar="SEEDS", help="do the chosen settings again with these seeds, 10,11,12, and report those"
    )
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="of their launcher: hydra/launcher=slurm hydra.launcher.partition=gpu",
    )


def run(given: argparse.Namespace) -> None:
    """Write the files and print where they lie; UserError for a name that is none, or a folder that holds no sweep."""
    console = Console(soft_wrap=True, highlight=False)
    known = paper_blocks.sources()
    wanted = [*known, *WITHOUT_RUNS] if given.name in ("all", "claims") else [given.name]
    if given.name not in ("all", "claims", *known, *WITHOUT_RUNS):
        raise ConfigError(f"{given.name}: choose one of {', '.join(sorted([*known, *WITHOUT_RUNS]))}, claims, all")
    if given.overrides and not given.confirm:
        raise ConfigError(f"{' '.join(given.overrides)}: keys are of the launcher that --confirm SEEDS starts")
    folders = given.sweep if given.sweep is not None else _latest(ROOT)
    if given.confirm and given.name[0] != "t":
        raise ConfigError(f"--confirm does the chosen settings of one table again; {given.name} is none")
    if given.confirm:
        folders = confirm(given.name, _sources(given.name, folders), folders, given.confirm, given.overrides)
    found = {name: _sources(name, folders) for name in sorted(wanted) if name not in WITHOUT_RUNS}
    given.to.mkdir(parents=True, exist_ok=True)
    if given.name != "claims":
        _write(given.name, found, given.to, console)
    if given.name in ("all", "claims"):
        own = _own(folders)
        for source in own:
            write.own(source, given.to)
        console.print(write.claims({**found, **({"": own} if own else {})}, given.to), markup=False)
    console.print(f"files: {given.to}")


def _write(name: str, found: dict[str, list[Source]], to: Path, console: Console) -> None:
    pages = {}
    for each, sources in found.items():
        if each[0] == "t":
            pages[each] = write.table(each, sources, to)
            told = page.summary([line for part in pages[each].parts for line in part.lines])
            console.print(f"{pages[each].title}: {told}", markup=False)
        elif any(source.runs for source in sources):
            write.a_figure(each, sources, to)
    if name in ("all", *WITHOUT_RUNS):
        write.a_figure("f01", [], to)
    if name == "all":
        files.write(to / "coverage.md", coverage.markdown(pages, found).encode())
    elif name[0] == "f" and name not in WITHOUT_RUNS and not any(source.runs for source in found[name]):
        raise ConfigError(
            f"{name}: no run of {', '.join(paper_blocks.sources()[name])} is finished in {ROOT}, or in the --sweep folders"
        )


def _sources(name: str, folders: Sequence[Path]) -> list[Source]:
    """A source for each network and data set of a table or figure, from those ``folders`` that its sweeps have made."""
    found: dict[tuple[str, str], tuple[Block, list[Path]]] = {}
    for sweep in paper_blocks.sources()[name]:
        of = [folder for folder in folders if paper_blocks.sweep_of(folder) == sweep]
        for block in paper_blocks.blocks(sweep):
            if name in paper_blocks.names_of(block):
                known, its = found.get((block.dataset, block.model), (block, []))
                select = tuple(
                    dict.fromkeys([*known.select, *block.select])
                )  # what any of the sweeps leaves to validation
                found[block.dataset, block.model] = replace(known, select=select), [*its, *of]
    return [_source(block, of) for block, of in found.values()]


def _source(block: Block, folders: Sequence[Path]) -> Source:
    sweeps = [read_sweep(folder) for folder in folders]
    return Source(
        block=block,
        runs=runs.read(folders),
        commands=[sweep.command for sweep in sweeps],
        waiting=sum(run.result is None for sweep in sweeps for run in sweep.runs),
    )


def _own(folders: Sequence[Path]) -> list[Source]:
    """The sweeps that are none of the paper's, each for itself."""
    others = [folder for folder in folders if paper_blocks.sweep_of(folder) is None]
    return [_source(paper_blocks.own(folder), [folder]) for folder in others]


def _latest(root: Path) -> list[Path]:
    """The folders of the paper's sweeps in ``root``, at full scale, or those of a scale that is the only one."""
    every = find(root, "sweep.json") if root.is_dir() else []
    found = [folder for folder in every if paper_blocks.sweep_of(folder) and not folder.name.endswith(SUFFIX)]
    scales = {paper_blocks.scale_of(folder) for folder in found}
    if len(scales) > 1 and "" in scales:
        return [folder for folder in found if not paper_blocks.scale_of(folder)]
    if len(scales) > 1:
        raise ConfigError(f"{root} holds sweeps at the scales {', '.join(sorted(scales))}; choose folders with --sweep")
    return found
