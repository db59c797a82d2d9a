"""``bimp-exp report FOLDER``: the table of a run, or of a sweep, whose summary.* files are written anew.

With ``--rows KEYS --columns KEYS`` (swept keys, separated by commas) a sweep's pivot instead, in pivot.* files. With
``NAME --mlflow URI --to FOLDER`` the same for the sweep of that name (or run id) as MLflow holds it.
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
from bimp_exp.tracking.from_mlflow import fetch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run or sweep, from where, and which tables of it."""
    parser.add_argument(
        "sweep", metavar="FOLDER", help="of a run or of a sweep; with --mlflow, a sweep's name or run id"
    )
    parser.add_argument("--mlflow", metavar="URI", help="read the sweep from this store instead of from disk")
    parser.add_argument("--to", metavar="FOLDER", type=Path, help="where the files go then")
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
    if (given.mlflow is None) != (given.to is None):
        raise ConfigError("--mlflow URI and --to FOLDER go together: give both or neither")
    source = Path(given.sweep)
    if given.mlflow is None and given.rows is None and not (source / "sweep.json").exists():
        print_run(source, console)
        return
    sweep = read_sweep(source) if given.mlflow is None else fetch(given.mlflow, given.sweep)
    to = given.to or source
    if given.rows is not None:
        rows, columns = given.rows.split(","), given.columns.split(",")
        pivot_table.report(sweep, to, rows, columns, console, within=given.within / 100)
    else:
        write_summary(sweep, to)
        print_summary(sweep, console)
