"""Keys and values are checked against type hints read from the source."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from bimp_exp import config
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
        ("Positive", [1, 0.1], [0, float("inf"), True], "a number greater than 0"),
        ("bool", [True, False], [1, "yes"], "true or false"),
        ("Literal['all', 'prunable']", ["all"], ["none"], "one of all, prunable"),
        ("list[Share]", [[], [0.5, 1]], [[2], 0.5], r"a list, each entry a number in \[0, 1\]"),
        ("str | None", [None, "a"], [3], "text or null"),
    ],
)
def test_values(hint: str, good: list[Any], bad: list[Any], legal: str) -> None:
    for value in good:
        config._check_value("some.key", value, hint)
    for value in bad:
        with pytest.raises(ConfigError, match=rf"^some\.key=.* must be {legal}$"):
            config._check_value("some.key", value, hint)


def test_parameters_are_read_with_those_of_the_base_class() -> None:
    assert config.parameters("bimp_exp.budget.BIMP") == {
        "epochs": "Count", "finetune_epochs": "NonNegative", "dense_epochs": "Count", "retrain_epochs": "Count | None",
        "cycles": "Count",
    }  # fmt: skip
    assert config.parameters("bimp_exp.schedule.llr.LLR") == {"warmup": "Share"}  # from another file
    assert config.parameters("bimp_exp.tracking.MLflow") == {"uri": "str", "experiment": "str"}  # of __init__
    assert config.constant("bimp_exp.method.imp.IMP", "prunes") == "between phases"
    assert config.constant("bimp_exp.method.dense.Dense", "prunes") == "never"  # inherited


@pytest.mark.parametrize("target", ["bimp_exp.budget.Nothing", "bimp_exp.nowhere.X", "nonsense"])
def test_an_unknown_target_is_named(target: str) -> None:
    with pytest.raises(ConfigError, match="_target_"):
        config.parameters(target)


def test_checking_and_planning_import_no_pytorch() -> None:
    """Else a typing mistake would take seconds to answer."""
    code = (
        "import sys; sys.argv = ['run.py', 'plan=true', 'hydra.run.dir=.']; import runpy; "
        "runpy.run_path('run.py', run_name='__main__'); heavy = {'torch', 'mlflow', 'pandas', 'sklearn', 'matplotlib'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "30 of 30 epochs" in done.stdout
