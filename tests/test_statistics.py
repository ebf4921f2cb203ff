"""Intervals against SciPy's tests and closed forms."""

import numpy as np
import pytest
from scipy import stats

from uncollapse.records import Interval
from uncollapse.statistics import difference, mean_interval, t_quantile, wilson_interval


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


@pytest.fixture
def rng():
    return np.random.default_rng(20261129)
