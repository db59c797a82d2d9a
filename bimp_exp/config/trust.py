"""What a configuration that was read from a file may name: nothing is imported for it before it has been checked here.

Whoever writes ``_target_: os.system`` into a config.yaml would otherwise run a command on the machine of whoever exports that
run or does that sweep. A name is accepted if an option in ``conf/`` of the same group has it, or if it lies in a module that
the user has named: with ``--allow MODULE``, or in the configuration that the user's own command line composed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from bimp_exp.config.check import INSTRUCTIONS, RUN
from bimp_exp.config.sources import definition
from bimp_exp.errors import ConfigError
from bimp_exp.paths import CONF

DEEPEST = 20  # levels of a configuration; YAML can make endless ones
EXPERIMENT = re.compile(r"bimp_exp(\.\w+)*\.Experiment")  # it has lain elsewhere in earlier versions


class NotAllowedError(ConfigError):
    """A file names a module that the user does not: the same command with ``--allow MODULE`` accepts it."""


def from_file(config: Any, where: object, allow: Collection[str] = ()) -> dict[str, Any]:
    """``config``, read from the file ``where``, if nothing in it could run anything else than options of ours or of ``allow``.

    allow: names of modules that may be imported. ConfigError otherwise. Values are not checked (``config.check`` does).
    """
    if not isinstance(config, dict):
        raise ConfigError(f"{where}: not the configuration of a run")
    for path, node in _nodes(config, where, ()):
        if "_target_" in node:
            _check_target(node["_target_"], path, where, allow)
        for key, value in node.items():
            if isinstance(key, str) and key.startswith("_") and key not in INSTRUCTIONS:
                raise ConfigError(f"{where}: {'.'.join([*path, key])} is no key of a configuration")
            elif any(isinstance(text, str) and "${" in text for text in (key, value)):
                raise ConfigError(
                    f"{where}: {'.'.join([*path, str(key)])}={value} is not resolved: a value is to be written out"
                )
    return {**config, "_target_": RUN}


def modules_named(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """What ``from_file`` must allow so that it accepts ``configs``, which the user's command line has composed."""
    found: set[str] = set()
    for config in configs:
        for path, node in _nodes(config, "", ()):
            target = node.get("_target_")
            if isinstance(target, str) and path and target not in _options(path[0]):
                found |= {_package(name) for name in (target, _home(target)) if name}
    return sorted(found)


def _check_target(target: Any, path: tuple[str, ...], where: object, allow: Collection[str]) -> None:
    if not isinstance(target, str):
        raise ConfigError(f"{where}: {'.'.join([*path, '_target_'])}={target} must be a name")
    if EXPERIMENT.fullmatch(target) if not path else target in _options(path[0]):
        return
    said = f"{where}: {'.'.join([*path, '_target_'])}={target}"
    home = _home(target)
    strange = [
        name for name in (target, home) if name and not any(name == a or name.startswith(f"{a}.") for a in allow)
    ]
    if strange and _package(target) == target:
        raise ConfigError(f"{said} is no option in conf/{path[0] if path else ''} of this version")
    if strange:
        named = " --allow ".join(dict.fromkeys(_package(name) for name in (target, home) if name))
        raise NotAllowedError(
            f"{said} is not of bimp_exp; if you trust who wrote the file, --allow {named} lets it be imported"
        )
    if home is None:
        raise ConfigError(f"{said} is not a class or function in Python that is found here")


def _package(name: str) -> str:
    """What is to be allowed for ``name``: its top-level module; of bimp_exp, where options alone are trusted, the name itself."""
    package = name.partition(".")[0]
    return name if package == "bimp_exp" else package


def _home(target: str) -> str | None:
    """The whole name of what ``target`` means, which may be a re-export; None where its source cannot be read."""
    try:
        found = definition(target)
    except ConfigError:
        return None
    owner = f"{found.owner.name}." if found.owner else ""
    return f"{found.module}.{owner}{found.node.name}"


def _nodes(value: Any, where: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Every mapping in ``value`` with its place; a list's entries, as mappings, too."""
    if len(path) > DEEPEST:
        raise ConfigError(f"{where}: {'.'.join(path[:3])} has too many levels")
    if isinstance(value, list | tuple):
        value = {str(i): entry for i, entry in enumerate(value)}
    if isinstance(value, Mapping):
        yield path, value
        for key, inner in value.items():
            yield from _nodes(inner, where, (*path, str(key)))


@cache
def _options(group: str) -> frozenset[str]:
    """The ``_target_`` of every option in ``conf/GROUP/``."""
    texts = (file.read_text() for file in (CONF / group).glob("*.yaml")) if group.isidentifier() else ()
    return frozenset(name for text in texts for name in re.findall(r"^_target_:\s*(\S+)", text, re.MULTILINE))
