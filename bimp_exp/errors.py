"""The errors a user can cause; each is shown as its one line, without a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """One line that names the config key or the file, what is wrong and what is legal."""


class ConfigError(UserError):
    """A value of the configuration is not legal."""


class DataError(UserError):
    """A data file is missing, corrupt or not what the configuration says it is."""


class BusyError(UserError):
    """Another process is at it just now; ``phase``: not at the whole run, only at what comes next in it."""

    def __init__(self, message: str, *, phase: bool = False) -> None:
        super().__init__(message)
        self.phase = phase


class TrainingError(UserError):
    """Training cannot go on: the loss is not a number any more."""


class InvariantError(UserError):
    """A run broke a rule that makes its numbers mean something."""
