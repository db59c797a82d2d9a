"""Common parts of the commands of ``bimp-exp``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from bimp_exp.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """A parser that raises ConfigError for a wrong command line, so that it is answered in one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; {' '.join(self.format_usage().split())}")


def add_allow(parser: argparse.ArgumentParser) -> None:
    """``--allow MODULE``: what ``config.trust.from_file`` may accept."""
    about = "a module that a _target_ in the files may name beside bimp_exp's own; may be repeated"
    parser.add_argument("--allow", metavar="MODULE", action="append", default=[], help=about)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines whose columns begin below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{n}}" for cell, n in zip(row, widths, strict=True)).rstrip() for row in rows]
