"""Whether speed costs accuracy: the same runs with ``runtime=plain`` (fp32, eager) and with ``runtime=default``, seed by seed.

    OMP_NUM_THREADS=1 python benchmarks/accuracy_pairs.py --seeds 0 1 2 3 4 5 --write
    python benchmarks/accuracy_pairs.py --name cifar10 dataset=cifar10 dataset.root=FOLDER dataset.subset=2500 model.depth=8

Runs of ``python run.py`` with what else the command line says. A pair starts from the same weights and sees the same images;
the two-sided paired t-test asks whether the mean of the differences is 0. Written to ``benchmarks/results/accuracy_pairs*``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from hydra import compose, initialize_config_dir
from rich.console import Console
from scipy import stats

from bimp_exp import files
from bimp_exp.config.resolve import resolve, without_hydra
from bimp_exp.results import provenance
from bimp_exp.results.reader import read_run
from bimp_exp.run.process import Process
from bimp_exp.sweep import single

ROOT = Path(__file__).resolve().parents[1]
WAYS = ("plain", "default")
FIGURES = ("test accuracy", "right after the last pruning", "sparsity")


def measure(seeds: Sequence[int], overrides: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One row a seed: the FIGURES of each way, in [0, 1], and what it computed with."""
    rows: list[dict[str, Any]] = []
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for seed in seeds:
            rows.append({"seed": seed} | {way: _run([*overrides, f"runtime={way}", f"seed={seed}"]) for way in WAYS})
    return rows


def _run(overrides: list[str]) -> dict[str, Any]:
    composed = compose("config", [*overrides, "store=own", "tracking=none"], return_hydra_config=True)
    config = resolve(without_hydra(composed))[0]
    with TemporaryDirectory() as folder, Process() as process:
        identity = {"name": "pair", "choices": {}, "swept": {}, "metric": "accuracy"}
        single.run(config, Path(folder), identity, Console(quiet=True), process, command=provenance.command_line())
        result = read_run(Path(folder)).result
    assert result is not None
    pruning = result.phases[-1].pruning
    figures = (result.final.test, pruning.right_after.test if pruning else None, result.final.sparsity)
    return dict(zip(FIGURES, figures, strict=True)) | {"computed_on": result.computed_on}


def compare(rows: Sequence[dict[str, Any]], figure: str) -> dict[str, float]:
    """Mean difference default - plain, its standard deviation, 95 % interval of the mean, and p of the paired t-test."""
    gaps = [row["default"][figure] - row["plain"][figure] for row in rows]
    middle, spread = mean(gaps), stdev(gaps)
    if spread == 0:
        return {"mean": middle, "stdev": 0.0, "low": middle, "high": middle, "p": float(middle == 0)}
    found = stats.ttest_rel([row["default"][figure] for row in rows], [row["plain"][figure] for row in rows])
    low, high = found.confidence_interval(0.95)
    return {"mean": middle, "stdev": spread, "low": float(low), "high": float(high), "p": float(found.pvalue)}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: the pairs in percent, then the tests."""
    lines = ["| seed | " + " | ".join(f"{figure}: plain | default" for figure in FIGURES) + " |"]
    lines.append("|--:|" + "--:|" * (2 * len(FIGURES)))
    for row in rows:
        cells = [f"{100 * row[way][figure]:.2f}" for figure in FIGURES for way in WAYS]
        lines.append(f"| {row['seed']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| default - plain, in points | mean | standard deviation | 95 % interval | p |",
        "|---|--:|--:|--:|--:|",
    ]
    for figure in FIGURES:
        c = compare(rows, figure)
        mean_of, spread, low, high = (100 * c[name] for name in ("mean", "stdev", "low", "high"))
        lines.append(f"| {figure} | {mean_of:+.2f} | {spread:.2f} | {low:+.2f} to {high:+.2f} | {c['p']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Run, print and, where asked to, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4, 5])
    parser.add_argument("--name", default="digits", help="of the files to write")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE, for both ways")
    options = parser.parse_intermixed_args()
    rows = measure(options.seeds, options.overrides)
    machine = {name: value for name, value in provenance.machine().items() if name != "host"}
    how = rows[0]["default"]["computed_on"]
    chosen = ", ".join(f"{key} {value}" for key, value in how["runtime"].items())
    command = re.sub(r"(dataset\.root=)\S+", r"\1FOLDER", " ".join(["python run.py", *options.overrides]))
    text = (
        f"{table(rows)}\n\n`{command}` with `runtime=plain` and with `runtime=default`, which was: {chosen}; on {how['device']}; "
        f"PyTorch {how['torch']}. In percent; paired, two-sided t-test.\n"
    )
    print(text)
    if options.write:
        folder = ROOT / "benchmarks" / "results"
        tests = {figure: compare(rows, figure) for figure in FIGURES}
        about = {"command": command, "machine": machine, "tests": tests, "rows": rows}
        files.write_json(folder / f"accuracy_pairs_{options.name}.json", about)
        files.write(folder / f"accuracy_pairs_{options.name}.md", text.encode())


if __name__ == "__main__":
    main()
