"""MLflow's pages in a real browser: what a researcher sees of a sweep is what the runs came to.

Needs Playwright and Debian's chromium, which root installs where there is none.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bimp_exp.tracking.mirror import Mirror
from tests.report.fake import make_sweep
from tests.test_run import run
from tests.test_tracking_stress import Server, named

GRID = ["schedule=allr,clr", "budget.cycles=1,2,3"]
SMALL = [
    "dataset=synthetic", "dataset.num_train_images=200", "dataset.num_test_images=100", "dataset.image_shape=[3,8,8]",
    "model.depth=8", "budget.epochs=7", "budget.dense_epochs=4", "tracking.uri=sqlite:///mlflow.db",
]  # fmt: skip
NAMES = [f"{schedule} cycles={cycles}" for schedule in ("allr", "clr") for cycles in (1, 2, 3)]
PAGES = "workflowType=machine_learning"
CURVES = "number => document.querySelectorAll('.scatterlayer .trace path.js-line').length >= number"
PATIENCE = 120_000  # milliseconds that a page may take on a busy machine

pytestmark = pytest.mark.system


def chromium() -> str | None:
    """Where it is, after seeing to it; None where it cannot be had."""
    with (Path(tempfile.gettempdir()) / "bimp_exp_apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes
        if shutil.which("chromium") is None and os.geteuid() == 0 and shutil.which("apt-get"):
            for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
                get = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
                subprocess.run([*get, *command], capture_output=True)
    return shutil.which("chromium")


def skip(reason: str) -> NoReturn:
    warnings.warn(f"NO PAGE OF MLFLOW IS TESTED: {reason}", stacklevel=1)  # pytest hides why it skips
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright import sync_api
    except ImportError:
        skip("no playwright: pip install -e '.[dev]'")
    path = chromium() or skip("no chromium here, and it cannot be installed: apt-get install chromium")
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])  # root has none
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def sweep(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of six small runs, and MLflow's database two folders above it."""
    folder = tmp_path_factory.mktemp("ui")
    run(folder, "-m", *GRID, *SMALL, "hydra.sweep.dir=results/six")
    return folder / "results" / "six"


