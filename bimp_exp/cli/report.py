"""``python -m bimp_exp.report FOLDER``: the table of a run, or of a sweep, whose summary.* files are written anew.

With ``--rows KEYS --columns KEYS`` (swept keys, separated by commas) a sweep's pivot instead, in pivot.* files.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from bimp_exp.cli.commands import Parser
from bimp_exp.errors import ConfigError, UserError
from bimp_exp.report import pivot_table
from bimp_exp.report.pivot import WITHIN
from bimp_exp.report.summary import print_run, print_summary, write_summary
from bimp_exp.results.reader import read_sweep


def main(arguments: list[str]) -> int:
    """Exit status 2 where the folder holds neither a run nor a sweep, or the keys are not those of its grid."""
    parser = Parser(prog="python -m bimp_exp.report", description="Tables of a run or a sweep.")
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
    try:
        given = parser.parse_args(arguments)
        console = Console()
        if (given.rows is None) != (given.columns is None):
            raise ConfigError("--rows and --columns make a pivot together: give both or neither")
        if not given.within >= 0:
            raise ConfigError(f"--within {given.within:g} must be a percentage of at least 0")
        folder = given.folder
        if given.rows is None and not (folder / "sweep.json").exists():
            print_run(folder, console)
            return 0
        sweep = read_sweep(folder)
        if given.rows is not None:
            rows, columns = given.rows.split(","), given.columns.split(",")
            pivot_table.report(sweep, folder, rows, columns, console, within=given.within / 100)
        else:
            write_summary(sweep, folder)
            print_summary(sweep, console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
