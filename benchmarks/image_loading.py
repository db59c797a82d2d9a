"""What it costs to decode images while training, and whether that happens at the same time as training.

    OMP_NUM_THREADS=1 python benchmarks/image_loading.py

Images are made here: JPEG of 500 x 375 pixels (ImageNet's most common size), about as many bytes as ImageNet's have (110 kB),
with the crops and the size of ``conf/dataset/imagenet.yaml``. Decoders take turns within a round, so that a machine that slows
down slows them alike. For the overlap a training step is a sleep, as long as its batch takes to decode: what a host does while
a device computes. Without workers a pass takes 2 of these times, with enough of them 1; its speed-up is at most 2.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, get_args, get_type_hints

import numpy as np
import torch
import yaml
from PIL import Image

from bimp_exp.dataset.decode import Recipe, Request
from bimp_exp.dataset.imagenet import ImageNet
from bimp_exp.dataset.stream import Streamed

ROOT = Path(__file__).resolve().parents[1]
CONF = yaml.safe_load((ROOT / "conf" / "dataset" / "imagenet.yaml").read_text())
DECODERS = get_args(get_type_hints(Recipe)["decoder"])
NUM_FILES = 32  # that differ; listed again and again they are as many as needed
BATCH = 64


def write_images(root: Path, num_train: int) -> int:
    """``num_train`` training images of two classes, and as few test images as there may be; the size of one in bytes."""
    generator = np.random.default_rng(0)
    for number in range(max(NUM_FILES, num_train)):
        file = root / "train" / f"n{number % 2}" / f"{number:05}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        if number < NUM_FILES:
            coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC)).astype(int)
            noisy = (smooth + generator.integers(-32, 33, smooth.shape)).clip(0, 255)
            stream = io.BytesIO()
            Image.fromarray(noisy.astype(np.uint8)).save(stream, "JPEG", quality=90)
            file.write_bytes(stream.getvalue())
        else:
            first = number % NUM_FILES
            os.link(root / "train" / f"n{first % 2}" / f"{first:05}.JPEG", file)
    for label in ("n0", "n1"):
        (root / "val" / label).mkdir(parents=True)
        os.link(root / "train" / label / f"{label[1:]:0>5}.JPEG", root / "val" / label / "0.JPEG")
    return (root / "train" / "n0" / "00000.JPEG").stat().st_size


def load(root: Path, num_train: int, num_workers: int, device: torch.device) -> Streamed:
    """The data set of ``conf/dataset/imagenet.yaml`` with these images."""
    values: dict[str, Any] = {key: value for key, value in CONF.items() if key != "_target_"}
    values |= {"root": str(root), "num_classes": 2, "num_train_images": num_train, "num_test_images": 2}
    return ImageNet(**(values | {"num_workers": num_workers, "validation_fraction": 1 / num_train})).load(device)


def decoding(root: Path, rounds: int) -> list[dict[str, Any]]:
    """Images per second of one process, from file to crop, for each decoder."""
    recipe = load(root, len(list(root.glob("train/*/*"))), 0, torch.device("cpu")).recipe
    files = sorted(root.glob("train/*/*"))[:NUM_FILES]
    rates: dict[str, list[float]] = {decoder: [] for decoder in DECODERS}
    for turn in range(rounds + 1):
        for decoder in DECODERS:
            how = Recipe(**(vars(recipe) | {"decoder": decoder}))
            start = time.perf_counter()
            for seed, file in enumerate(files):
                how.pixels(Request(str(file), 0, file.stat().st_size, seed))
            if turn:  # the first one only warms up
                rates[decoder].append(len(files) / (time.perf_counter() - start))
    ratios = [fast / plain for fast, plain in zip(rates["torchvision"], rates["pil"], strict=True)]
    return [
        *(_row(f"decode and crop, one process, {decoder}", "images/s", rates[decoder]) for decoder in DECODERS),
        _row("decode and crop, torchvision / pil", "x", ratios),
    ]


def overlap(root: Path, num_train: int, rounds: int, device: torch.device) -> list[dict[str, Any]]:
    """A pass with steps that sleep, without workers and with one per core; what a pass of bare loading reaches."""
    cores = len(os.sched_getaffinity(0))
    alone, helped = (load(root, num_train, n, device) for n in (0, cores))
    for data in (alone, helped):
        _pass(data, 0.0, epoch=0, most=4)
    plain, fed, bare = [], [], []
    for number in range(1, rounds + 1):
        most = 4 * cores
        seconds = _pass(alone, 0.0, epoch=number, most=4) / 4  # of a batch
        plain.append(2 * seconds)
        fed.append(_pass(helped, seconds, epoch=number, most=most) / most)
        bare.append(most * BATCH / _pass(helped, 0.0, epoch=number, most=most))
    return [
        _row(f"loading, {cores} workers", "images/s", bare),
        _row(
            f"loading and training: none / {cores} workers (at most 2)",
            "x",
            [p / f for p, f in zip(plain, fed, strict=True)],
        ),
    ]


def _pass(data: Streamed, step: float, *, epoch: int, most: int) -> float:
    """Seconds of ``most`` steps that take ``step`` each, the first batch's wait included."""
    batches = data.epoch(seed=0, epoch=epoch, batch_size=BATCH)
    start = time.perf_counter()
    for index in range(most):
        batches[index]
        time.sleep(step)
    return time.perf_counter() - start


def _row(what: str, unit: str, values: list[float]) -> dict[str, Any]:
    return {"what": what, "unit": unit, "median": median(values), "lowest": min(values), "highest": max(values)}


def measure(rounds: int = 5, device: str = "cpu") -> list[dict[str, Any]]:
    """One row a figure: what, unit, median, lowest and highest of the rounds."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root, num_train = Path(folder), 1 + BATCH * 4 * max(2, len(os.sched_getaffinity(0)))
        size = write_images(root, num_train)
        rows = decoding(root, rounds) + overlap(root, num_train, rounds, torch.device(device))
        return [
            {"what": "size of an image", "unit": "kB", **dict.fromkeys(("median", "lowest", "highest"), size / 1e3)},
            *rows,
        ]


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores, {given.device}\n")
    print("| what | unit | median | lowest | highest |\n|---|---|--:|--:|--:|")
    for row in measure(given.rounds, given.device):
        print(f"| {row['what']} | {row['unit']} | {row['median']:.4g} | {row['lowest']:.4g} | {row['highest']:.4g} |")


if __name__ == "__main__":
    main()
