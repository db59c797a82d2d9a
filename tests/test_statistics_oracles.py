"""The statistics against statsmodels and mpmath, on values that the golden cases do not have."""

from __future__ import annotations

from math import gamma, inf, pi, sqrt

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower, TTestPower
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_paired

from bimp_exp.report import statistics
from bimp_exp.report.power import Design, detectable, half_width, power, required_n

scores = st.lists(st.integers(8000, 10000).map(lambda x: x / 100), min_size=2, max_size=10).filter(
    lambda values: len(set(values)) > 1
)
ps = st.lists(st.floats(0, 1), min_size=1, max_size=12)
few = settings(max_examples=40, deadline=None)


def by_seed(values: list[float]) -> dict[int, float]:
    return dict(enumerate(values))


@few
@given(a=scores, b=scores, level=st.sampled_from([0.8, 0.95, 0.99]))
def test_differences_are_those_of_statsmodels(a: list[float], b: list[float], level: float) -> None:
    welch = statistics.welch_difference(a, b, level)
    peer = CompareMeans(DescrStatsW(a), DescrStatsW(b))
    t, p, df = peer.ttest_ind(usevar="unequal")
    assert (welch.t, welch.p, welch.df) == pytest.approx((t, p, df), abs=1e-8)
    assert (welch.low, welch.high) == pytest.approx(peer.tconfint_diff(1 - level, usevar="unequal"), abs=1e-8)

    alone = statistics.t_interval(a, level)
    assert (alone.low, alone.high) == pytest.approx(DescrStatsW(a).tconfint_mean(1 - level), abs=1e-8)

    apart = [x - y for x, y in zip(a, b, strict=False)]
    if len(set(np.round(apart, 6))) > 1:
        paired, one = statistics.paired_difference(by_seed(a), by_seed(b), level), DescrStatsW(apart)
        assert (paired.t, paired.p) == pytest.approx(one.ttest_mean(0)[:2], abs=1e-8)
        assert (paired.low, paired.high) == pytest.approx(one.tconfint_mean(1 - level), abs=1e-8)


@few
@given(a=scores, b=scores, margin=st.floats(0.1, 5))
def test_equivalence_is_that_of_statsmodels(a: list[float], b: list[float], margin: float) -> None:
    common = min(len(a), len(b))
    x, y = np.array(a[:common]), np.array(b[:common])
    if np.ptp(x - y) < 1e-6:
        return
    p, (_, lower, _), (_, upper, _) = ttost_paired(x, y, -margin, margin)
    found = statistics.tost_paired(by_seed(a), by_seed(b), margin)
    assert (found.p, found.p_lower, found.p_upper) == pytest.approx((p, lower, upper), abs=1e-8)


@few
@given(p=ps)
def test_adjusted_p_are_those_of_statsmodels(p: list[float]) -> None:
    assert statistics.holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert statistics.benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])


@pytest.mark.parametrize("df", [1.0, 2.5, 9.0, 300.0])
@pytest.mark.parametrize("t", [-3.0, 0.0, 0.5, 12.7, 40.0])
def test_tails_are_incomplete_betas(t: float, df: float) -> None:
    """P(|T| > t) = I(df / (df + t^2); df / 2, 1/2): also where it is tiny."""
    both = mpmath.betainc(df / 2, 0.5, 0, df / (df + t**2), regularized=True)
    assert statistics.t_above(t, df) == pytest.approx(float(both / 2 if t >= 0 else 1 - both / 2), rel=1e-9, abs=0)


@pytest.mark.parametrize("design", ["paired", "independent"])
@pytest.mark.parametrize("effect", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("n", [2, 3, 10, 60])
def test_power_is_an_integral(effect: float, n: int, design: Design) -> None:
    """T is (Z + centre) / (chi / sqrt(df)): over the density of chi, the normal probability that |T| is beyond the limit."""
    df, centre = (n - 1, effect * sqrt(n)) if design == "paired" else (2 * n - 2, effect * sqrt(n / 2))
    limit = statistics.t_quantile(0.975, df)
    scale = 2 ** (1 - df / 2) / gamma(df / 2)

    def integrand(s: mpmath.mpf) -> mpmath.mpf:
        beyond = mpmath.ncdf(centre - limit * s / sqrt(df)) + mpmath.ncdf(-centre - limit * s / sqrt(df))
        return scale * s ** (df - 1) * mpmath.exp(-(s**2) / 2) * beyond

    middle = sqrt(df)
    exact = mpmath.quad(integrand, [0, middle / 2, middle, middle + 4, middle + 12])
    assert power(effect, 1.0, n, design) == pytest.approx(float(exact), abs=1e-7)
    peer = TTestPower() if design == "paired" else TTestIndPower()
    assert power(effect, 1.0, n, design) == pytest.approx(peer.power(effect, n, 0.05), abs=1e-6, nan_ok=False)


@few
@given(difference=st.floats(0.05, 20), sd=st.floats(0.5, 2), design=st.sampled_from(["paired", "independent"]))
def test_required_n_is_the_fewest(difference: float, sd: float, design: Design) -> None:
    n, reached = required_n(difference, sd, 0.8, design)
    assert n >= 2
    assert reached == power(difference, sd, n, design)
    assert reached >= 0.8
    if n > 2:
        assert power(difference, sd, n - 1, design) < 0.8
    assert detectable(sd, n, 0.8, design) <= difference * (1 + 1e-6), (
        "what n values tell is not more than what was asked"
    )


@pytest.mark.parametrize(("difference", "least"), [(10, 0.73), (20, 0.97), (1000, 1.0)])
def test_a_difference_of_many_deviations_has_a_power(difference: float, least: float) -> None:
    """There the library's lower tail is NaN."""
    assert least <= power(difference, 1, 2, "paired") <= 1
    assert power(difference, 1, 50, "independent") == 1
    assert required_n(10, 1)[0] == 3


def test_half_widths_are_the_quantiles_of_tables() -> None:
    """t(0.975; 4) = 2.776, t(0.975; 8) = 2.306."""
    assert half_width(1, 5, "paired") == pytest.approx(2.776445 / sqrt(5))
    assert half_width(1, 5, "independent") == pytest.approx(2.306004 * sqrt(2 / 5))
    assert statistics.t_quantile(0.75, 1) == pytest.approx(1), "Cauchy's upper quartile"
    assert statistics.t_above(1, 1) == pytest.approx(0.5 - np.arctan(1) / pi)
    assert statistics.t_test(1, 0, 3) == (inf, 0)
