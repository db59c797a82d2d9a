"""Keys and values are checked against type hints read from the source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bimp_exp.config import check, signatures
from bimp_exp.errors import ConfigError
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("hint", "good", "bad", "legal"),
    [
        ("Count", [1, 200], [0, -1, 1.5, True, "abc", None], "a whole number of at least 1"),
        ("Count | None", [None, 3], [0], "a whole number of at least 1 or null"),
        ("Natural", [0, 7], [-1, 0.5], "a whole number of at least 0"),
        ("Sparsity", [0, 0.9], [1.0, -0.1, float("nan"), "x"], r"a number in \[0, 1\)"),
        ("Share", [0, 1, 0.5], [1.01], r"a number in \[0, 1\]"),
        ("Fraction", [0.2], [0, 1], r"a number in \(0, 1\)"),
        ("Positive", [1, 0.1], [0, 1e39, float("inf"), True], "a number greater than 0, at most 1e38"),
        ("bool", [True, False], [1, "yes"], "true or false"),
        ("Literal['all', 'prunable']", ["all"], ["none"], "one of all, prunable"),
        ("list[Share]", [[], [0.5, 1]], [[2], 0.5], r"a list, each entry a number in \[0, 1\]"),
        ("str | None", [None, "a"], [3], "text or null"),
    ],
)
def test_values(hint: str, good: list[Any], bad: list[Any], legal: str) -> None:
    for value in good:
        check._check_value("some.key", value, hint)
    for value in bad:
        with pytest.raises(ConfigError, match=rf"^some\.key=.* must be {legal}$"):
            check._check_value("some.key", value, hint)


def test_parameters_are_read_with_those_of_the_base_class() -> None:
    assert signatures.parameters("bimp_exp.budget.BIMP") == {
        "epochs": "Count", "finetune_epochs": "NonNegative", "dense_epochs": "Count", "retrain_epochs": "Count | None",
        "cycles": "Count",
    }  # fmt: skip
    assert signatures.parameters("bimp_exp.schedule.llr.LLR") == {"warmup": "Share"}  # from another file
    assert signatures.parameters("bimp_exp.tracking.mlflow.MLflow") == {
        "uri": "str",
        "experiment": "str",
    }  # of __init__
    assert signatures.constant("bimp_exp.method.imp.IMP", "prunes") == "between phases"
    assert signatures.constant("bimp_exp.method.dense.Dense", "prunes") == "never"  # inherited


@pytest.mark.parametrize("target", ["bimp_exp.budget.Nothing", "bimp_exp.nowhere.X", "nonsense"])
def test_an_unknown_target_is_named(target: str) -> None:
    with pytest.raises(ConfigError, match="_target_"):
        signatures.parameters(target)


@pytest.mark.parametrize(
    "line",
    [
        ["wrong=1"],
        ["sparsity=2"],
        ["schedule=clrr"],
        ["model.depht=8"],
        ["budget.cycles=40"],
        ["method=gmp", "schedule=clr"],
        ["dataset=digits", "dataset.subset=5000"],
        ["-m", "seed=0,1", "wrong=1"],
        ["-m", "seed=range(3,3)"],
        ["-m", "budget.cycles=1,40"],
    ],
)
def test_what_can_be_refused_without_pytorch_is(line: list[str], tmp_path: Path) -> None:
    """Else a typing mistake would take seconds to answer."""
    code = (
        "import runpy, sys; run, *sys.argv = sys.argv[1:]\n"
        "try: sys.argv.insert(0, run); runpy.run_path(run, run_name='__main__')\n"
        "except SystemExit as error: assert error.code == 2\n"
        "print({'torch', 'mlflow', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(ROOT / "run.py"), *line]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
    assert done.stderr.startswith("error: ")
