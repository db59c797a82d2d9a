"""What is drawn, read back from the axes before it becomes pixels."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from bimp_exp.report.grid_plot import choose_axes, grid_figure
from bimp_exp.report.run_plots import layers_figure, learning_rate_figure, metric_figure, save_plots
from bimp_exp.report.summary import summarise
from bimp_exp.results.reader import read_metrics, read_run
from bimp_exp.results.schema import Result
from tests.report.fake import make_run, make_sweep


def labelled(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    lines = [line for line in axes.lines if line.get_label() == label]
    assert len(lines) == 1, f"{label}: a label belongs in the legend once"
    return np.round(lines[0].get_xdata(), 6).tolist(), np.round(lines[0].get_ydata(), 6).tolist()


def finished(folder: Path) -> Result:
    result = read_run(folder).result
    assert result is not None
    return result


def upright_lines(axes: Axes) -> list[float]:
    """Where axvline was called: its lines go from 0 to 1 in the axes' own height."""
    return [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_learning_rate_and_sparsity(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", cycles=2)
    result = finished(folder)
    above, below = learning_rate_figure(read_metrics(folder), result).axes
    curves = [line for line in above.lines if line.get_linestyle() == "-"]
    assert [(line.get_xdata()[0], line.get_xdata()[-1]) for line in curves] == [(1, 40), (41, 60), (61, 80)]
    assert curves[1].get_ydata()[0] == pytest.approx(0.1)  # the rate is back at its start in each phase
    steps, sparsity = below.lines[0].get_data()
    assert list(zip(steps, sparsity, strict=True)) == [(0, 0), (40, 50), (60, 75), (80, 75)]
    assert below.lines[0].get_drawstyle() == "steps-post"
    assert upright_lines(above) == [40, 60]
    assert upright_lines(below) == [40, 60]
    assert texts(above) == ["dense", "cycle 1", "cycle 2"]


def test_accuracy(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", cycles=2, test=0.9)
    figure = metric_figure(read_metrics(folder), finished(folder), read_run(folder).metric)
    (axes,) = figure.axes
    assert labelled(axes, "validation") == ([10, 20, 30, 40], [80, 83.333333, 85, 86])  # 90 - 20/(epoch + 1)
    assert labelled(axes, "train")[1] == [83, 86.333333, 88, 89]
    assert labelled(axes, "test, end of a phase") == ([40, 60, 80], [90, 90, 90])
    assert labelled(axes, "test, right after pruning") == ([40, 60], [50, 50])
    assert upright_lines(axes) == [40, 60]
    assert texts(axes) == ["50 % sparse", "75 % sparse"]
    assert axes.get_ylabel() == "accuracy [%]"


def test_accuracy_takes_the_later_value_of_a_repeated_step(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", cycles=0)
    again = {"step": 20, "phase": "dense", "train_accuracy": 0.5, "validation_accuracy": 0.25}
    axes = metric_figure([*read_metrics(folder), again], finished(folder), "accuracy").axes[0]
    assert labelled(axes, "validation") == ([10, 20, 30, 40], [80, 25, 85, 86])


def test_layers(tmp_path: Path) -> None:
    figure = layers_figure(finished(make_run(tmp_path / "r", cycles=1, num_layers=56)))
    (axes,) = figure.axes
    assert len(axes.patches) == 56
    assert [bar.get_width() for bar in axes.patches] == [50] * 56
    assert axes.get_yticklabels()[0].get_text() == "layer0.weight"
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first layer is on top"
    assert texts(axes)[2] == "50.00 % of 300"
    figure.draw_without_rendering()
    first, second = (label.get_window_extent() for label in axes.get_yticklabels()[:2])
    assert first.y0 >= second.y1, "names do not overlap"


@pytest.mark.parametrize("cycles", [0, 1, 30])
def test_files_are_images_of_a_sane_size(tmp_path: Path, cycles: int) -> None:
    folder = make_run(tmp_path / "r", cycles=cycles)
    save_plots(folder, finished(folder))
    assert sorted(path.name for path in (folder / "plots").iterdir()) == [
        "accuracy.png",
        "layers.png",
        "learning_rate.png",
    ]
    for path in (folder / "plots").iterdir():
        with Image.open(path) as image:
            assert 800 < image.width < 1500
            assert 200 < image.height < 1500


def test_a_phase_without_steps_is_drawn(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", cycles=1)
    result = json.loads((folder / "result.json").read_text())
    result["phases"][1] |= {"num_steps": 0, "learning_rate": None}
    (folder / "result.json").write_text(json.dumps(result))
    save_plots(folder, finished(folder))


def test_plots_touch_nothing_global() -> None:
    code = "import sys, bimp_exp.report.summary, bimp_exp.report.run_plots;"
    code += "print(sorted({'matplotlib.pyplot', 'torch', 'mlflow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_union_of_grids_is_drawn_over_the_sparsity_reached(tmp_path: Path) -> None:
    """A line per value of the keys that all runs have; sparsities in order, whatever order they were run in."""
    runs: list[tuple[dict[str, object], dict[str, object]]] = [
        ({"method": "imp", "sparsity": 0.95}, {"test": 0.8, "sparsity": 0.95}),
        ({"method": "imp", "sparsity": 0.9}, {"test": 0.9, "sparsity": 0.9}),
        ({"method": "str", "method.initial": -3}, {"test": 0.7, "sparsity": 0.93}),
        ({"method": "str", "method.initial": -2}, {"status": "failed"}),
    ]
    sweep = make_sweep(tmp_path / "s", runs)
    figure = grid_figure(summarise(sweep), ["method", "sparsity", "method.initial"], "accuracy")
    (axes,) = figure.axes
    drawn = {bars.get_label(): bars.lines[0].get_data() for bars in axes.containers}
    assert drawn.keys() == {"imp", "str"}
    assert list(drawn["imp"][0]) == pytest.approx([1, 1 + np.log10(2)])  # a tenth is left, then half of that
    assert list(drawn["imp"][1]) == pytest.approx([90, 80])
    assert list(drawn["str"][1]) == pytest.approx([70])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["90", "95"]


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_grids_without_a_common_key_are_drawn(tmp_path: Path, status: str) -> None:
    runs: list[tuple[dict[str, object], dict[str, object]]] = [
        ({"a": 1}, {"status": status}),
        ({"b": None}, {"status": status, "sparsity": 1.0}),
    ]
    sweep = make_sweep(tmp_path / "s", runs)
    figure = grid_figure(summarise(sweep), ["a", "b"], "accuracy")
    figure.draw_without_rendering()
    assert len(figure.axes[0].containers) == 1


def make_grid(folder: Path, **keys: list[object]) -> Path:
    runs = [
        (dict(zip(keys, values, strict=True)), {"test": 0.9, "cycles": 0})
        for values in itertools.product(*keys.values())
    ]
    return make_sweep(folder, runs)


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        ({"seed": [0, 1]}, (None, [], [])),
        ({"schedule": ["a", "b"]}, ("schedule", [], [])),
        ({"cycles": [1, 2], "schedule": ["a", "b", "c"]}, ("cycles", ["schedule"], [])),
        ({"selector": ["x", "y"], "schedule": ["a", "b", "c"]}, ("schedule", ["selector"], [])),
        ({"rate": [0.1, 1.0], "cycles": [1, 2, 3]}, ("cycles", ["rate"], [])),
        ({"flag": [True, False], "rate": [1, 2], "mode": ["a", "b"]}, ("rate", ["flag"], ["mode"])),
        (
            {"a": ["x", "y"], "b": [1, 2], "c": ["u", "v"], "d": [1, 2, 3]},
            ("d", ["a"], ["b", "c"]),
        ),
        ({"one": ["x"], "b": [1, 2]}, ("b", [], [])),
    ],
)
def test_choice_of_axes(
    tmp_path: Path, keys: dict[str, list[object]], chosen: tuple[str | None, list[str], list[str]]
) -> None:
    frame = summarise(make_grid(tmp_path / "s", **keys))
    assert choose_axes(frame, [key for key in keys if key != "seed"]) == chosen


def test_grid_points_and_error_bars(tmp_path: Path) -> None:
    tests = {("allr", 3): (0.9, 0.92, 0.94), ("allr", 1): (0.8, 0.8, 0.8), ("clr", 1): (0.7, 0.8, 0.9)}
    runs = [
        ({"schedule": schedule, "budget.cycles": cycles, "seed": seed}, {"test": test, "cycles": 0})
        for (schedule, cycles), seeds in tests.items()
        for seed, test in enumerate(seeds)
    ]
    failed = ({"schedule": "clr", "budget.cycles": 3, "seed": 0}, {"status": "failed"})
    frame = summarise(make_sweep(tmp_path / "s", [*runs, failed]))
    figure = grid_figure(frame, ["schedule", "budget.cycles"], "accuracy")
    (axes,) = figure.axes
    allr, clr = axes.containers
    assert np.round(allr.lines[0].get_xydata(), 6).tolist() == [[1, 80], [3, 92]]  # sorted along x
    assert np.round(clr.lines[0].get_xydata(), 6).tolist() == [[1, 80]]  # what has not finished is no point
    (bars,) = allr.lines[2]
    half = 4.302653 * 2 / 3**0.5
    assert bars.get_segments()[1] == pytest.approx(np.array([[3, 92 - half], [3, 92 + half]]), abs=1e-4)
    assert figure.get_supylabel() == "test accuracy [%]\nmean, 95 % t interval over seeds"
    assert [text.get_text() for text in figure.legends[0].texts] == ["allr", "clr"]
    assert figure.legends[0].get_title().get_text() == "schedule"


def test_of_two_seeds_the_bars_are_their_range(tmp_path: Path) -> None:
    """The interval of 90 and 94 is 92 ± 25.4."""
    tests = {("allr", 0): 0.9, ("allr", 1): 0.94, ("clr", 0): 0.8, ("clr", 1): 0.8}
    runs = [({"schedule": s, "seed": seed}, {"test": test, "cycles": 0}) for (s, seed), test in tests.items()]
    figure = grid_figure(summarise(make_sweep(tmp_path / "s", runs)), ["schedule"], "accuracy")
    (axes,) = figure.axes
    (bars,) = axes.containers[0].lines[2]
    assert np.round(bars.get_segments()[0][:, 1], 6).tolist() == [90, 94]
    assert figure.get_supylabel() == "test accuracy [%]\nmean, lowest to highest seed"
    assert axes.get_ylim() == pytest.approx((80 - 0.7, 94 + 0.7))  # 5 % of 14 more


@pytest.mark.parametrize("tests", [(0.01, 0.5, 0.99), (0.97, 0.99, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)])
def test_no_axis_of_a_share_goes_below_0_or_above_100(tmp_path: Path, tests: tuple[float, ...]) -> None:
    runs = [({"seed": seed}, {"test": test, "cycles": 0}) for seed, test in enumerate(tests)]
    low, high = grid_figure(summarise(make_sweep(tmp_path / "s", runs)), [], "accuracy").axes[0].get_ylim()
    assert 0 <= low <= 100 * min(tests)
    assert 100 * max(tests) <= high <= 100


def test_one_run_each_has_no_interval_to_name(tmp_path: Path) -> None:
    figure = grid_figure(summarise(make_grid(tmp_path / "s", schedule=["a", "b"])), ["schedule"], "accuracy")
    assert figure.get_supylabel() == "test accuracy [%]"


def test_grid_of_four_keys_has_panels(tmp_path: Path) -> None:
    keys = {"schedule": ["a", "b"], "selector": ["x", "y"], "lr": [0.001, 0.01, 0.1], "cycles": [1, 2]}
    figure = grid_figure(summarise(make_grid(tmp_path / "s", **keys)), list(keys), "accuracy")
    assert [axes.get_title() for axes in figure.axes] == [
        "selector=x, cycles=1",
        "selector=x, cycles=2",
        "selector=y, cycles=1",
        "selector=y, cycles=2",
    ]
    assert figure.axes[0].get_xscale() == "log"  # 0.001 to 0.1
    assert figure.axes[0].get_ylim() == figure.axes[3].get_ylim()


def test_grid_without_swept_keys_is_one_point(tmp_path: Path) -> None:
    frame = summarise(make_grid(tmp_path / "s", seed=[0, 1]))
    (axes,) = grid_figure(frame, [], "accuracy").axes
    assert axes.containers[0].lines[0].get_ydata().tolist() == [90]
