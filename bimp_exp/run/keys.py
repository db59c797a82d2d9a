"""What determines the result of a phase, as a hash: its name in the store.

It covers the configuration of the phase, the data, the seed, the phase before it, the machine's kind of arithmetic, and the
code: every module of this package that the computation reaches, without comments, docstrings and layout. So an edit to a
method makes that method's results be computed anew and no other's.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from bimp_exp.config.neutral import without_neutral
from bimp_exp.method.base import Method
from bimp_exp.paths import PACKAGE
from bimp_exp.run.plan import Plan

ROOTS = ("bimp_exp.run.train_phase", "bimp_exp.run.execute")
NEUTRAL = (
    "cli",
    "config",
    "errors",
    "files",
    "lease",
    "paths",
    "report",
    "results",
    "store",
    "sweep",
    "tracking",
    "types",
    "run.invariants",
    "run.checkpoint",
    "run.keys",
    "run.progress",
    "run.result",
)
"""Modules that cannot change a number; what only they import does not count either."""


def phase_keys(config: Mapping[str, Any], plan: Plan, method: type[Method], facts: Mapping[str, Any]) -> list[str]:
    """A key for every phase of ``plan``, each of which includes those before it.

    ``config`` is resolved. ``facts`` are known only once a run starts: data, device, threads, versions, dense checkpoint, and
    ``runtime``, what its options became there, in place of the configured ones.
    """
    config = without_neutral(config)
    names = ("dataset", "model", "optim", "lr", "method", "conventions", "seed", "runtime")
    first = {name: config[name] for name in names}
    while_training = method.prunes == "while training"
    if while_training:
        first |= {name: config[name] for name in ("selector", "sparsity")}
    if method.on_cycle is not Method.on_cycle:  # it looks ahead
        first["retraining"] = [planned.num_steps for planned in plan.phases[1:]]
    later = {} if while_training else {name: config[name] for name in ("selector", "schedule")}
    keys: list[str] = []
    for i, planned in enumerate(plan.phases):
        what = {"before": keys[-1], **later} if i else {**first, **facts}
        what |= {"phase": asdict(planned.phase), "num_steps": planned.num_steps, "first_step": planned.first_step}
        what["code"] = code_hash(targets({**first, **(later if i else {})}))
        keys.append(hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32])
    return keys


def kind(config: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """What a phase has in common with those whose epochs take about as long: data, network, batch, machine, and the method."""
    what = [
        {name: config[name] for name in ("dataset", "model", "runtime")},
        config["optim"]["batch_size"],
        facts["device"],
    ]
    return (
        f"{hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]} {config['method']['_target_']}"
    )


def without_method(kind: str) -> str:
    """The same for whatever method."""
    return kind.partition(" ")[0]


def targets(config: Any) -> tuple[str, ...]:
    """The modules named by every ``_target_`` in ``config``."""
    if not isinstance(config, Mapping):
        return ()
    found = [str(config["_target_"]).rpartition(".")[0]] if "_target_" in config else []
    return tuple(sorted({*found, *(name for value in config.values() for name in targets(value))}))


@cache
def code_hash(modules: tuple[str, ...]) -> str:
    """SHA-256 of the code of ``modules`` and ``ROOTS`` and of all that they import from this package."""
    todo, seen = [*ROOTS, *modules], set[str]()
    while todo:
        name = todo.pop()
        if name not in seen and not _neutral(name) and _source(name):
            seen.add(name)
            todo += _imports(name)
    text = "".join(_bare(name) for name in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()


def _neutral(name: str) -> bool:
    inside = name.partition(".")[2]
    return inside in NEUTRAL or inside.split(".")[0] in NEUTRAL


def _source(module: str) -> Path | None:
    """The file of a module of this package; None for others, and for names that are no module."""
    package, *parts = module.split(".")
    base = PACKAGE.joinpath(*parts)
    if package != PACKAGE.name:
        return None
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@cache
def _tree(module: str) -> ast.Module:
    path = _source(module)
    assert path is not None
    return ast.parse(path.read_text())


def _imports(module: str) -> Iterable[str]:
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache  # it takes docstrings out of the tree that is kept: a second time it would take what stands after them
def _bare(module: str) -> str:
    """The code as text, without comments, layout and docstrings."""
    tree = _tree(module)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:]  # type: ignore[attr-defined]
    return f"{module} {ast.dump(tree)}\n"
