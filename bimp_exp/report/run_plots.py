"""The plots of one finished run: learning rate and sparsity, the metric, and the sparsity of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bimp_exp.report.figures import COLOURS, GREY, new_figure, save, tidy
from bimp_exp.results.reader import read_metrics, read_run
from bimp_exp.results.schema import PhaseResult, Result

Point = dict[str, Any]  # a line of metrics.jsonl
MAX_LABELS = 24  # as many upright labels as fit side by side


def save_plots(run_dir: Path, result: Result) -> None:
    """Draw the plots of ``result`` into ``run_dir``/plots: learning_rate.png, layers.png and one named after the metric."""
    metric, points, folder = read_run(run_dir).metric, read_metrics(run_dir), run_dir / "plots"
    save(learning_rate_figure(points, result), folder / "learning_rate.png")
    save(metric_figure(points, result, metric), folder / f"{metric}.png")
    save(layers_figure(result), folder / "layers.png")


def learning_rate_figure(points: Sequence[Point], result: Result) -> Figure:
    """Learning rate above sparsity, over the steps of the whole run; phases parted by vertical lines."""
    figure = new_figure(8, 4.8)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    steps, rates = np.asarray(result.learning_rates.step), np.asarray(result.learning_rates.rate)
    for phase in result.phases:
        inside = (steps > phase.first_step) & (steps <= _end(phase))  # a step counts when it is done
        above.plot(steps[inside], rates[inside], color=COLOURS[0], marker="." if inside.sum() < 3 else "")
    above.set_ylabel("learning rate")
    above.set_ylim(bottom=0)
    sparse = [(0, 0.0), *((p["step"], 100 * p["sparsity"]) for p in points if "sparsity" in p)]
    sparse.append((result.budget.num_steps, sparse[-1][1]))
    below.plot(*zip(*sparse, strict=True), color=COLOURS[1], drawstyle="steps-post")
    below.set_ylim(-2, 102)  # so that 0 and 100 are seen
    below.set_ylabel("sparsity [%]")
    below.set_xlabel("step")
    names = [(phase.first_step, phase.name) for phase in result.phases]
    for axes in (above, below):
        tidy(axes)
        axes.set_xlim(left=0)
        _mark(axes, names, labelled=axes is above)
    return figure


def metric_figure(points: Sequence[Point], result: Result, metric: str) -> Figure:
    """Train and validation curves, test after each phase and right after pruning, prune points."""
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    for number, split in enumerate(("train", "validation")):
        label: str | None = split
        for phase in result.phases:  # one line per phase: the metric jumps where weights are pruned
            curve = _curve(points, f"{split}_{metric}", phase.name)
            if curve:
                marker = "." if len(curve) < 3 else ""
                axes.plot(list(curve), list(curve.values()), color=COLOURS[number], label=label, marker=marker)
                label = None
    ends = [(_end(phase), phase.metrics.test) for phase in result.phases]
    pruned = [(phase.first_step, phase.pruning) for phase in result.phases if phase.pruning]
    after = [(step, pruning.right_after.test) for step, pruning in pruned]
    _scatter(axes, ends, label="test, end of a phase", marker="o", color=COLOURS[2])
    _scatter(axes, after, label="test, right after pruning", marker="v", color=COLOURS[2], markerfacecolor="white")
    _mark(axes, [(step, f"{100 * pruning.sparsity:.4g} % sparse") for step, pruning in pruned])
    axes.set_xlabel("step")
    axes.set_ylabel(f"{metric} [%]")
    axes.set_xlim(left=0)
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def layers_figure(result: Result) -> Figure:
    """A bar per layer, in the network's order from the top, with its size; a line for the whole."""
    layers, total = result.final.layers, 100 * result.final.sparsity
    figure = new_figure(8, max(2.0, 1.2 + 0.2 * len(layers)))
    axes = figure.subplots()
    sparsity = [100 * layer.num_zeros / max(1, layer.num_weights) for layer in layers]
    rows = range(len(layers))
    axes.barh(rows, sparsity, height=0.7, color=COLOURS[0])
    axes.set_yticks(rows, [layer.name for layer in layers], fontsize=8)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    for row, (layer, percent) in enumerate(zip(layers, sparsity, strict=True)):
        text = f"{percent:.2f} % of {layer.num_weights:,}"
        axes.annotate(text, (100, row), xytext=(6, 0), textcoords="offset points", va="center", fontsize=7)
    axes.axvline(total, color=COLOURS[1], linewidth=1.2)
    axes.set_title(f"sparsity of each layer; line: of all together, {total:.2f} %", fontsize=10)
    axes.set_xlim(0, 100)
    axes.set_xlabel("weights removed [%]")
    tidy(axes)
    axes.grid(visible=False, axis="y")
    return figure


def _end(phase: PhaseResult) -> int:
    """Number of steps of the run until the end of ``phase``."""
    return phase.first_step + phase.num_steps


def _curve(points: Sequence[Point], key: str, phase: str) -> dict[int, float]:
    """Step -> percent; where a resumed run repeated a step, the later value."""
    found = {p["step"]: 100 * p[key] for p in points if p["phase"] == phase and p.get(key) is not None}
    return dict(sorted(found.items()))


def _scatter(axes: Axes, scores: Sequence[tuple[int, float]], **style: Any) -> None:
    if scores:
        axes.plot([step for step, _ in scores], [100 * v for _, v in scores], ls="", markersize=6, zorder=3, **style)


def _mark(axes: Axes, places: Sequence[tuple[int, str]], *, labelled: bool = True) -> None:
    """A vertical line at each place; upright labels above the axes, thinned out where there are too many."""
    every = ceil(len(places) / MAX_LABELS)
    upright = len(places) > 6
    for number, (step, label) in enumerate(places):
        if step > 0:
            axes.axvline(step, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        if labelled and number % every == 0:
            axes.annotate(
                label,
                (step, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                rotation=90 if upright else 0,
                ha="center" if upright or step > 0 else "left",
                fontsize=8,
            )
