"""``python -m bimp_exp.report FOLDER``: the table of a run, or of a sweep, whose summary.* files are written anew."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from bimp_exp.errors import UserError
from bimp_exp.report.summary import print_run, print_summary, write_summary


def main(arguments: list[str]) -> int:
    """Exit status 2 where the folder holds neither a run nor a sweep."""
    try:
        if len(arguments) != 1:
            raise UserError("usage: python -m bimp_exp.report FOLDER")
        folder, console = Path(arguments[0]), Console()
        if (folder / "sweep.json").exists():
            write_summary(folder)
            print_summary(folder, console)
        else:
            print_run(folder, console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
