"""The numbers of the tables, against means and deviations that can be worked out in the head."""

from __future__ import annotations

import json
import math
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from bimp_exp.errors import DataError
from bimp_exp.report.render import number, percent
from bimp_exp.report.summary import print_run, print_summary, summarise, write_summary
from bimp_exp.results.reader import Sweep, read_lines, read_run, read_sweep
from tests.report.fake import make_run, make_sweep


def printed(function: object, what: Path | Sweep, width: int = 100) -> str:
    console = Console(file=StringIO(), width=width)
    function(what, console)  # type: ignore[operator]
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """clr 2: three seeds; clr 1: one has failed; allr 2: nothing has finished; allr 1: one is off budget."""
    return make_sweep(
        tmp_path / "grid",
        [
            ({"schedule": "clr", "budget.cycles": 2, "seed": 0}, {"test": 0.90, "cycles": 2}),
            ({"schedule": "clr", "budget.cycles": 2, "seed": 1}, {"test": 0.92, "cycles": 2}),
            ({"schedule": "clr", "budget.cycles": 2, "seed": 2}, {"test": 0.94, "cycles": 2}),
            ({"schedule": "clr", "budget.cycles": 1, "seed": 0}, {"test": 0.95}),
            ({"schedule": "clr", "budget.cycles": 1, "seed": 1}, {"status": "failed"}),
            ({"schedule": "allr", "budget.cycles": 2, "seed": 0}, {"status": "running"}),
            ({"schedule": "allr", "budget.cycles": 2, "seed": 1}, {"status": "absent"}),
            ({"schedule": "allr", "budget.cycles": 1, "seed": 0}, {"test": 0.8, "epochs_used": 5}),
            (
                {"schedule": "allr", "budget.cycles": 1, "seed": 1},
                {"test": 0.8, "theoretical_speedup": "inf"},
            ),
        ],
    )


def test_numbers_of_each_cell(grid: Path) -> None:
    frame = summarise(grid)
    assert list(zip(frame["schedule"], frame["budget.cycles"], strict=True)) == [
        ("clr", 2),
        ("clr", 1),
        ("allr", 2),
        ("allr", 1),
    ]
    assert list(frame["n"]) == [3, 1, 0, 2]
    three, one, none, two = (row for _, row in frame.iterrows())
    assert three["test_mean"] == pytest.approx(0.92)
    assert three["test_std"] == pytest.approx(0.02)  # ddof = 1; with ddof = 0 it would be 0.0163
    assert three["validation"] == pytest.approx(0.91)
    assert three["final_sparsity"] == 0.75
    assert three["pruning_stability"] == pytest.approx(0.6)
    assert three["epochs_used"] == 8
    assert three["images_per_second"] == pytest.approx(500)  # 1000 images and 2 s an epoch
    assert (
        three["seconds"] == 20
    )  # 2 for each of 8 epochs, 1 after each of 3 phases, 0.5 right after each of 2 prunings
    assert three["sparsity_all_parameters"] == pytest.approx(0.675)
    half = 4.302653 * 0.02 / 3**0.5  # t of 2 degrees of freedom
    assert (three["test_low"], three["test_high"]) == pytest.approx((0.92 - half, 0.92 + half), abs=1e-6)
    assert (three["test_min"], three["test_max"]) == (0.90, 0.94)
    assert pd.isna(one[["test_std", "test_low", "test_high"]]).all()
    assert (two["test_low"], two["test_high"]) == pytest.approx((0.8, 0.8)), "no spread is no missing number"
    assert pd.isna(none["test_mean"])
    assert two["theoretical_speedup"] == float("inf")
    assert list(frame["off_budget"]) == ["", "", "", "5/6"]
    assert list(frame["status"]) == [
        "3 finished",
        "1 finished, 1 failed",
        "1 unfinished",  # the other has not written down which cell it is of
        "2 finished",
    ]


