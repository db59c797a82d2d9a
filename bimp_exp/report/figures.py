"""The look of every plot: plain axes, and the colours of Okabe and Ito (2008), safe for the colour-blind."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from bimp_exp import files

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]  # 8 against 7 colours: 56 lines before a pair repeats
GREY = "#808080"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` x ``height`` inches; no pyplot, so nothing global is touched."""
    return Figure(figsize=(width, height), dpi=130, layout="constrained")


def tidy(axes: Axes) -> None:
    """No box round the data, and a grid that stays behind it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as a PNG (drawn by Agg), atomically."""
    canvas, buffer = FigureCanvasAgg(figure), BytesIO()
    canvas.draw()  # type: ignore[no-untyped-call]  # once; Figure.savefig draws twice
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    Image.fromarray(pixels).convert("RGB").save(buffer, format="png", compress_level=3)
    files.write(path, buffer.getvalue())
