"""Verdicts: how often they are wrong where the truth is known, and the paper's tables against themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimp_exp.paper.verdict import Compared, judge, margin, speedup
from bimp_exp.report.statistics import t_quantile

CASES = json.loads((Path(__file__).parent / "golden" / "statistics.json").read_text())["cases"]
PUBLISHED = {
    case["inputs"]["table"]: case["inputs"]["cells"]
    for case in CASES
    if case["kind"] == "verdict" and case["inputs"]["table"] in ("4", "8", "12", "16")
}
Z = np.array([-1, -0.5, 0, 0.5, 1]) / np.std([-1, -0.5, 0, 0.5, 1], ddof=1)  # five values of mean 0 and deviation 1


def typed(table: str, shift: float) -> list[Compared]:
    """The printed cells, and ours with the printed mean and spread, ``shift`` points beside."""
    return [
        Compared(
            name=cell["id"],
            stratum=cell["stratum"],
            metric=cell["metric"],
            dense=cell["dense"],
            published_mean=cell["published_mean"],
            published_std=cell["published_std"],
            ours=list(cell["published_mean"] + shift + cell["published_std"] * Z),
            comparable=True,
        )
        for cell in PUBLISHED[table]
    ]


@pytest.mark.parametrize("table", PUBLISHED)
def test_published_tables_agree_with_themselves_and_not_with_others(table: str) -> None:
    """Reproduced where the 90 % interval fits into the margin, undecided elsewhere; three points beside contradicted."""
    cells = typed(table, 0.0)
    for cell, judged in zip(cells, judge(table, cells).values(), strict=True):
        assert judged.difference == pytest.approx(0, abs=1e-9)
        assert judged.se is not None
        assert judged.df is not None
        fits = t_quantile(0.95, judged.df) * judged.se < margin(cell)
        assert judged.verdict == ("reproduced" if fits else "within noise but imprecise"), cell.name
    for shift, expected in ((3.0, "contradicted higher"), (-3.0, "contradicted lower")):
        assert {judged.verdict for judged in judge(table, typed(table, shift)).values()} == {expected}


def test_how_much_of_the_published_tables_is_precise_enough() -> None:
    reproduced = {
        table: sum(judged.verdict == "reproduced" for judged in judge(table, typed(table, 0.0)).values())
        / len(PUBLISHED[table])
        for table in PUBLISHED
    }
    assert reproduced["8"] == 1
    assert reproduced["16"] == 1
    assert 0.5 < reproduced["4"] < 1, "deviations above 0.4 points leave no room for 0.5"
    assert 0.5 < reproduced["12"] < 1


def simulated(random: np.random.Generator, sigmas: np.ndarray, n: int, ratio: float) -> list[Compared]:
    """36 cells in four strata with equal truth: two printed seeds, n of ours; cells of a seed are correlated (0.3)."""

    def runs(count: int, sigma: np.ndarray) -> np.ndarray:
        common, own = random.normal(size=(1, count)), random.normal(size=(36, count))
        return 70 + sigma[:, None] * (np.sqrt(0.3) * common + np.sqrt(0.7) * own)

    printed, ours = runs(2, sigmas), runs(n, ratio * sigmas)
    means, stds = printed.mean(axis=1).round(2), printed.std(axis=1, ddof=1).round(2)
    return [
        Compared(
            name=str(i),
            stratum=str(i // 9),
            metric="accuracy",
            dense=75.0,
            published_mean=float(means[i]),
            published_std=float(stds[i]),
            ours=list(ours[i]),
            comparable=True,
        )
        for i in range(36)
    ]


def test_equal_truth_is_seldom_contradicted() -> None:
    """2,000 tables of either family; "within two printed deviations" would contradict a quarter of the cells."""
    random = np.random.default_rng(0)
    wrong, naive, cells = {"4": 0, "23": 0}, 0, {"4": 0, "23": 0}
    for number in range(2000):
        table = ("4", "23")[number % 2]
        scale = 0.2 * np.exp(random.normal(0, 0.8, 4))[np.arange(36) // 9]  # each stratum has its own
        heavy = np.sqrt(4 / random.chisquare(4, 36)) if table == "23" else np.ones(36)
        made = simulated(
            random, scale * heavy, n=int(random.integers(2, 11)), ratio=float(random.choice([0.5, 1, 1.5]))
        )
        verdicts = [judged.verdict for judged in judge(table, made).values()]
        wrong[table] += sum(verdict.startswith("contradicted") for verdict in verdicts)
        cells[table] += len(verdicts)
        naive += sum(abs(np.mean(c.ours or [0]) - c.published_mean) > 2 * c.published_std for c in made)
    assert all(wrong[table] / cells[table] < 0.02 for table in wrong), wrong
    assert naive / sum(cells.values()) > 0.2


@given(
    printed=st.floats(1, 50),
    std=st.floats(0, 2),
    share=st.sampled_from([0.8, 0.95, 1.0, 1.05, 1.2]),
)
def test_speed_ups_are_judged_by_a_range(printed: float, std: float, share: float) -> None:
    """Printed rounded down: 10 means 10 to 11, so 9 to 12.1 reproduces it, more with a spread."""
    mean, low, high, verdict = speedup(printed, std, [share * printed] * 2)
    assert mean == pytest.approx(share * printed)
    assert (low, high) == pytest.approx((0.9 * printed - 2 * std, 1.1 * printed + 1.1 + 2 * std))
    assert verdict == ("contradicted lower" if mean < low else "contradicted higher" if mean > high else "reproduced")
