"""The paper's sweeps at the smallest scale, run to their end, and everything that is made of them."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from bimp_exp.cli import paper_blocks
from tests.test_paper_run import do

ALL = sorted(sweep for of in paper_blocks.sources().values() for sweep in of)
NAMES = dict.fromkeys(
    ALL if os.environ.get("BIMP_PAPER") == "all" else ["paper_t12", "paper_t23", "paper_f06", "paper_f11"]
)
"""One sweep of each kind; all of them, in an hour or two, with BIMP_PAPER=all."""
LINE = ["+scale=ci", "seed=0", "tracking=none", "hydra.launcher.jobs=2"]


@pytest.mark.system
def test_from_the_sweeps_to_tables_figures_claims_and_coverage(tmp_path: Path) -> None:
    for sweep in NAMES:
        do(tmp_path, "run", f"+sweeps={sweep}", *LINE)
    do(tmp_path, "paper", "all")
    made = tmp_path / "results/paper"
    for name, sweeps in paper_blocks.sources().items():
        run = any(sweep in NAMES for sweep in sweeps)
        wanted = [f"{name}.{end}" for end in ("csv", "html", "md", "png", "tex")] if name[0] == "t" else [f"{name}.png"]
        assert all((made / file).exists() for file in wanted) == (run or name[0] == "t")
        if name[0] == "t":
            verdicts = set(pd.read_csv(made / f"{name}.csv")["verdict"].dropna())
            assert verdicts <= {"not run", "not comparable"}
            assert ("not comparable" in verdicts) == run
    assert (made / "f01.png").exists()
    assert "| all tables |" in (made / "coverage.md").read_text()
    assert "At another scale" in (made / "claims.md").read_text()