@pytest.fixture(scope="module")
def pages(sweep: Path) -> Iterator[str]:
    server = Server(sweep.parents[1])
    server.start()
    yield f"{server.uri}/#/experiments/1"
    server.kill()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Wide, since tables leave out the columns that cannot be seen."""
    page = browser.new_page(viewport={"width": 2600, "height": 1400})
    page.set_default_timeout(PATIENCE)
    yield page
    page.close()


@pytest.fixture(scope="module")
def ids(sweep: Path) -> dict[str, str]:
    found = named(Mirror(uri=f"sqlite:///{sweep.parents[1]}/mlflow.db", experiment="bimp-exp"))
    assert found.keys() == {"six", *NAMES}
    return {name: run.info.run_id for name, run in found.items()}


def result(sweep: Path, name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((sweep / name.replace(" ", ",") / "result.json").read_text())
    return value


def open_tree(page: Any) -> None:
    """Show the runs of the sweep below it."""
    page.get_by_role("link", name="six").wait_for()
    page.locator('button[data-component-id*="runnamecellrenderer"]').first.click()
    for name in NAMES:
        page.get_by_role("link", name=name).wait_for()


def rows(table: Any) -> list[list[str]]:
    return [[cell.strip() for cell in row.split("\t")] for row in table.inner_text().strip().split("\n")]


def test_the_experiment_shows_the_sweep_and_its_runs_below_it(page: Any, pages: str) -> None:
    page.goto(f"{pages}/runs?{PAGES}")
    open_tree(page)
    page.get_by_text("7 matching runs").wait_for()


def test_the_charts_show_the_curves_of_six_runs(page: Any, pages: str) -> None:
    page.goto(f"{pages}/runs?{PAGES}&compareRunsMode=CHART")
    open_tree(page)
    for metric in ("learning_rate", "test_accuracy"):
        page.get_by_placeholder("Search metric charts").fill(f"^{metric}$")
        for name in NAMES:
            page.get_by_text(f"{name} ({metric})", exact=True).wait_for(state="attached")
        page.wait_for_function(CURVES, arg=len(NAMES))


def test_the_sweep_shows_its_table_keys_and_children(page: Any, pages: str, ids: dict[str, str], sweep: Path) -> None:
    page.goto(f"{pages}/runs/{ids['six']}?{PAGES}")
    page.get_by_text("Show more").first.click()
    table = page.locator("table").filter(has_text="test accuracy [%]").first
    lines = [line for line in (sweep / "summary.md").read_text().splitlines() if line.startswith("| ")]
    written = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows(table) == [written[0], *written[2:]]
    assert len(written) == 2 + len(NAMES)
    for name in NAMES:
        page.get_by_role("link", name=name).wait_for()
    text = page.inner_text("body")
    assert re.search(r"schedule\s+allr, clr\s", text)
    assert re.search(r"budget\.cycles\s+1, 2, 3\s", text)
    assert "Finished" in text


def test_a_run_shows_what_its_result_says(page: Any, pages: str, ids: dict[str, str], sweep: Path) -> None:
    name = NAMES[-1]
    page.goto(f"{pages}/runs/{ids[name]}?{PAGES}")
    page.get_by_text("final_test_accuracy", exact=True).wait_for()
    text = page.inner_text("body")
    final = result(sweep, name)["final"]
    for metric, value in (("test_accuracy", final["test"]), ("sparsity", final["sparsity"])):
        assert re.search(rf"final_{metric}\s+{re.escape(str(value))}\s", text)
    assert re.search(r"\sschedule\s+clr\s", text)
    assert re.search(r"\sbudget\.cycles\s+3\s", text)
    assert "_target_" not in text


def test_six_runs_side_by_side(page: Any, pages: str, ids: dict[str, str], sweep: Path) -> None:
    six = ",".join(f"%22{ids[name]}%22" for name in NAMES)
    page.goto(f"{pages.partition('#')[0]}#/compare-runs?runs=[{six}]&experiments=[%221%22]&{PAGES}")
    page.get_by_text("Comparing 6 Runs from 1 Experiment").wait_for()
    page.locator(".parcoords .axis-title").first.wait_for()
    axes = page.locator(".parcoords .axis-title").all_text_contents()
    assert {"budget.cycles", "schedule", "test_accuracy"} <= {*axes}  # the figure opens on what was swept
    text = page.inner_text("body")
    shown = text[text.index("Run Name:") : text.index("Start Time:")].split("\n")[1:]
    assert [line.strip() for line in shown if line.strip()] == NAMES
    table = {line.split("\t")[0]: line.split("\t")[1:] for line in text.split("\n")}
    assert table["schedule"] == [name.split()[0] for name in NAMES]
    assert table["budget.cycles"] == ["1", "2", "3"] * 2
    lines = text[text.index("\nepoch\n") + 1 :].split("\n")  # the names of the metrics, then six values of each
    names = list(takewhile(lambda line: not line[0].isdigit(), lines))
    values = lines[len(names) + 6 * names.index("final_test_accuracy") :][:6]
    tests = [result(sweep, name)["final"]["test"] for name in NAMES]
    assert [float(value) for value in values] == pytest.approx(tests, abs=5e-4)  # three digits are shown


def test_cells_stand_between_a_sweep_and_its_runs(page: Any, pages: str, sweep: Path, tmp_path: Path) -> None:
    runs = [
        ({"schedule": name, "seed": seed}, {"test": test})
        for name, tests in (("ft", (0.5, 0.75)), ("allr", (0.625, 0.875)))
        for seed, test in enumerate(tests)
    ]
    mirror = Mirror(uri=f"sqlite:///{sweep.parents[1]}/mlflow.db", experiment="cells")
    folder = make_sweep(tmp_path / "seeds", runs)
    for facts in folder.glob("*/run.json"):
        mirror.sync(facts.parent)
    mirror.sync_sweep(folder, over=True)
    experiment = f"{pages.rpartition('/')[0]}/{mirror.mlflow.connect()[1]}/runs"
    page.goto(f"{experiment}?{PAGES}")
    for name in ("seeds", "schedule=ft", "schedule=ft seed=0"):
        row = page.locator('[role="row"]').filter(has=page.get_by_role("link", name=name, exact=True))
        row.first.wait_for()
        if (plus := row.locator('button[data-component-id*="runnamecellrenderer"]')).count():
            plus.first.click()
    page.goto(f"{experiment}?{PAGES}&searchFilter=tags.bimp.kind%20%3D%20'cell'")
    page.get_by_role("link", name="schedule=allr", exact=True).click()
    page.get_by_text("final_test_accuracy_mean", exact=True).wait_for()
    assert re.search(r"final_test_accuracy_mean\s+0\.75\s", page.inner_text("body"))
    for seed in (0, 1):
        page.get_by_role("link", name=f"schedule=allr seed={seed}").wait_for()
