"""The resolved configurations of many command lines, without composing each anew.

Composing takes Hydra about 50 ms, a sweep may have thousands of runs, and few of them differ in more than values. So each
combination of options is composed once, and plain values are then put into its copy. Anything less plain (an added or
deleted key, a value that is interpolated elsewhere or interpolates itself, an unknown key) goes through Hydra.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from bimp_exp.config import choices, naming
from bimp_exp.config.check import REQUESTS
from bimp_exp.config.choices import parse
from bimp_exp.config.resolve import resolve, without_hydra


@dataclass(frozen=True, kw_only=True)
class Composed:
    """A resolved configuration, the options that were chosen, the folders they come from, and what else was asked for."""

    config: dict[str, Any]
    choices: dict[str, Any]
    folders: tuple[str, ...] = ()
    run_options: dict[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        """What was chosen of each of our groups, by its name."""
        return naming.options(self.choices, self.config, self.folders)


class Composer:
    """``load`` composes the configuration of a command line, ``hydra`` node included."""

    def __init__(self, load: Callable[[list[str]], DictConfig]) -> None:
        self._load = load
        self._bases: dict[str, tuple[bytes, str, set[str]]] = {}

    def __call__(self, overrides: Sequence[str]) -> Composed:
        """The configuration of ``overrides``; ConfigError or Hydra's own exceptions for what is wrong with them."""
        parsed = parse(overrides)
        groups = self._base([])[2]
        plain = [
            o
            for o in parsed
            if o.type == OverrideType.CHANGE and o.key_or_group not in groups and not o.package and not _is_special(o)
        ]
        base, interpolated, _ = self._base([o.input_line or "" for o in parsed if o not in plain])
        made: Composed = pickle.loads(base)  # a copy, ten times as fast as deepcopy
        for override in plain:
            if not _set(made.config, override, interpolated):
                return self._whole(list(overrides))[0]
        return made

    def _base(self, overrides: list[str]) -> tuple[bytes, str, set[str]]:
        key = json.dumps(overrides)
        if key not in self._bases:
            made, config = self._whole(overrides)
            strings = [s for s in _strings(OmegaConf.to_container(without_hydra(config), resolve=False)) if "${" in s]
            self._bases[key] = (
                pickle.dumps(made),
                " ".join(strings),
                {k.partition("@")[0] for k in config.hydra.runtime.choices},
            )
        return self._bases[key]

    def _whole(self, overrides: list[str]) -> tuple[Composed, DictConfig]:
        config = self._load(overrides)
        values, run_options = resolve(without_hydra(config), config.hydra.overrides.task)
        choices.check(config.hydra.runtime.choices, values)
        runtime = config.hydra.runtime
        return Composed(
            config=values, choices=dict(runtime.choices), folders=naming.folders(runtime), run_options=run_options
        ), config


def _is_special(override: Override) -> bool:
    """Whether the override says what to do with the configuration, which is the same for all runs, or replaces an option."""
    first, _, last = override.key_or_group.partition(".")
    return first in REQUESTS or last == "_target_"


def _set(config: dict[str, Any], override: Override, interpolated: str) -> bool:
    """Put a plain value in its place; False where that takes more than this."""
    path, value = override.key_or_group, override.value()
    *parents, last = path.split(".")
    node: Any = config
    for name in parents:
        node = node.get(name) if isinstance(node, dict) else None
    values = value if isinstance(value, list) else [value]
    simple = all(isinstance(each, str | int | float | bool | None) for each in values) and "${" not in str(value)
    if not (simple and isinstance(node, dict) and last in node) or isinstance(node[last], dict) or path in interpolated:
        return False
    node[last] = list(value) if isinstance(value, list) else value
    return True


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [text for entry in (value.values() if isinstance(value, dict) else value) for text in _strings(entry)]
    return [value] if isinstance(value, str) else []
