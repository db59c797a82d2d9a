"""What plan=true says of a run, on one line and as a table: nothing that the run will not do."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bimp_exp.cli.plan_table import show
from bimp_exp.run import plan
from bimp_exp.run.plan_text import OPEN, one_line
from bimp_exp.sweep import cells as sweep
from tests.conftest import composed

CYCLES = "15 dense, 3 x 5 retraining with CLR from 0.1, sparsity 53.58 78.46 90 %; 30 of 30 epochs, 330 steps"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["schedule=clr"], CYCLES),
        (
            ["schedule=clr", "dense_checkpoint=any.pt"],
            "dense from a file, 3 x 5 retraining with CLR from 0.1, sparsity 53.58 78.46 90 %; "
            "15 of 30 epochs (15 unused), 165 steps",
        ),
        (["method=gmp"], "30 training, sparsity 90 %; 30 of 30 epochs, 330 steps"),
        (
            ["method=gsm", "budget.finetune_epochs=3"],
            "30 training, 3 finetune with FT from 0.000303, sparsity 90 %; 33 of 30 epochs (3 on top), 363 steps",
        ),
        *(
            ([f"method={method}"], "30 training, sparsity open: the method's own keys decide it; 30 of 30 epochs, 330 steps")
            for method in ("str", "cs", "dst")
        ),
        (["method=dense", "budget=dense"], "30 dense; 30 of 30 epochs, 330 steps"),
    ],
)  # fmt: skip
def test_the_line_of_a_plan_names_what_is_done(overrides: list[str], line: str) -> None:
    """A budget of 30 epochs of 11 steps; 1 - 0.1^(1/3) is 53.58 %."""
    assert one_line(plan.from_config(composed(*overrides))) == line


@pytest.mark.parametrize(
    ("method", "name", "cells", "told"),
    [
        ("imp", "digits resnet20 bimp allr sparsity=0.9 seed=0", ["cycle 3", "53.58 %", "90.00 %"], False),
        ("gmp", "digits resnet20 gmp sparsity=0.9 seed=0", ["finetune", "90.00 %"], False),
        ("str", "digits resnet20 str seed=0", ["finetune", "open"], True),
    ],
)
def test_a_run_is_named_by_what_it_follows(method: str, name: str, cells: list[str], told: bool) -> None:
    """STR aims at no sparsity, and what prunes while it trains has no retraining schedule."""
    config = composed(f"method={method}")
    choices = {"dataset": "digits", "model": "resnet20", "method": method, "budget": "bimp", "schedule": "allr"}
    assert sweep.identity(choices, config)["name"] == name
    console = Console(file=io.StringIO(), width=120)
    show(plan.from_config(config), name, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    (last,) = [line for line in text.splitlines() if cells[0] in line]
    assert [cell for cell in cells if cell in last] == cells
    assert ("%" in last) == (method != "str")
    assert (OPEN in text) == told
