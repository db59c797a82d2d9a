"""``python -m benchmarks.paper_cost``: what the paper's tables and figures cost, into benchmarks/results/paper_cost.md.

Runs, epochs and images are those that ``plan=true`` prints. Hours are images over rates that other people's code reaches on other
people's GPUs (``RATES``, docs/reproduction.md): nothing here was measured on a GPU.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RATES = {  # training images per second, low to high: an older GPU with a slow loader, and a recent one in bf16
    "resnet56": (4_000, 60_000, 150_000),
    "resnet18": (4_000, 24_000, 100_000),
    "vgg16": (4_000, 40_000, 100_000),
    "wrn28_10": (2_300, 8_000, 15_000),
    "resnet50": (1_450, 3_000, 5_000),
}
LINE = re.compile(r"(\d+) runs?, .*?: ([\d.e+]+) epochs? in (\d+) phases?; ([\d.e+]+) epochs? in (\d+) of them differ")
ITEMS = re.compile(r"planned with ([\d,]+) (\w+)")
MODEL = re.compile(r"override /model: (\w+)")
RECIPE = re.compile(r"/recipe: (\w+)")
OF_RECIPE = {"cifar10": "resnet56", "cifar100": "wrn28_10", "imagenet": "resnet50"}


def cost(file: Path) -> list[str]:
    """The row of one sweep: name, runs, phases and epochs that differ, epochs of all runs, items, hours."""
    command = [sys.executable, "run.py", f"+sweeps={file.stem}", "plan=true"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found, items = LINE.search(text), ITEMS.search(text)
    assert found, text[-500:]
    assert items, text[-500:]
    runs, requested, _, distinct, phases = found.groups()
    num = float(distinct) * int(items[1].replace(",", ""))
    content = file.read_text()
    recipe, model = RECIPE.search(content), MODEL.search(content)
    rates = RATES.get(model[1] if model else OF_RECIPE.get(recipe[1] if recipe else "", ""))
    hours = " / ".join(f"{num / rate / 3600:,.1f}" for rate in rates) if rates else "rate not known"
    what = [f"{int(runs):,}", f"{int(phases):,}", f"{float(distinct):,.0f}", f"{float(requested):,.0f}"]
    return [file.stem.removeprefix("paper_"), *what, f"{num / 1e6:,.0f} M {items[2]}", hours]


def main() -> None:
    """Write the table of all sweeps."""
    head = [
        "",
        "runs",
        "phases that differ",
        "their epochs",
        "epochs of all runs",
        "to train on",
        "GPU hours, low / middle / high rate",
    ]
    rows = [cost(file) for file in sorted((ROOT / "sweeps").glob("paper_*.yaml"))]
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---", *["--:"] * (len(head) - 1)], *rows]]
    rates = "; ".join(f"{model} {' / '.join(f'{rate:,}' for rate in of)}" for model, of in RATES.items())
    text = ["# What the paper's tables and figures cost", "", "`python -m benchmarks.paper_cost`", "", *lines, ""]
    text += [
        f"Rates, images/s: {rates}. They are taken from published figures of similar code, none was measured with this project.",
        "",
    ]
    text += [
        "For the paper's number of seeds; ten seeds are five times as much. Sweeps share dense networks, so the sum is less."
    ]
    (ROOT / "benchmarks/results/paper_cost.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
