"""What the networks of a run make of some test items, as a picture (plots/predictions.png) or as a page (predictions.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bimp_exp import files
from bimp_exp.report.figures import save

IGNORED = 255  # a pixel without a target, drawn white
ORDER = ("image", "target", "dense", "pruned")


def save_predictions(run_dir: Path) -> None:
    """Draw or write what the run has left; nothing where it has left none."""
    pictures, texts = run_dir / "predictions.npz", run_dir / "predictions.json"
    if pictures.exists():
        with np.load(pictures) as arrays:
            save(pictures_figure(arrays), run_dir / "plots" / "predictions.png")
    if texts.exists():
        files.write(run_dir / "predictions.md", texts_page(json.loads(texts.read_text())).encode())


def pictures_figure(arrays: Mapping[str, NDArray[Any]]) -> Figure:
    """A column for each item: image, target, and what was predicted.

    arrays: ``0_image`` float [C, H, W], ``0_target`` and predictions uint8 [H, W], and so on for the other items.
    """
    num = 1 + max(int(name.partition("_")[0]) for name in arrays)
    rows = [kind for kind in ORDER if f"0_{kind}" in arrays]
    figure = Figure(figsize=(1.3 * num, 1.35 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), num, squeeze=False)
    for row, kind in enumerate(rows):
        for column in range(num):
            axes, found = grid[row, column], arrays[f"{column}_{kind}"]
            axes.imshow(_pixels(found) if kind == "image" else _colours(found), interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(kind)
    return figure


def texts_page(items: list[dict[str, str]]) -> str:
    """Markdown: one list for each item."""
    lines = ["# Predictions of the first test items", ""]
    for item in items:
        lines += [f"- {kind}: {item[kind]}" for kind in ("source", *ORDER) if kind in item] + [""]
    return "\n".join(lines)


def _pixels(image: NDArray[Any]) -> NDArray[Any]:
    """[C, H, W] of any range -> [H, W, 3] in [0, 1]."""
    low, high = float(image.min()), float(image.max())
    spread = (image - low) / ((high - low) or 1.0)
    return np.broadcast_to(spread, (3, *spread.shape[1:])).transpose(1, 2, 0)


def _colours(classes: NDArray[np.uint8]) -> NDArray[Any]:
    """[H, W] -> [H, W, 3]: black for class 0, then the colours of the palette; white where there is no target."""
    palette = np.vstack([[0.0, 0.0, 0.0], colormaps["tab20"](np.arange(20) * 2 % 20 + np.arange(20) // 10)[:, :3]])
    drawn: NDArray[Any] = palette[np.where(classes == 0, 0, (classes.astype(int) - 1) % 20 + 1)]
    drawn[classes == IGNORED] = 1.0
    return drawn
