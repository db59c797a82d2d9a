"""The examples in docstrings give the values that they show, and no schedule goes without one."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "bimp_exp"
FILES = [PACKAGE / "lr.py", PACKAGE / "budget.py", PACKAGE / "text.py", *sorted((PACKAGE / "schedule").glob("*.py"))]
FILES += [path for path in [PACKAGE / "pruning" / "report.py"] if path.exists()]
SCHEDULES = [
    path for path in FILES if path.parent.name == "schedule" and path.stem not in ("__init__", "base", "_rates")
]


def named(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def examples(path: Path) -> dict[str, doctest.DocTest]:
    """Name in the module ("" for its docstring) -> the docstring that has examples."""
    module = importlib.import_module(named(path))
    found = doctest.DocTestFinder(exclude_empty=True).find(module)
    return {test.name.removeprefix(named(path)).removeprefix("."): test for test in found if test.examples}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_examples_give_the_values_that_they_show(path: Path) -> None:
    for test in examples(path).values():
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0, test.name


@pytest.mark.parametrize("path", SCHEDULES, ids=named)
def test_every_schedule_has_an_example(path: Path) -> None:
    assert examples(path)


@pytest.mark.parametrize("path", [PACKAGE / "lr.py", PACKAGE / "schedule" / "_rates.py"], ids=named)
def test_every_function_of_learning_rates_has_an_example(path: Path) -> None:
    """So has every class but the base of the original schedules, which gives no rates."""
    public = {
        node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    assert public - {"Original"} <= examples(path).keys()
