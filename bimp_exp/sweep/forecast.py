"""The cost of a sweep before it is done: runs, phases, epochs; how much of it is the same, and how much is done already.

The time is estimated from stored phases of the same kind, and OVERHEAD for every run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimp_exp.config.build import build
from bimp_exp.config.compose import Composed
from bimp_exp.run import keys
from bimp_exp.run.plan import Plan, has_no_data
from bimp_exp.run.process import Process
from bimp_exp.sweep.cells import Cell
from bimp_exp.text import counted, duration

OVERHEAD = 2.0  # seconds a run beside its phases: data, plots, files, MLflow (1 to 4 on two busy cores)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Runs, phases and epochs of a sweep.

    requested, distinct, left: epochs of all runs; of all phases that differ; of those that are not stored yet.
    seconds: of what is left, but for the ``num_unknown`` phases of it of whose kind none is stored.
    """

    num_runs: int
    num_done: int
    num_failed: int
    num_phases: int
    num_distinct: int
    num_left: int
    num_unknown: int
    requested: float
    distinct: float
    left: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Phase:
    """``kind``: the same for phases whose epochs take about as long."""

    epochs: float
    kind: str


def forecast_sweep(runs: Sequence[tuple[Cell, Composed, Plan]], folder: Path, process: Process) -> Forecast:
    """The forecast of a sweep in ``folder``. The hash of the data is part of every phase's key:
    where they are not there, no phase is found."""
    from bimp_exp.sweep.worker import pending

    every: dict[str, _Phase] = {}
    left: set[str] = set()
    stores: set[Path] = set()
    known: dict[str, Any] = {}
    requested, num_phases = 0.0, 0
    states = {"done": 0, "failed": 0}
    for cell, made, planned in runs:
        root = made.config["store"]["root"]
        where = Path(root).absolute() if root else folder / cell.folder / "phases"
        stores.add(where)
        facts = _facts(made.config, known, process)
        phase_keys, kind = keys.phase_keys(made.config, planned, facts), keys.kind(made.config, facts)
        names = [key if root else f"{cell.folder}/{key}" for key in phase_keys]
        for name, phase in zip(names, planned.phases, strict=True):
            every[name] = _Phase(epochs=phase.phase.epochs if phase.num_steps else 0.0, kind=kind)
            requested, num_phases = requested + every[name].epochs, num_phases + 1
        done, again = (folder / cell.folder / "result.json").exists(), made.run_options["retry"] == "failed"
        if done or not (pending(folder / cell.folder) or again):
            states["done" if done else "failed"] += 1
            continue
        stored = [i for i, key in enumerate(phase_keys, start=1) if (where / key / "done.pt").exists()]
        left |= set(names[max(stored, default=0) :])
    todo = [every[name] for name in sorted(left)]
    rates = _rates(stores) if todo else {}
    seconds = [_seconds(rates, phase) for phase in todo]
    num_pending = len(runs) - sum(states.values())
    return Forecast(
        num_runs=len(runs),
        num_done=states["done"],
        num_failed=states["failed"],
        num_phases=num_phases,
        num_distinct=len(every),
        num_left=len(todo),
        num_unknown=seconds.count(None),
        requested=requested,
        distinct=sum(phase.epochs for phase in every.values()),
        left=sum(phase.epochs for phase in todo),
        seconds=sum(s for s in seconds if s is not None) + OVERHEAD * num_pending,
    )


def line(forecast: Forecast) -> str:
    """The forecast in a sentence or two."""
    f = forecast
    failed = f" and {f.num_failed} failed (sweep.retry=failed does them again)" if f.num_failed else ""
    text = (
        f"{counted(f.num_runs, 'run')}, {f.num_done} of them done{failed}: {counted(f'{f.requested:g}', 'epoch')} in "
        f"{counted(f.num_phases, 'phase')}; {counted(f'{f.distinct:g}', 'epoch')} in {f.num_distinct} of them differ, "
        f"{f.left:g} in {f.num_left} are left to compute"
    )
    if f.num_done + f.num_failed < f.num_runs:
        text += (
            f", {'at least' if f.num_unknown else 'about'} {duration(f.seconds)} of one worker"
            if f.num_unknown < f.num_left or not f.num_left
            else ", time unknown until a phase of this kind is stored"
        )
        if 0 < f.num_unknown < f.num_left:
            text += f" (unknown for {counted(f.num_unknown, 'phase')}, of whose kind none is stored)"
    return f"{text}; nothing was started"


def _facts(config: dict[str, Any], known: dict[str, Any], process: Process) -> dict[str, Any]:
    """The facts in a run's phase keys that only this machine knows."""
    from bimp_exp.run import checkpoint

    text = repr((config["dataset"], config["runtime"], config["conventions"]["augment_validation"]))
    if text not in known:
        runtime, dataset = (build(config[name]) for name in ("runtime", "dataset"))
        device = runtime.check()
        facts = runtime.facts(device, num_threads=process.num_threads(runtime))
        if has_no_data(config):
            known[text] = facts | {"data": None}
        else:
            data = process.load(dataset, device, augment_validation=False, memory_format=runtime.memory_format)
            known[text] = facts | {"data": data.fingerprint}
    start = config["dense_checkpoint"]
    return {**known[text], "start": None if start is None else checkpoint.digest(start)}


def _rates(stores: Iterable[Path]) -> dict[str, float]:
    """Seconds an epoch of each kind that is stored, and of each kind without its method."""
    from bimp_exp.store import phases as store

    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in (path for folder in stores for path in folder.glob("*/done.pt")):
        header = store.header(path)
        if "kind" in header:
            found[header["kind"]].append(header)
            found[keys.without_method(header["kind"])].append(header)
    sums = {
        kind: [sum(float(h[name]) for h in headers) for name in ("seconds", "epochs")]
        for kind, headers in found.items()
    }
    return {kind: seconds / epochs for kind, (seconds, epochs) in sums.items() if epochs}


def _seconds(rates: dict[str, float], phase: _Phase) -> float | None:
    """At the rate of the same method, else at that of others on the same network; None where there is neither."""
    rate = rates.get(phase.kind, rates.get(keys.without_method(phase.kind)))
    return 0.0 if not phase.epochs else None if rate is None else rate * phase.epochs
