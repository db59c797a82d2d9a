"""bimp_exp as a library: the public names, and what importing them costs."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import bimp_exp
from bimp_exp.run import code
from tests.conftest import ROOT

HEAVY = "torch hydra omegaconf mlflow pandas matplotlib sklearn"


def loaded_by(statement: str) -> set[str]:
    """Which of HEAVY a fresh process has imported after ``statement``."""
    program = f"{statement}\nimport sys; print(*(set({HEAVY.split()}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import bimp_exp", "from bimp_exp import ALLR, CLR, PruneReport", "import bimp_exp.lr"]
)
def test_the_learning_rates_need_neither_pytorch_nor_hydra(statement: str) -> None:
    assert loaded_by(statement) == set()


def test_the_rest_needs_pytorch_alone() -> None:
    assert loaded_by(f"from bimp_exp import {', '.join(bimp_exp.PUBLIC)}") == {"torch"}


@pytest.mark.parametrize(
    "module",
    ["config.check", "config.neutral", "budget", "lr", *(m for m in bimp_exp.PUBLIC.values() if "schedule" in m)],
)
def test_what_plans_a_run_does_not_import_pytorch(module: str) -> None:
    assert not loaded_by(f"import bimp_exp.{module}") & {"torch", "mlflow"}


def test_every_public_name_is_what_its_module_defines() -> None:
    for name, module in bimp_exp.PUBLIC.items():
        assert getattr(bimp_exp, name) is getattr(importlib.import_module(f"bimp_exp.{module}"), name)
    assert set(bimp_exp.PUBLIC) <= set(dir(bimp_exp))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        bimp_exp.nonsense  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    (checked,) = (n for n in ast.parse(Path(bimp_exp.__file__).read_text()).body if isinstance(n, ast.If))
    told = {alias.asname: f"bimp_exp.{bimp_exp.PUBLIC[alias.name]}" for node in checked.body for alias in node.names}  # type: ignore[attr-defined]
    assert told == {alias.asname: node.module for node in checked.body for alias in node.names}  # type: ignore[attr-defined]
    assert told.keys() == bimp_exp.PUBLIC.keys()


def test_a_users_module_reaches_what_a_public_name_stands_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an edit to it would leave results of the user's class in the store."""
    (tmp_path / "mine_of_test.py").write_text("from bimp_exp import ALLR\n\nclass Mine(ALLR): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert {"bimp_exp.schedule.allr", "bimp_exp.schedule.base"} <= code.reached(["mine_of_test.Mine"]).ours.keys()
    assert not code.reached(["bimp_exp.schedule.clr.CLR"]).ours.keys() & {"bimp_exp.schedule.allr"}


def test_the_program_in_the_guide_scales_the_rates_by_what_was_pruned() -> None:
    import torch

    page = (ROOT / "docs" / "guide.md").read_text().partition("## In a program of your own")[2]
    model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 10))
    given = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=1.0)}
    exec(page.partition("```python")[2].partition("```")[0], given)
    report, scheduler = given["report"], given["scheduler"]
    assert report.fraction == pytest.approx(0.9)
    rates = []
    for _ in range(100):
        rates.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    assert max(rates) == pytest.approx(0.1 * max(report.d1("all"), 10 / 90))
    assert rates[0] == 0.0
    assert rates.index(max(rates)) == 10  # a tenth is warm-up
