"""What a sweep would cost: runs, phases, epochs; how much of it is the same, and how much is done already.

Hours are those of phases of the same kind that lie in the store, and OVERHEAD for every run. Disk is the store's, the runs' and
MLflow's: phases weigh what stored ones of their kind do, else STATE times the network.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimp_exp.config.compose import Composed
from bimp_exp.run import keys as numerics
from bimp_exp.run.plan import Plan
from bimp_exp.sweep.cells import Cell

OVERHEAD = 2.0  # seconds a run beside its phases: data, plots, files, MLflow (1 to 4 on two busy cores)
STATE = 2.5  # a stored phase over the network: weights, momentum and masks
FILES = 220_000  # bytes of a run beside its network: plots above all
DATABASE = 240_000  # bytes of a run in MLflow's database


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """``requested`` epochs are those of all runs, ``distinct`` those of all phases that differ, ``left`` are not stored yet.

    ``seconds`` and ``size`` (bytes) are of what is left; ``num_unknown`` phases of it are of a kind that was never stored, so
    that ``seconds`` does not count them.
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
    size: float


@dataclass(frozen=True, kw_only=True)
class _Phase:
    """``kind``: what phases that cost about as much have in common. ``network``: bytes."""

    epochs: float
    kind: str
    network: int


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What stored phases of a kind have cost: seconds an epoch, None where they have none; bytes a phase."""

    seconds: float | None
    size: float


def of(runs: Sequence[tuple[Cell, Composed, Plan]], folder: Path) -> Forecast:
    """The forecast of a sweep in ``folder``. Needs the data to be there, whose hash is part of every phase's key."""
    from bimp_exp.sweep.worker import pending

    every: dict[str, _Phase] = {}
    left: set[str] = set()
    roots: set[Path] = set()
    known: dict[str, Any] = {}
    requested, num_phases, files = 0.0, 0, 0.0
    states = {"done": 0, "failed": 0}
    for cell, made, planned in runs:
        root = made.config["store"]["root"]
        where = Path(root).absolute() if root else folder / cell.folder / "phases"
        roots.add(where)
        facts, network = _facts(made.config, known)
        keys = numerics.phase_keys(made.config, planned, facts)
        kind = numerics.kind(made.config, facts)
        names = [key if root else f"{cell.folder}/{key}" for key in keys]
        for name, phase in zip(names, planned.phases, strict=True):
            spent = phase.phase.epochs if phase.num_steps else 0.0
            every[name] = _Phase(epochs=spent, kind=kind, network=network)
            requested, num_phases = requested + spent, num_phases + 1
        done, again = (folder / cell.folder / "result.json").exists(), made.asks["retry"] == "failed"
        if done or not (pending(folder / cell.folder) or again):
            states["done" if done else "failed"] += 1
            continue
        stored = [i for i, key in enumerate(keys, start=1) if (where / key / "done.pt").exists()]
        left |= set(names[max(stored, default=0) :])
        files += (network + FILES) * (2 if "uri" in made.config["tracking"] else 1)
        files += DATABASE if "uri" in made.config["tracking"] else 0
    todo = [every[name] for name in sorted(left)]
    rates = _rates(roots) if todo else {}
    told = [_rate(rates, phase) for phase in todo]
    seconds = [rate.seconds * p.epochs if rate.seconds else 0.0 for rate, p in zip(told, todo, strict=True)]
    num_pending = len(runs) - sum(states.values())
    return Forecast(
        num_runs=len(runs),
        num_done=states["done"],
        num_failed=states["failed"],
        num_phases=num_phases,
        num_distinct=len(every),
        num_left=len(todo),
        num_unknown=sum(rate.seconds is None and p.epochs > 0 for rate, p in zip(told, todo, strict=True)),
        requested=requested,
        distinct=sum(phase.epochs for phase in every.values()),
        left=sum(phase.epochs for phase in todo),
        seconds=sum(seconds) + OVERHEAD * num_pending,
        size=sum(rate.size for rate in told) + files,
    )


def line(forecast: Forecast) -> str:
    """The forecast in a sentence or two."""
    f = forecast
    failed = f" and {f.num_failed} failed (sweep.retry=failed does them again)" if f.num_failed else ""
    text = (
        f"{f.num_runs} runs, {f.num_done} of them done{failed}: {f.requested:g} epochs in {f.num_phases} phases; "
        f"{f.distinct:g} epochs in {f.num_distinct} of them differ, {f.left:g} in {f.num_left} are left to compute"
    )
    if f.num_done + f.num_failed < f.num_runs:
        hours = f"{f.seconds / 3600:.2g} hours of one worker"
        text += (
            f", {'at least' if f.num_unknown else 'about'} {hours}"
            if f.num_unknown < f.num_left or not f.num_left
            else ", hours unknown until a phase of this kind is stored"
        )
        text += f" and about {f.size / 1e6:.3g} MB"
        if 0 < f.num_unknown < f.num_left:
            text += f" (of {f.num_unknown} phases no kind is stored yet, so no hours are known)"
    return f"{text}; nothing was started"


def _method(config: dict[str, Any]) -> Any:
    from hydra.utils import get_class

    return get_class(config["method"]["_target_"])


def _facts(config: dict[str, Any], known: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """What only this machine knows of a run, for its keys; and the bytes of its network."""
    import torch
    from hydra.utils import instantiate

    from bimp_exp.run import checkpoint

    text = repr((config["dataset"], config["runtime"], config["conventions"]["augment_validation"]))
    if text not in known:
        runtime, dataset = (instantiate(config[name], _convert_="all") for name in ("runtime", "dataset"))
        device = runtime.start()
        data = dataset.load(device, augment_validation=False, memory_format=runtime.memory_format)
        known[text] = runtime.facts(device) | {"data": data.fingerprint}
    shape = {name: config["dataset"][name] for name in ("image_shape", "num_classes")}
    if (model := repr((config["model"], shape))) not in known:
        with torch.device("meta"):
            tensors = instantiate(config["model"])(**shape).state_dict().values()
        known[model] = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    start = config["dense_checkpoint"]
    return known[text] | {"start": None if start is None else checkpoint.digest(start)}, known[model]


def _rates(roots: Iterable[Path]) -> dict[str, Rate]:
    """Of each kind that is stored, and of each without its method."""
    from bimp_exp.store import phases as store

    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in (path for root in roots for path in root.glob("*/done.pt")):
        header = store.header(path)
        if "kind" in header:
            found[header["kind"]].append(header)
            found[numerics.without_method(header["kind"])].append(header)
    rates = {}
    for kind, headers in found.items():
        epochs = sum(float(h["epochs"]) for h in headers)
        seconds = sum(float(h["seconds"]) for h in headers) / epochs if epochs else None
        rates[kind] = Rate(seconds=seconds, size=sum(int(h["size"]) for h in headers) / len(headers))
    return rates


def _rate(rates: dict[str, Rate], phase: _Phase) -> Rate:
    """That of the same method, else that of others on the same network, else only what the network tells."""
    other = rates.get(numerics.without_method(phase.kind), Rate(seconds=None, size=STATE * phase.network))
    return rates.get(phase.kind, other)
