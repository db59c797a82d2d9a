"""The keys of a configuration that change no number of a run, or not at one value. These are the only lists of them.

Such a key may be given another value when a sweep or an interrupted run is continued; it is in no phase key, in no
``config_hash`` and in no name of a sweep. Three of them matter only through what becomes of them on a machine: the content of
the data, the device and the number of threads are recorded as facts, and those facts are in the phase keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NEUTRAL = frozenset(
    {
        "_target_",  # of the whole: always bimp_exp's Experiment, wherever that lies in this version
        "dataset.cache",
        "dataset.download",
        "dataset.file",
        "dataset.num_workers",
        "dataset.root",
        "plan",
        "runtime.device",
        "runtime.keep_memory",
        "runtime.threads",
        "store",
        "sweep",
        "tracking",
    }
)

LATER: Mapping[str, Any] = {
    "budget.exact_fraction": False,
    "budget.retrain_fraction": None,
    "conventions.mean_over_classes": False,
    "schedule.reference_epochs": None,
    "task.mean_over_classes": False,
}
"""Keys that came when results had been stored already, with the value at which everything is as it was before. A key that has it
is left out of what names a result, so that those results keep their names."""


def is_neutral(key: str) -> bool:
    """Whether ``key`` (``dataset.root``), or a node that it lies in (``tracking`` of ``tracking.uri``), is in NEUTRAL."""
    parts = key.split(".")
    return any(".".join(parts[:n]) in NEUTRAL for n in range(1, len(parts) + 1))


def without_neutral(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a resolved configuration, or of some of its nodes, that has only the keys that can change a number."""
    return _without_neutral(config, "")


def _without_neutral(node: Mapping[str, Any], place: str) -> dict[str, Any]:
    return {
        key: _without_neutral(value, f"{place}{key}.") if isinstance(value, Mapping) else value
        for key, value in node.items()
        if f"{place}{key}" not in NEUTRAL and (f"{place}{key}" not in LATER or value != LATER[f"{place}{key}"])
    }


def leaves(config: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted keys of a configuration with their values; a list is a value, and so is an empty mapping."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value
