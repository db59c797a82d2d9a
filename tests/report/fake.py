"""Run and sweep folders as training would leave them, with numbers a reader can follow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from bimp_exp.results.schema import (
    BudgetUse,
    Candidate,
    Final,
    LayerFacts,
    LearningRate,
    LearningRateCurve,
    Ledger,
    NetworkFacts,
    PhaseResult,
    PruningEffect,
    PruningResult,
    Result,
    Scores,
)

EPOCH = 10  # steps
DENSE_EPOCHS, CYCLE_EPOCHS = 4, 2
STARTED = "2026-11-22T15:00:00+00:00"


def make_run(
    folder: Path,
    *,
    swept: dict[str, Any] | None = None,
    cycles: int = 1,
    test: float = 0.9,
    status: str = "finished",
    num_layers: int = 3,
    after: tuple[float, float] | None = None,
    **changes: Any,
) -> Path:
    """A run folder: 4 dense epochs and 2 per cycle, of 10 steps each. ``status``: finished, failed, running.

    ``after``: validation after training and after fine-tuning; test is 0.02 less. The better one is the run's end.
    ``changes`` overwrite a key of the result, in "final", "budget", the last "pruning" or at the top.
    """
    folder.mkdir(parents=True)
    config = {
        "seed": 0,
        "budget": {"_target_": "bimp_exp.budget.Budget", "epochs": 10, "cycles": cycles},
        "lr": {"_target_": "bimp_exp.lr.Stepped", "milestones": [3, 6]},
        "tracking": {"_target_": "bimp_exp.tracking.mlflow.MLflow", "uri": "sqlite:///x.db"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    _write(
        folder / "run.json",
        {
            "name": folder.name,
            "choices": {"dataset": "digits", "schedule": "allr"},
            "swept": swept or {},
            "metric": "accuracy",
            "provenance": {
                "versions": {"torch": "2.11"},
                "git": {"commit": "abc123", "dirty": False},
                "machine": {"host": "node1"},
                "data_hash": "d4",
            },
            "started": STARTED,
        },
    )
    records, result = _history(cycles, test, num_layers)
    if after is not None:
        _add_candidates(result, after)
    for key, value in changes.items():
        homes = (result["final"], result["budget"], result["ledger"], result["phases"][-1]["pruning"], result)
        next(home for home in homes if home and key in home)[key] = value
    add_lines(folder, records if status == "finished" else records[:3])
    if status == "finished":
        _write(folder / "result.json", result)
        (folder / "model.pt").write_bytes(b"weights")
    if status == "failed":
        _write(folder / "failed.json", {"error": "budget.cycles: 0 is not legal", "kind": "ConfigError"})
    return folder


def make_sweep(folder: Path, runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> Path:
    """A sweep folder; each run is (swept values, arguments of make_run), or (swept, {"status": "absent"})."""
    names = []
    for swept, arguments in runs:
        names.append(" ".join(f"{key.split('.')[-1]}={value}" for key, value in swept.items()))
        if arguments.get("status") != "absent":
            make_run(folder / names[-1], swept=swept, **arguments)
    folder.mkdir(parents=True, exist_ok=True)
    keys = list(dict.fromkeys(key for swept, _ in runs for key in swept))
    facts = {"name": folder.name, "swept": keys, "command": "python run.py -m ...", "runs": names}
    _write(folder / "sweep.json", facts)
    return folder


def add_lines(folder: Path, records: list[dict[str, Any]]) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def _add_candidates(result: dict[str, Any], after: tuple[float, float]) -> None:
    epochs = (DENSE_EPOCHS, result["budget"]["epochs_used"])
    result["candidates"] = [
        {"phase": phase, "epochs": e, "train": v, "validation": v, "test": v - 0.02, "sparsity": 0.5}
        for phase, e, v in zip(("training", "finetune"), epochs, after, strict=True)
    ]
    result["final"] |= max(result["candidates"], key=lambda candidate: float(candidate["validation"]))


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value))


def _history(cycles: int, test: float, num_layers: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    points: list[dict[str, Any]] = []
    phases: list[PhaseResult] = []
    rates: list[float] = []
    scores = Scores(train=test + 0.02, validation=test - 0.01, test=test)
    step, sparsity, epochs = 0, 0.0, DENSE_EPOCHS
    for cycle in range(cycles + 1):
        name, first, pruning = "dense" if cycle == 0 else f"cycle {cycle}", step, None
        if cycle > 0:
            sparsity, epochs = 1 - 0.5**cycle, CYCLE_EPOCHS
            pruning = _pruning(test, sparsity)
            points.append({"step": step, "phase": name, "sparsity": sparsity, "pruned_test_accuracy": test - 0.4})
        for epoch in range(1, epochs + 1):
            rates += [0.1 * (1 - ((epoch - 1) * EPOCH + inner) / (epochs * EPOCH)) for inner in range(EPOCH)]
            step += EPOCH
            level = test - 0.2 / (epoch + 1)
            reached = {"train_accuracy": level + 0.03, "validation_accuracy": level}
            points.append({"step": step, "phase": name, "epoch": epoch, "learning_rate": rates[-1]} | reached)
        points.append({"step": step, "phase": name, "test_accuracy": test})
        phases.append(
            PhaseResult(
                name=name,
                first_step=first,
                num_steps=step - first,
                epochs=epochs,
                num_images=1000 * epochs,
                seconds_training=2.0 * epochs,
                seconds_warming_up=0.0,
                seconds_evaluating=1.0,
                images_per_second=500.0,
                learning_rate=LearningRate(first=0.1, peak=0.1, last=rates[-1]),
                metrics=scores,
                pruning=pruning,
                key=f"key of {name}",
            )
        )
    layers = tuple(
        LayerFacts(name=f"layer{n}.weight", num_weights=w, num_zeros=int(w * sparsity), multiply_adds=9 * w)
        for n, w in enumerate(range(100, 100 * num_layers + 1, 100))
    )
    used = DENSE_EPOCHS + CYCLE_EPOCHS * cycles
    images = 1000 * used
    chosen = Candidate(phase=phases[-1].name, epochs=used, sparsity=sparsity, **vars(scores))
    result = Result(
        phases=tuple(phases),
        candidates=(chosen,),
        final=Final.of(chosen, _network(sparsity, layers)),
        budget=BudgetUse(epochs=used, epochs_used=used, num_steps=step, num_images=images),
        ledger=Ledger(
            epochs=used,
            num_steps=step,
            num_images=images,
            forward_multiply_adds=images * 2000,
            backward_multiply_adds=images * 4000,
            seconds=0.1,
            seconds_training=2.0 * used,
            seconds_warming_up=0.0,
            images_evaluated={"test": 1000},
            extra_passes={},
        ),
        attested={},
        images_per_second_includes="all",
        computed_on={},
        data_hash="d4",
        learning_rates=LearningRateCurve(step=tuple(range(1, step + 1)), rate=tuple(rates)),
        seconds=0.1,  # most phases were in the store
    )
    return points, result.to_json()


def _network(sparsity: float, layers: tuple[LayerFacts, ...]) -> NetworkFacts:
    return NetworkFacts(
        sparsity=sparsity,
        sparsity_all_parameters=0.9 * sparsity,
        multiply_adds_dense=2000,
        multiply_adds_sparse=1000.0,
        theoretical_speedup=2.0,
        layers=layers,
    )


def _pruning(test: float, sparsity: float) -> PruningResult:
    effect = PruningEffect(
        fraction=0.5,
        num_pruned=50,
        before=Scores(train=test, validation=test, test=test),
        right_after=Scores(train=test - 0.3, validation=test - 0.35, test=test - 0.4),
        pruning_stability=0.6,
        d1=0.2,
        d1_prunable=0.2,
        d2=0.3,
        d=0.3,
        emptied_layers=(),
        seconds_evaluating=0.5,
    )
    return PruningResult(**vars(effect) | vars(_network(sparsity, ())))
