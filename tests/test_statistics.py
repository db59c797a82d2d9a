"""The statistics of reports and verdicts against golden cases (tests/golden/statistics.json), each computed twice elsewhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bimp_exp.paper.claim_tests import best_or_second, claim_difference
from bimp_exp.paper.envelope import deviation, envelope
from bimp_exp.paper.selection import Candidate, select
from bimp_exp.paper.verdict import Compared, judge, speedup
from bimp_exp.report import power, statistics

GOLDEN = json.loads((Path(__file__).parent / "golden" / "statistics.json").read_text())


def seeds(values: Mapping[str, float]) -> dict[int, float]:
    return {int(seed): value for seed, value in values.items()}


def columns(values: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    return {column: seeds(of) for column, of in values.items()}


def t_interval(values: list[float], level: float) -> Any:
    return vars(statistics.t_interval(values, level))


def bootstrap_exact(values: list[float], level: float) -> Any:
    return dict(zip(("low", "high", "resamples"), statistics.bootstrap(values, level), strict=True))


def paired_difference(a: Any, b: Any, level: float) -> Any:
    return vars(statistics.paired_difference(seeds(a), seeds(b), level))


def welch_difference(x: list[float], y: list[float], level: float) -> Any:
    return vars(statistics.welch_difference(x, y, level))


def adjusted_p(p: list[float], method: str) -> Any:
    return {"adjusted": {"holm": statistics.holm, "bh": statistics.benjamini_hochberg}[method](p)}


def tost_paired(a: Any, b: Any, margin: float) -> Any:
    return vars(statistics.tost_paired(seeds(a), seeds(b), margin))


def required_n(difference: float, sd: float, power: float, design: Any) -> Any:
    return dict(zip(("n", "power_at_n"), globals()["power"].required_n(difference, sd, power, design), strict=True))


def half_width(sd: float, n: int, design: Any) -> Any:
    return {"half_width": power.half_width(sd, n, design)}


def ties(column: Any) -> Any:
    return vars(statistics.ties(columns(column)))


def verdict(table: str, cells: list[dict[str, Any]]) -> Any:
    made = judge(table, [Compared(name=cell.pop("id"), **cell) for cell in cells])
    counts: dict[str, int] = {}
    for judged in made.values():
        counts[judged.verdict] = counts.get(judged.verdict, 0) + 1
    return {"cells": {name: vars(judged) for name, judged in made.items()}, "counts": counts}


def selection(seeds: list[int], candidates: list[dict[str, Any]]) -> Any:
    by_seed = globals()["seeds"]
    made = select(
        [
            Candidate(setting=c["setting"], validation=by_seed(c["validation"]), test=by_seed(c["test"]))
            for c in candidates
        ],
        seeds,
    )
    assert made is not None
    best = dict(zip(("setting", "test_mean"), made.best_on_test, strict=True))
    return {**vars(made), "info_only_best_on_test": best}


def envelope_of(runs: list[dict[str, Any]], seeds: list[int], baseline: Any, margin: float) -> Any:
    totals: dict[float, list[Candidate]] = {}
    for run in runs:
        validation, test = (globals()["seeds"](run.pop(split)) for split in ("validation", "test"))
        totals.setdefault(run["cycles"] * run["retrain_epochs"], []).append(
            Candidate(setting=run, validation=validation, test=test)
        )
    made = envelope(totals, seeds, globals()["seeds"](baseline), margin)
    return {**vars(made), "points": [vars(point) for point in made.points]}


def deviation_of(lines: Any, full: int) -> Any:
    made = deviation({int(length): seeds(values) for length, values in lines.items()}, full)
    return {"points": {str(length): vars(point) for length, point in made.items()}}


def claim_difference_of(a: Any, b: Any, direction: Any, margin: float) -> Any:
    tested, per_seed, agreeing = claim_difference(columns(a), columns(b), direction, margin)
    return {**vars(tested), "per_seed": per_seed, "columns_not_below": agreeing, "columns": len(a.keys() & b.keys())}


def best_or_second_of(row: str, table: Any) -> Any:
    return vars(best_or_second(row, {column: columns(rows) for column, rows in table.items()}))


def speedup_of(printed: float, printed_std: float, ours: list[float]) -> Any:
    return dict(zip(("mean", "low", "high", "verdict"), speedup(printed, printed_std, ours), strict=True))


KINDS = {
    "t_interval": t_interval,
    "bootstrap_exact": bootstrap_exact,
    "paired_difference": paired_difference,
    "welch_difference": welch_difference,
    "adjusted_p": adjusted_p,
    "tost_paired": tost_paired,
    "required_n": required_n,
    "half_width": half_width,
    "ties": ties,
    "verdict": verdict,
    "selection": selection,
    "envelope": envelope_of,
    "deviation": deviation_of,
    "claim_difference": claim_difference_of,
    "best_or_second": best_or_second_of,
    "speedup": speedup_of,
}


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["id"])
def test_golden(case: dict[str, Any]) -> None:
    inputs = json.loads(json.dumps(case["inputs"]))
    _same(KINDS[case["kind"]](**inputs), case["expected"], case["id"])


def _same(found: Any, expected: Any, place: str) -> None:
    """Every expected key, but those for information, within the tolerance of the file."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            if not key.startswith("info_only"):
                _same(found[key], value, f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for number, (a, b) in enumerate(zip(found, expected, strict=True)):
            _same(a, b, f"{place}[{number}]")
    elif isinstance(expected, float) and not isinstance(expected, bool):
        assert math.isclose(found, expected, rel_tol=0, abs_tol=GOLDEN["tolerance_abs"]), (place, found, expected)
    else:
        assert found == expected, (place, found, expected)
