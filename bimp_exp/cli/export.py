"""``bimp-exp export FOLDER [--onnx] [--batch-size N]``: the network of a finished run as a file of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from bimp_exp.cli.commands import add_allow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, in which formats, and for which batches."""
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="of a finished run: config.yaml, model.pt, result.json"
    )
    parser.add_argument("--onnx", action="store_true", help="also write export.onnx (needs the extra: bimp-exp[onnx])")
    parser.add_argument(
        "--batch-size", type=_count, default=128, metavar="N", help="images at once that it shall be fast for (128)"
    )
    add_allow(parser)


def run(given: argparse.Namespace) -> None:
    """Export the network, then show its size and speed."""
    from bimp_exp.export import comparison, from_run  # PyTorch takes its time; --help and mistakes need none of it
    from bimp_exp.run.process import Process

    with Process() as process:
        result = from_run.export_run(
            given.folder, process, onnx=given.onnx, batch_size=given.batch_size, allow=given.allow
        )
    comparison.show(result, Console())


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)
