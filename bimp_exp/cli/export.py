"""``python -m bimp_exp.export FOLDER [--onnx] [--batch-size N]``: the network of a finished run as a file of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from bimp_exp.cli import main as cli


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


def main() -> None:
    """Export, then show what it came to."""
    parser = argparse.ArgumentParser(prog="python -m bimp_exp.export", description=__doc__)
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="of a finished run: config.yaml, model.pt, result.json"
    )
    parser.add_argument("--onnx", action="store_true", help="also write export.onnx (needs the extra: bimp-exp[onnx])")
    parser.add_argument(
        "--batch-size", type=_count, default=128, metavar="N", help="images at once that it shall be fast for (128)"
    )
    arguments = parser.parse_args()

    from bimp_exp.export import facts, run  # PyTorch takes its time; --help and mistakes need none of it

    result = run.export(arguments.folder, onnx=arguments.onnx, batch_size=arguments.batch_size)
    facts.show(result, Console())


if __name__ == "__main__":
    cli.main(main)
