"""``python -m benchmarks [PART ...]``: measure on this machine, and say what came of every bar. See docs/benchmarks.md."""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as run.py; before PyTorch is loaded

import argparse
import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import ours, report
from benchmarks.rounds import Clock, Row, attempt, note

PARTS = {  # in the order of importance: share of the time
    "training": 3.0,
    "external": 2.0,
    "method_cost": 4.0,
    "packed": 1.5,
    "evaluation": 1.0,
    "trials": 1.2,
    "roofline": 1.0,
    "selection": 1.2,
    "data": 0.4,
    "compiled": 1.0,
}
MODELS = ["resnet56", "resnet20"]
WEIGHTS = {"ResNet-56": 848_944, "ResNet-50": 25_502_912, "WRN-28-10": 36_518_832}  # prunable ones
NUM_TRAIN = 50_000  # images in files
FEW = 4 * 128, 1_000  # training and test images of a sample on a CPU
MANY = 176 * 128, 10_000  # on a GPU: half an epoch, without a smaller last batch, which would be compiled apart


def run(parts: Sequence[str], settings: ours.Settings, minutes: float, folder: Path | None) -> Mapping[str, list[Row]]:
    """Measure one part after the other, each in its share of the time that is left; write to ``folder`` after each."""
    clock = Clock(60 * minutes)
    rows: dict[str, list[Row]] = {}
    for i, part in enumerate(parts):
        share = PARTS[part] / sum(PARTS[left] for left in parts[i:])
        start, mine = time.monotonic(), Clock(share * clock.left())
        measure = importlib.import_module(f"benchmarks.{part}").measure
        over = note(f"skipped: the {minutes:g} minutes were over")
        rows[part] = attempt(partial(measure, settings, mine)) if mine.left() > 0 else [over]
        print(f"{part}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        if folder is not None:
            report.write(folder, report.about(rows), rows)
    return rows


def main(arguments: Sequence[str]) -> None:
    """Measure, print, and with --write keep."""
    lines = [f"  {str(importlib.import_module(f'benchmarks.{part}').__doc__).splitlines()[0]}" for part in PARTS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="\n".join(["Measure on this machine, side by side. Parts:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="which parts; without any, all in this order")
    parser.add_argument("--minutes", type=float, default=9.0, help="in all (9)")
    parser.add_argument("--rounds", type=int, default=5, help="quiet ones of each part (5)")
    parser.add_argument(
        "--models", nargs="+", default=MODELS, help="of conf/model; training takes all, others the first"
    )
    parser.add_argument("--root", help="a folder with CIFAR-10, as dataset.root; without, random images of its shape")
    parser.add_argument("--external", metavar="COMMAND", help="a program whose last line is images_per_second=NUMBER")
    parser.add_argument("--write", nargs="?", type=Path, const=ours.ROOT / "benchmarks" / "results", metavar="FOLDER")
    given = parser.parse_args(arguments)
    if wrong := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no part {wrong[0]}: choose from {', '.join(PARTS)}")
    asked = given.parts or [part for part in PARTS if part != "external"]
    parts = [part for part in PARTS if part in asked or (part == "external" and given.external)]
    train_images, test_images = MANY if torch.cuda.is_available() else FEW
    with TemporaryDirectory(prefix="bimp_exp_bench_") as folder:
        overrides = [] if given.root else ours.made_up_cifar(Path(folder), NUM_TRAIN, test_images)
        settings = ours.Settings(
            models=given.models,
            rounds=given.rounds,
            root=given.root or folder,
            folder=folder,
            num_train=NUM_TRAIN,
            train_images=train_images,
            test_images=test_images,
            weights=WEIGHTS,
            window=5.0,
            overrides=overrides,
            external=given.external,
        )
        rows = run(parts, settings, given.minutes, given.write)
        facts = report.about(rows)
        print(report.markdown(facts, rows))
        if given.write:
            paths = report.write(given.write, facts, rows)
            print(f"written: {', '.join(map(str, paths))}{'' if len(paths) == 3 else '; no plot without matplotlib'}")


if __name__ == "__main__":
    main(sys.argv[1:])
