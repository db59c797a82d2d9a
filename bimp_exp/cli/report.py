"""``bimp-exp report FOLDER``: the table of a run, or of a sweep, whose summary.* files are written anew.

With ``--rows KEYS --columns KEYS`` (swept keys, separated by commas) a sweep's pivot instead, in pivot.* files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from bimp_exp.errors import ConfigError
from bimp_exp.report import pivot_table
from bimp_exp.report.pivot import WITHIN
from bimp_exp.report.summary import print_run, print_summary, write_summary
from bimp_exp.results.reader import read_sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run or sweep, and which tables of it."""
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of a run or of a sweep")
    parser.add_argument("--rows", metavar="KEYS", help="swept keys, separated by commas: write a pivot")
    parser.add_argument("--columns", metavar="KEYS", help="the keys against them")
    parser.add_argument(
        "--within",
        metavar="PERCENT",
        type=float,
        default=100 * WITHIN,
        help="how near to a sparsity a run must have come to stand under it (default: %(default)g)",
    )


def run(given: argparse.Namespace) -> None:
    """Write and print the tables; UserError where FOLDER holds neither a run nor a sweep, or a key is not of its grid."""
    console = Console()
    if (given.rows is None) != (given.columns is None):
        raise ConfigError("--rows and --columns make a pivot together: give both or neither")
    if not given.within >= 0:
        raise ConfigError(f"--within {given.within:g} must be a percentage of at least 0")
    if given.rows is None and not (given.folder / "sweep.json").exists():
        print_run(given.folder, console)
        return
    sweep = read_sweep(given.folder)
    if given.rows is not None:
        rows, columns = given.rows.split(","), given.columns.split(",")
        pivot_table.report(sweep, given.folder, rows, columns, console, within=given.within / 100)
    else:
        write_summary(sweep, given.folder)
        print_summary(sweep, console)
