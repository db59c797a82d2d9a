"""The files of a run, also where two processes write at once for a while."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bimp_exp.results.writer import RunWriter
from bimp_exp.tracking.mlflow import NoTracking
from tests import toy_runs


class TwoHolders(RunWriter):
    """Every line is appended a second time, as by another process that holds the folder, too."""

    def append(self, point: Mapping[str, Any]) -> None:
        super().append(point)
        super().append(point)


def lines(folder: Path, kind: type[RunWriter]) -> list[dict[str, Any]]:
    toy_runs.run(toy_runs.experiment("imp"), writer=kind(folder=folder, tracking=NoTracking()))
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_finished_run_has_each_line_once(tmp_path: Path) -> None:
    alone, together = lines(tmp_path / "alone", RunWriter), lines(tmp_path / "together", TwoHolders)
    for found in (alone, together):
        for line in found:
            line.pop("images_per_second", None)
    assert together == alone