def test_both_candidates_are_shown_and_the_chosen_ones_counted(tmp_path: Path) -> None:
    """By validation, run by run: gmp ends with fine-tuning in 2 of 3 runs, str never, and imp has one candidate."""
    runs = [
        *(
            ({"method": "gmp", "seed": i}, {"after": both})
            for i, both in enumerate([(0.8, 0.9), (0.8, 0.7), (0.5, 0.8)])
        ),
        *(({"method": "str", "seed": i}, {"after": (0.7, 0.6)}) for i in range(3)),
        ({"method": "imp", "seed": 0}, {"test": 0.75}),
    ]
    sweep = make_sweep(tmp_path / "s", runs)
    frame = summarise(sweep)
    assert list(frame["chosen_training"]) == [1, 3, 0]
    assert list(frame["chosen_finetune"]) == [2, 0, 0]
    assert frame["test_mean"][0] == pytest.approx((0.88 + 0.78 + 0.78) / 3)
    assert frame["after_training"][0] == pytest.approx((0.78 + 0.78 + 0.48) / 3)
    write_summary(read_sweep(sweep), sweep)
    text = (sweep / "summary.md").read_text()
    assert "| gmp | 3 | 81.33 ± 14.34 * | 83.33 | 68.00 †1/3 | 78.00 †2/3 |" in text
    assert "| str | 3 | 68.00 ± 0.00 ≈ | 70.00 | 68.00 † | 58.00 |" in text
    assert "| imp | 1 | 75.00 ? | 74.00 |  |  |" in text
    assert "† marks the network that a run ends with" in text


def test_one_candidate_needs_no_columns(grid: Path) -> None:
    assert "after training" not in printed(print_summary, read_sweep(grid))


def test_a_key_that_a_run_lacks_is_blank_and_null_is_a_value(tmp_path: Path) -> None:
    runs = [
        ({"method": "a", "k": None}, {"test": 0.5}),
        ({"method": "a"}, {"test": 0.6}),
        ({"method": "b", "k": 3}, {}),
    ]
    sweep = make_sweep(tmp_path / "s", runs)
    assert len(summarise(sweep)) == 3
    write_summary(read_sweep(sweep), sweep)
    text = (sweep / "summary.md").read_text()
    assert "| a | null | 50.00 |" in text
    assert "| a |  | 60.00 |" in text
    assert list(pd.read_csv(sweep / "summary.csv", keep_default_na=False)["k"]) == ["null", "", "3"]


