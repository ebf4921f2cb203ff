"""Intervals against SciPy's tests and closed forms."""

import numpy as np
import pytest
from scipy import stats

from uncollapse.records import Interval
from uncollapse.statistics import (
    difference,
    mean_difference,
    mean_interval,
    t_quantile,
    wilson_interval,
)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_students_interval(rng, confidence):
    values = rng.standard_normal(7)
    expected = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    found = mean_interval(values.tolist(), confidence)
    assert found.estimate == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert t_quantile(6, confidence) == pytest.approx(stats.t.ppf((1 + confidence) / 2, 6))
    assert mean_interval([0.3]) == Interval(0.3, None, None)


@pytest.mark.parametrize(("hits", "count"), [(0, 5), (3, 10), (40, 40)])
def test_wilsons_interval(hits, count):
    expected = stats.binomtest(hits, count).proportion_ci(0.9, "wilson")
    found = wilson_interval(hits / count, count, 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_difference_of_normal_means_is_the_usual_one():
    first, second = Interval(1.0, 0.7, 1.3), Interval(2.0, 1.6, 2.4)
    found = difference(first, second)
    assert found.estimate == 1
    assert found.half_width == pytest.approx(0.5)
    back = difference(second, first)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    assert difference(first, Interval(2.0)) == Interval(1.0, None, None)


def test_the_difference_of_proportions_covers(rng):
    p, q, n, held = 0.9, 0.6, 30, 0
    for a, b in zip(rng.binomial(n, p, 1000) / n, rng.binomial(n, q, 1000) / n, strict=True):
        found = difference(wilson_interval(a, n), wilson_interval(b, n))
        held += found.low <= q - p <= found.high
    assert 925 <= held <= 985


def ends(interval):
    return pytest.approx((interval.low, interval.high))


def test_welchs_interval_and_that_of_pairs(rng):
    a, b = rng.standard_normal(5), 3 * rng.standard_normal(4)
    found = mean_difference([a.tolist()], [b.tolist()], 0.9)
    assert found.estimate == pytest.approx(b.mean() - a.mean())
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.9)
    assert (found.low, found.high) == ends(expected)
    found = mean_difference([a[:4].tolist()], [b.tolist()], same_runs=True)
    assert (found.low, found.high) == ends(stats.ttest_rel(b, a[:4]).confidence_interval())


def test_an_earlier_round_lends_its_spread_and_not_its_mean(rng):
    before, after = rng.standard_normal((2, 2, 3))
    found = mean_difference(before.tolist(), (after + np.array([[100], [0]])).tolist())
    v = [side.var(axis=1, ddof=1).mean() / 3 for side in (before, after)]
    half = stats.t.ppf(0.975, sum(v) ** 2 / (v[0] ** 2 / 4 + v[1] ** 2 / 4)) * sum(v) ** 0.5
    assert found.estimate == pytest.approx(after[1].mean() - before[1].mean())
    assert found.half_width == pytest.approx(half)
    # Only an earlier round has a spread; none has; nothing varies.
    assert mean_difference([[1.0, 2.0], [1.0]], [[1.0, 2.0], [3.0]]).half_width > 0
    assert mean_difference([[1.0]], [[3.0]]) == Interval(2.0)
    assert mean_difference([[1.0, 1.0]], [[3.0, 3.0]]) == Interval(2.0, 2.0, 2.0)


def test_a_difference_covers_also_where_an_earlier_round_chose_it(rng):
    """The best of 13 by one value each: that one is far out, and makes the interval rather long."""
    missed = 0
    for _ in range(4000):
        first = rng.standard_normal((13, 3))
        rounds = [first[first[:, 0].argmax()].tolist(), rng.standard_normal(3).tolist()]
        missed += mean_difference(rng.standard_normal((2, 3)).tolist(), rounds).low > 0
    assert 0.005 <= missed / 4000 <= 0.025


@pytest.fixture
def rng():
    return np.random.default_rng(20261129)
