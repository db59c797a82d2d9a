"""Overrides of the command line, and the option that was chosen of each config group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from bimp_exp.config.check import RUN
from bimp_exp.config.signatures import parameters
from bimp_exp.errors import ConfigError


def parse(overrides: Sequence[str]) -> list[Override]:
    """The overrides of a run. Thousands of runs share most of theirs, and parsing takes a millisecond."""
    return [_parse(text) for text in overrides]


@cache
def _parse(text: str) -> Override:
    return OverridesParser.create().parse_override(text)


def check(choices: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """ConfigError where a group was given a list, which Hydra merges into an option that nobody has written, or a mapping.

    Hydra then names no choice for the group.
    """
    for key in parameters(RUN):
        if isinstance(config.get(key), dict) and "_target_" in config[key] and key not in choices:
            raise ConfigError(
                f"{key}: a group has one option, neither a list nor a mapping; for a run with each, -m {key}=A,B; for one of your "
                f"own, write FOLDER/{key}/NAME.yaml and give --config-dir FOLDER {key}=NAME"
            )
