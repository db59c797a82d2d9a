"""What a sweep would cost: runs, phases, epochs; how much of it is the same, and how much is done already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimp_exp import numerics
from bimp_exp.compose import Composed
from bimp_exp.plan import Plan
from bimp_exp.sweep import Cell


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """``requested`` epochs are those of all runs, ``distinct`` those of all phases that differ, ``left`` are not stored yet.

    ``seconds`` and ``size`` (bytes of the store) are of what is left, going by stored phases; None where none tells.
    """

    num_runs: int
    num_done: int
    num_phases: int
    num_distinct: int
    num_left: int
    requested: float
    distinct: float
    left: float
    seconds: float | None
    size: float | None


def of(runs: Sequence[tuple[Cell, Composed, Plan]], folder: Path) -> Forecast:
    """The forecast of a sweep in ``folder``. Needs the data to be there, whose hash is part of every phase's key."""
    epochs: dict[str, float] = {}
    stored: dict[str, Path] = {}
    known: dict[str, Any] = {}
    requested, num_phases = 0.0, 0
    for cell, made, planned in runs:
        keys = list(_keys(made.config, planned, known))
        root = made.config["store"]["root"]
        where = Path(root).absolute() if root else folder / cell.folder / "phases"
        for key, phase in zip(keys, planned.phases, strict=True):
            name = key if root else f"{cell.folder}/{key}"
            spent = phase.phase.epochs if phase.num_steps else 0.0
            epochs[name], requested, num_phases = spent, requested + spent, num_phases + 1
            if (where / key / "done.pt").exists():
                stored[name] = where / key / "done.pt"
    left = {name: spent for name, spent in epochs.items() if name not in stored}
    seconds, size = _rates(list(stored.values()))
    return Forecast(
        num_runs=len(runs),
        num_done=sum((folder / cell.folder / "result.json").exists() for cell, _, _ in runs),
        num_phases=num_phases,
        num_distinct=len(epochs),
        num_left=len(left),
        requested=requested,
        distinct=sum(epochs.values()),
        left=sum(left.values()),
        seconds=None if seconds is None else seconds * sum(left.values()),
        size=None if size is None else size * len(left),
    )


def line(forecast: Forecast) -> str:
    """The forecast in a sentence or two."""
    f = forecast
    text = (
        f"{f.num_runs} runs, {f.num_done} of them done: {f.requested:g} epochs in {f.num_phases} phases; {f.distinct:g} epochs "
        f"in {f.num_distinct} of them differ, {f.left:g} in {f.num_left} are left to compute"
    )
    if f.seconds is not None and f.left:
        text += f", about {f.seconds / 3600:.2g} hours of one worker"
    if f.size is not None and f.left:
        text += f" and {f.size / 1e6:.3g} MB"
    return f"{text}; nothing was started"


def _keys(config: dict[str, Any], planned: Plan, known: dict[str, Any]) -> list[str]:
    from hydra.utils import get_class, instantiate

    from bimp_exp import checkpoint

    text = repr((config["dataset"], config["runtime"], config["conventions"]["augment_validation"]))
    if text not in known:
        runtime, dataset = (instantiate(config[name], _convert_="all") for name in ("runtime", "dataset"))
        device = runtime.start()
        data = dataset.load(device, augment_validation=False, memory_format=runtime.memory_format)
        known[text] = runtime.facts(device) | {"data": data.fingerprint}
    start = config["dense_checkpoint"]
    facts = known[text] | {"start": None if start is None else checkpoint.digest(start)}
    return numerics.phase_keys(config, planned, get_class(config["method"]["_target_"]), facts)


def _rates(stored: Sequence[Path]) -> tuple[float | None, float | None]:
    """Seconds per epoch and bytes per phase of what is stored."""
    from bimp_exp import store

    headers = [store.header(path) for path in stored]
    epochs = sum(float(h["epochs"]) for h in headers)
    seconds = sum(float(h["seconds"]) for h in headers) / epochs if epochs else None
    return seconds, sum(int(h["size"]) for h in headers) / len(headers) if headers else None
