"""The errors a user can cause; each is shown as its one line, without a traceback."""

from __future__ import annotations

from pathlib import Path


class UserError(ValueError):
    """One line that names the config key or the file, what is wrong and what is legal."""


class ConfigError(UserError):
    """A value of the configuration is not legal."""


class DataError(UserError):
    """A data file is missing, corrupt or not what the configuration says it is."""


class BusyError(UserError):
    """Another process is at it just now: it holds ``lease``, that of the run or of the phase that comes next in it."""

    def __init__(self, message: str, *, lease: Path) -> None:
        super().__init__(message)
        self.lease = lease


class TrainingError(UserError):
    """Training cannot go on: the loss is not a number any more."""


class InvariantError(UserError):
    """A run broke a rule that makes its numbers mean something."""


def printable(text: str) -> str:
    """``text`` on one line: line breaks and control characters as Python writes them."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