def test_last_cycle_gives_the_stability(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", [({"seed": 0}, {"cycles": 3, "pruning_stability": 0.1})])
    assert summarise(sweep)["pruning_stability"][0] == 0.1  # the cycles before have 0.6


def test_dense_runs_have_no_stability(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", [({"seed": seed}, {"cycles": 0}) for seed in (0, 1)])
    assert pd.isna(summarise(sweep)["pruning_stability"][0])
    assert "stability" not in printed(print_summary, read_sweep(sweep))


def test_only_seeds_swept_is_one_row(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", [({"seed": seed}, {"test": 0.5 + seed / 10}) for seed in (0, 1)])
    frame = summarise(sweep)
    assert len(frame) == 1
    assert "seed" not in frame
    assert frame["test_std"][0] == pytest.approx(0.1 / 2**0.5)


def test_swept_group_may_be_called_like_a_statistic(tmp_path: Path) -> None:
    """`budget=imp,bimp` and `sparsity=...` are plausible keys, and null is a value of its own."""
    runs = [({"budget": b, "sparsity": s}, {}) for b in ("imp", "bimp") for s in (None, 0.9)]
    frame = summarise(make_sweep(tmp_path / "s", runs))
    assert list(frame["budget"]) == ["imp", "imp", "bimp", "bimp"]
    assert list(frame["sparsity"]) == [None, 0.9, None, 0.9]
    assert frame.columns.is_unique


def test_csv_keeps_every_digit(grid: Path) -> None:
    write_summary(read_sweep(grid), grid)
    frame, read = summarise(grid), pd.read_csv(grid / "summary.csv", keep_default_na=True)
    assert list(read.columns) == list(frame.columns)
    for name in ("test_mean", "test_std", "theoretical_speedup", "seconds"):
        assert list(read[name].dropna()) == list(frame[name].dropna())


def test_markdown_table(grid: Path) -> None:
    write_summary(read_sweep(grid), grid)
    text = (grid / "summary.md").read_text()
    assert "| clr | 2 | 3 |  | 92.00 ± 4.97 | 91.00 | 75.00 | 67.50 | 2 | 8 | 48000000 |  | 20 |" in text
    assert "| clr | 1 | 1 | 1 failed | 95.00 * | 94.00 | 50.00 | 45.00 | 2 | 6 | 36000000 |  | 14.5 |" in text
    assert "| allr | 1 | 2 |  | 80.00 ± 0.00 ? | 79.00 | 50.00 | 45.00 | inf | 5.5 | 36000000 | 5/6 | 14.5 |" in text
    assert "- schedule=clr cycles=1 seed=1: failed: budget.cycles: 0 is not legal" in text
    assert "- schedule=allr cycles=2 seed=1: not started" in text
    assert "such rows do not compare" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_html_is_one_whole_file(grid: Path) -> None:
    facts = json.loads((grid / "sweep.json").read_text())
    (grid / "sweep.json").write_text(json.dumps(facts | {"command": "run.py -m a=<b>"}))
    write_summary(read_sweep(grid), grid)
    text = (grid / "summary.html").read_text()
    assert "92.00 ± 4.97" in text
    assert "a=&lt;b&gt;" in text
    assert 'src="data:image/png;base64,iVBOR' in text
    assert "http" not in text  # needs nothing from elsewhere


def test_terminal_loses_no_number_where_it_is_narrow(grid: Path) -> None:
    text = printed(print_summary, read_sweep(grid), width=40)
    assert "92.00 ± 4.97" in text
    assert "…" not in text
    assert "schedule=clr cycles=1 seed=1: failed: budget.cycles: 0 is not legal" in text


def test_columns_of_equal_cells_become_a_note(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", [({"schedule": s}, {"test": 0.9}) for s in ("allr", "clr")])
    text = printed(print_summary, read_sweep(sweep))
    assert (
        "Equal throughout: n 1, validation accuracy [%] 89.00, sparsity [%] 50.00, sparsity of all parameters [%] 45.00"
        in text
    )
    assert "90.00" in text  # the test accuracy stays a column even where it is equal


def test_print_run_has_a_row_per_phase(tmp_path: Path) -> None:
    text = printed(print_run, make_run(tmp_path / "allr cycles=2", cycles=2, test=0.9), width=60)
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "dense 4 0.00 0.00 0.1 → 0.0025 90.00 500" in rows
    assert "cycle 2 2 75.00 67.50 0.1 → 0.005 90.00 50.00 90.00 60.00 0.3 500" in rows
    assert "final: test accuracy 90.00 %, sparsity 75.00 % (67.50 % of all parameters), theoretical speed-up 2" in text
    assert f"files: {tmp_path / 'allr cycles=2'}" in text


def test_print_run_of_a_phase_without_steps(tmp_path: Path) -> None:
    """One-shot pruning without retraining has neither a learning rate nor a speed."""
    run = make_run(tmp_path / "r", cycles=1)
    result = json.loads((run / "result.json").read_text())
    result["phases"][1] |= {"learning_rate": None, "images_per_second": None, "epochs": 0, "num_steps": 0}
    (run / "result.json").write_text(json.dumps(result))
    rows = [" ".join(line.split()) for line in printed(print_run, run).splitlines()]
    assert "cycle 1 0 50.00 45.00 90.00 50.00 90.00 60.00 0.3" in rows


def test_print_run_says_why_there_is_no_result(tmp_path: Path) -> None:
    text = printed(print_run, make_run(tmp_path / "r", status="failed"))
    assert "r: failed: budget.cycles: 0 is not legal" in text


def test_a_sweep_that_knows_its_cells_counts_what_has_not_started(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", [({"schedule": "clr"}, {}), ({"schedule": "ft"}, {"status": "absent"})])
    facts = json.loads((sweep / "sweep.json").read_text())
    assert list(summarise(sweep)["schedule"]) == ["clr"]
    facts["cells"] = {"schedule=ft": {"name": "ft", "swept": {"schedule": "ft"}}}
    (sweep / "sweep.json").write_text(json.dumps(facts))
    assert list(summarise(sweep)["schedule"]) == ["clr", "ft"]
    assert summarise(sweep)["status"][1] == "1 not started"


def test_nothing_started_yet_is_an_empty_table(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", [({"schedule": "clr", "lr.peak": 0.1}, {"status": "absent"})])
    assert len(summarise(sweep)) == 0
    write_summary(read_sweep(sweep), sweep)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [("sweep.json", None, "sweep.json: absent"), ("sweep.json", "{", "sweep.json: not JSON")],
)
def test_one_line_for_a_folder_that_is_no_sweep(tmp_path: Path, file: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match=message) as error:
        summarise(tmp_path)
    assert "\n" not in str(error.value)


def test_a_speedup_that_was_not_counted_is_blank_and_said_of_a_run(tmp_path: Path) -> None:
    half = {"theoretical_speedup": None, "forward_multiply_adds": None, "backward_multiply_adds": None}
    runs = [({"model": "vit"}, half), ({"model": "resnet"}, {})]
    sweep = make_sweep(tmp_path / "s", runs)
    frame = summarise(sweep)
    assert pd.isna(frame["theoretical_speedup"][0])
    assert pd.isna(frame["multiply_adds"][0])
    assert frame["theoretical_speedup"][1] == 2
    write_summary(read_sweep(sweep), sweep)
    assert "| vit | 90.00 |  |  |" in (sweep / "summary.md").read_text()
    assert "theoretical speed-up not counted" in printed(print_run, sweep / "model=vit")


def test_the_table_in_latex(grid: Path) -> None:
    write_summary(read_sweep(grid), grid)
    text = (grid / "summary.tex").read_text()
    assert r"clr & 2 & 3 &  & 92.00 $\pm$ 4.97 & 91.00 & 75.00 & 67.50 & 2 & 8 & 48000000 &  & 20 \\" in text
    assert r"test accuracy [\%]" in text


def test_a_metric_of_another_name_is_called_by_it(tmp_path: Path) -> None:
    """Nothing but run.json says what the metric is."""
    sweep = make_sweep(tmp_path / "s", [({"method": "gmp"}, {"after": (0.8, 0.9)}), ({"method": "imp"}, {})])
    for run in ("method=gmp", "method=imp"):
        facts = json.loads((sweep / run / "run.json").read_text())
        (sweep / run / "run.json").write_text(json.dumps(facts | {"metric": "mean IoU"}))
    write_summary(read_sweep(sweep), sweep)
    text = (sweep / "summary.html").read_text()
    assert "test mean IoU [%]" in text
    assert "of higher validation mean IoU" in text
    assert "accuracy" not in text


@pytest.mark.parametrize("key", ["phases", "final"])
def test_a_result_without_a_key_is_one_line_that_names_it(tmp_path: Path, key: str) -> None:
    run = make_run(tmp_path / "r")
    result = json.loads((run / "result.json").read_text())
    del result[key]
    (run / "result.json").write_text(json.dumps(result))
    with pytest.raises(DataError, match=rf"result\.json: {key}: field required; restore the file") as error:
        read_run(run)
    assert "\n" not in str(error.value)


def test_a_result_outweighs_an_earlier_failure(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r")
    (run / "failed.json").write_text('{"error": "node died", "kind": "OSError"}')
    assert read_run(run).status == "finished"


def test_a_line_being_written_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    assert read_lines(tmp_path) == ['{"step": 1}']


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (float("nan"), ""), (0.97125, "97.12"), (1.0, "100.00"), (0.0, "0.00")]
)
def test_percent(value: float | None, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (8.34567, "8.346"), (123456.7, "123457"), (math.inf, "inf"), (30, "30")]
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text
