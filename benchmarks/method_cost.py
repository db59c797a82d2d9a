"""What a training step of each method costs, as a ratio to a step of dense training.

    OMP_NUM_THREADS=1 python benchmarks/method_cost.py --models resnet20 resnet56 --rounds 5 --write

A step is what ``bimp_exp.training`` does: forward, loss, penalty, backward, the method's hooks, SGD; on one batch of random
images, CIFAR's shape, in fp32 and the memory layout of a run. Augmentation is left out, which would only bring the ratios
nearer to 1. Every method of ``conf/method`` has its own network and takes its steps in turn with all others, so that a machine
that slows down slows them alike. A round is 16 such steps, which holds one of DPF's new masks; its ratio is that of the sums.
What happens once in several epochs (352 steps each, as on CIFAR-10) is not in it: GMP's prunings, the C-steps of lc_lagrangian.
Printed, and with ``--write`` written to ``benchmarks/results/``: the median over rounds, the lowest and the highest.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch.nn import functional as F

from bimp_exp import cli, files, grid, provenance, prune
from bimp_exp.method.base import Setting
from bimp_exp.runtime import synchronize

ROOT = Path(__file__).resolve().parents[1]
METHODS = ["dense", *sorted({path.stem for path in (ROOT / "conf" / "method").glob("*.yaml")} - {"dense"})]
STEPS_PER_EPOCH = 352  # 45,000 images in batches of 128
STEPS_PER_ROUND = 16  # conf/method/dpf.yaml: refresh
GOALS = dict.fromkeys(("gmp", "gsm", "lc", "dpf"), 1.05) | dict.fromkeys(("dnw", "str", "cs", "dst"), 1.15)


def stepper(method: str, model: str, batch_size: int) -> Callable[[int], float]:
    """A function that takes one training step and gives its seconds."""
    overrides = [f"method={method}", f"model={model}", "budget=dense"]
    composed = compose("config", overrides=overrides, return_hydra_config=True)
    config = cli.resolve(grid.without_hydra(composed))[0]
    hooks, selector, runtime = (instantiate(config[part]) for part in ("method", "selector", "runtime"))
    device = runtime.start()
    torch.manual_seed(0)
    network = instantiate(config["model"])(image_shape=[3, 32, 32], num_classes=10)
    network = network.to(device).to(memory_format=runtime.memory_format).train()
    images = torch.randn(batch_size, 3, 32, 32, device=device).to(memory_format=runtime.memory_format)
    labels = torch.randint(0, 10, (batch_size,), device=device)
    optim = instantiate(config["optim"])
    hooks.attach(
        Setting(
            model=network,
            weights=prune.prunable(network),
            selector=selector,
            sparsity=config["sparsity"],
            weight_decay=optim.weight_decay,
            num_steps=200 * STEPS_PER_EPOCH,
            steps_per_epoch=STEPS_PER_EPOCH,
        )
    )
    optimizer = optim.build(network.parameters(), hooks.undecayed())
    for group in optimizer.param_groups:
        group["lr"] = 0.01

    def step(i: int) -> float:
        synchronize(device)
        start = time.perf_counter()
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss + hooks.penalty())
        hooks.on_gradients(i, optimizer)
        optimizer.step()
        hooks.on_step(i, optimizer)
        synchronize(device)
        return time.perf_counter() - start

    return step


def measure(model: str, methods: list[str], batch_size: int, rounds: int) -> list[dict[str, Any]]:
    """One row a method: its ratio to dense training, and what a dense step takes."""
    steppers = {method: stepper(method, model, batch_size) for method in methods}
    for step in steppers.values():
        step(0)  # warms up
    sums = [dict.fromkeys(methods, 0.0) for _ in range(rounds)]
    for i in range(rounds * STEPS_PER_ROUND):
        for method, step in steppers.items():
            sums[i // STEPS_PER_ROUND][method] += step(i)
    rows = []
    for method in methods:
        ratios = [total[method] / total["dense"] for total in sums]
        milliseconds = [1e3 * total[method] / STEPS_PER_ROUND for total in sums]
        row = {"model": model, "method": method, "ratio": median(ratios), "lowest": min(ratios), "highest": max(ratios)}
        rows.append(row | {"goal": GOALS.get(method), "milliseconds_per_step": median(milliseconds)})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| model | method | step / dense step | goal | ms |", "|---|---|--:|--:|--:|"]
    for row in rows:
        ratio = f"{row['ratio']:.3f} ({row['lowest']:.3f} to {row['highest']:.3f})"
        goal = "" if row["goal"] is None else f"{row['goal']:.2f}"
        lines.append(f"| {row['model']} | {row['method']} | {ratio} | {goal} | {row['milliseconds_per_step']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--write", action="store_true", help="to benchmarks/results/method_cost.json and .md")
    options = parser.parse_args()
    methods = ["dense", *[method for method in options.methods if method != "dense"]]
    rows: list[dict[str, Any]] = []
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for model in options.models:
            rows += measure(model, methods, options.batch_size, options.rounds)
    machine = {name: value for name, value in provenance.machine().items() if name != "host"}
    about = {
        "machine": machine,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "rounds": options.rounds,
        "steps_per_round": STEPS_PER_ROUND,
        "batch_size": options.batch_size,
    }
    where = machine["gpu"] or f"{machine['processor']}, {machine['threads']} threads"
    text = (
        f"{table(rows)}\n\nMedian of {options.rounds} rounds of {STEPS_PER_ROUND} steps (lowest to highest), batches of "
        f"{options.batch_size}; {where}; PyTorch {torch.__version__}.\n"
    )
    print(text)
    if options.write:
        folder = ROOT / "benchmarks" / "results"
        files.write_json(folder / "method_cost.json", about | {"rows": rows})
        files.write(folder / "method_cost.md", text.encode())


if __name__ == "__main__":
    main()
