"""``--confirm SEEDS``: the chosen settings of a table once more, with seeds that did not choose them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bimp_exp.errors import ConfigError
from bimp_exp.paper.write import Source


def confirm(name: str, sources: Sequence[Source], seeds: str, overrides: Sequence[str], root: Path) -> list[Path]:
    """Do the runs and return the folder of their sweep."""
    raise ConfigError("not yet")
