"""The statistics against SciPy, published tables and hand-worked cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.libqsturng import qsturng
from statsmodels.stats.multitest import multipletests

from retlib.study import statistics
from tests.pages import functions_of

page = functions_of("one_protocol")


def interval(values: np.ndarray) -> tuple[float, float]:
    """Bootstrap (seeds, images) over images and seeds, as `retlib.study.results` does."""
    return statistics.percentile_interval(statistics.draw_seeds(statistics.resample_means(values)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),  # R: p.adjust(..., "holm")
        ([0.04, 0.01], [0.04, 0.02]),
        ([0.5, 0.6, 0.9], [1.0, 1.0, 1.0]),
        ([0.03, 0.001, 0.03], [0.06, 0.003, 0.06]),
        ([], []),
    ],
)
def test_holm_by_hand(given: list[float], expected: list[float]) -> None:
    assert statistics.holm(given) == pytest.approx(expected)


def test_holm_as_statsmodels_has_it() -> None:
    for seed in range(4):
        p = np.random.default_rng(seed).random(78) ** 3
        p[:5] = p[5]  # ties
        rejected, adjusted, _, _ = multipletests(p, alpha=0.05, method="holm")
        assert statistics.holm(p) == pytest.approx(adjusted)
        assert ((statistics.holm(p) <= 0.05) == rejected).all()


def test_holm_rejects_as_the_step_down_rule_does() -> None:
    p = np.random.default_rng(1).random(30) ** 6
    order, rejected = np.argsort(p), np.zeros(30, bool)
    for k, index in enumerate(order):
        if p[index] > 0.05 / (30 - k):
            break
        rejected[index] = True
    assert rejected.any() and not rejected.all()
    assert ((statistics.holm(p) <= 0.05) == rejected).all()


def test_holm_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        statistics.holm([0.1, 1.2])


def test_signed_rank_is_scipys() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.random(20), rng.random(20)
    assert statistics.signed_rank(first, second) == pytest.approx(stats.wilcoxon(first, second).pvalue)
    assert statistics.signed_rank(first, second) == pytest.approx(statistics.signed_rank(second, first))
    assert statistics.signed_rank(first, first) == 1.0
    gap = np.array([*first, math.nan])
    assert statistics.signed_rank(gap, np.array([*second, 0.5])) == statistics.signed_rank(first, second)


def test_signed_rank_is_the_share_of_sign_patterns() -> None:
    """Exact, by hand: of all ways to give signs to eight differences, how many are as one-sided as the data."""
    change = np.array([0.9, -0.2, 1.4, 0.3, -0.5, 2.0, 1.1, 0.7])
    ranks = stats.rankdata(np.abs(change))
    sums = [ranks[np.array(signs)].sum() for signs in itertools.product([False, True], repeat=8)]
    smaller = min(ranks[change > 0].sum(), ranks[change < 0].sum())
    assert statistics.signed_rank(np.zeros(8), change) == pytest.approx(2 * np.mean(np.array(sums) <= smaller))


@pytest.mark.parametrize("images", [4, 8, 15, 20])
def test_the_smallest_p_is_reached_and_not_undercut(images: int) -> None:
    """Every image on one side, by different amounts: no paired sample of that size gives less."""
    extreme = statistics.signed_rank(np.zeros(images), np.arange(1, images + 1) / 100)
    assert extreme == pytest.approx(statistics.smallest_p(images))


def test_eight_images_cannot_pass_seventy_eight_comparisons() -> None:
    assert statistics.smallest_p(8) > 0.05 / 7 and statistics.smallest_p(8) <= 0.05 / 6
    assert statistics.smallest_p(20) <= 0.05 / 78
    values = {f"network {k}": np.arange(8) / 100 + k + np.arange(8) * k / 1000 for k in range(13)}
    tests = page.paired_tests(pd.DataFrame(values))  # 78 pairs, each as different as eight images can be
    assert len(tests) == 78 and tests["p"].max() == pytest.approx(statistics.smallest_p(8))
    assert not tests["significant"].any()


def test_paired_tests_of_all_pairs() -> None:
    rng = np.random.default_rng(3)
    base = rng.random(20)
    values = {"a": base, "b": base + 0.1 + rng.random(20) / 100, "c": base + rng.normal(size=20) / 1000}
    frame = page.paired_tests(pd.DataFrame(values)).set_index(["first", "second"])
    assert list(frame.index) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert (
        frame.loc[("a", "b"), "significant"]
        and frame.loc[("b", "c"), "significant"]
        and not frame.loc[("a", "c"), "significant"]
    )
    assert frame.loc[("a", "b"), "wins"] == 0 and frame.loc[("b", "c"), "wins"] == 1
    assert frame.loc[("a", "b"), "difference"] == pytest.approx((values["a"] - values["b"]).mean())
    assert list(frame["adjusted"]) == pytest.approx(statistics.holm(frame["p"]))
    (line,) = page.paired_tests(pd.DataFrame(values), [("c", "a")]).itertuples()  # a family of one: nothing to correct
    assert (line.first, line.second) == ("c", "a") and line.p == line.adjusted == frame.loc[("a", "c"), "p"]


def test_the_interval_over_images_is_the_percentile_bootstraps() -> None:
    values = np.random.default_rng(4).normal(0.8, 0.02, size=20)
    low, high = interval(values[None])
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9999, rng=0).confidence_interval
    width = expected.high - expected.low
    assert (low, high) == (
        pytest.approx(expected.low, abs=0.07 * width),
        pytest.approx(expected.high, abs=0.07 * width),
    )
    assert interval(values[None]) == (low, high)


def test_seeds_that_differ_widen_the_interval() -> None:
    values = np.random.default_rng(5).normal(0.8, 0.02, size=20)
    alike = interval(np.stack([values] * 3))
    assert alike == pytest.approx(interval(values[None]))
    apart = interval(np.stack([values - 0.05, values, values + 0.05]))
    assert apart[1] - apart[0] > 2 * (alike[1] - alike[0])
    means = statistics.draw_seeds(
        statistics.resample_means(np.stack([np.zeros(20), np.ones(20)]))
    )  # the seeds alone vary
    assert set(np.unique(means)) == {0.0, 0.5, 1.0} and means.mean() == pytest.approx(0.5, abs=0.03)


def test_the_two_level_interval_covers_as_often_as_it_says() -> None:
    """Over repeated draws of twenty images the interval holds the truth nearly as often as 95 % promises."""
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(200):
        low, high = interval(rng.normal(size=(1, 20)))
        held += low <= 0 <= high
    assert 0.87 <= held / 200 <= 0.98  # the percentile interval is known to fall a little short at n = 20


def test_undefined_values_are_left_out() -> None:
    values = np.array([[0.5, math.nan, 0.7]])
    assert 0.5 <= interval(values)[0] <= interval(values)[1] <= 0.7
    assert all(map(math.isnan, interval(np.full((2, 3), math.nan))))


def test_ranks_and_friedman() -> None:
    values = {"a": np.array([3.0, 2, 3, 1]), "b": np.array([2.0, 3, 2, 1]), "c": np.array([1.0, 1, 1, 1])}
    ranks = page.mean_ranks(pd.DataFrame(values))
    assert ranks.to_dict() == pytest.approx({"a": (1 + 2 + 1 + 2) / 4, "b": (2 + 1 + 2 + 2) / 4, "c": (3 * 3 + 2) / 4})
    assert ranks.sum() == pytest.approx(6)
    assert page.friedman(pd.DataFrame(values)) == pytest.approx(stats.friedmanchisquare(*values.values()).pvalue)
    assert math.isnan(page.friedman(pd.DataFrame(values)[["a", "b"]]))


@pytest.mark.parametrize(("names", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_difference_has_demsars_q(names: int, q: float) -> None:
    """Table 5a of Demsar (JMLR 2006), level 0.05."""
    expected = q * math.sqrt(names * (names + 1) / (6 * 20))
    assert page.critical_difference(names, 20) == pytest.approx(expected, rel=3e-4)


@pytest.mark.parametrize("names", [3, 7, 13])
def test_critical_difference_is_the_studentised_range(names: int) -> None:
    """As SciPy's distribution and statsmodels' table have it, and as the ranges of normal draws do."""
    q = page.critical_difference(names, 20) / math.sqrt(names * (names + 1) / (6 * 20))
    assert stats.studentized_range.cdf(q * math.sqrt(2), names, np.inf) == pytest.approx(0.95, abs=1e-6)
    assert q == pytest.approx(float(qsturng(0.95, names, np.inf)) / math.sqrt(2), rel=2e-3)
    ranges = np.ptp(np.random.default_rng(0).normal(size=(100_000, names)), axis=1)
    assert q == pytest.approx(np.quantile(ranges, 0.95) / math.sqrt(2), rel=0.01)


def test_friedman_by_its_formula() -> None:
    """Chi-square of the mean ranks' spread (Demsar 2006, section 3.2.2), without ties."""
    values = {f"network {k}": column for k, column in enumerate(np.random.default_rng(7).random((5, 20)))}
    ranks = page.mean_ranks(pd.DataFrame(values)).to_numpy()
    chi = 12 * 20 / (5 * 6) * (np.sum(ranks**2) - 5 * 6**2 / 4)
    assert page.friedman(pd.DataFrame(values)) == pytest.approx(stats.chi2.sf(chi, 4))


def test_cliques_join_what_lies_within_reach() -> None:
    assert page.cliques(np.array([1.0, 2.0, 2.5, 5.0, 5.5]), 1.6) == [(0, 2), (3, 4)]
    assert page.cliques(np.array([1.0, 2.0, 3.0]), 1.0) == [(0, 1), (1, 2)]
    assert page.cliques(np.array([1.0, 3.0]), 1.0) == []
