"""The options that conf/config.yaml chooses where the command line names none."""

from __future__ import annotations

from functools import cache

import yaml

from bimp_exp.paths import CONF


@cache
def default_options() -> dict[str, str]:
    """Group -> option."""
    entries = yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    return {group: option for entry in entries if entry != "_self_" for group, option in entry.items()}
