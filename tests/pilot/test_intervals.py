"""Dunnett's intervals against an independent integral, and their coverage."""

import numpy as np
import pytest
from scipy import stats

from uncollapse.pilot._decide import against_start, dunnett_quantile, paired, seeds_needed


@pytest.mark.parametrize(("k", "freedom"), [(2, 4), (4, 8), (7, 14)])
def test_critical_value_is_that_of_the_multivariate_t(k, freedom):
    q = dunnett_quantile(k, freedom)
    shape = 0.5 * (np.eye(k) + np.ones((k, k)))
    law = stats.multivariate_t(shape=shape, df=freedom, seed=0)
    inside = law.cdf(np.full(k, q), lower_limit=np.full(k, -q), maxpts=200_000)
    assert inside == pytest.approx(0.95, abs=1e-3)


def test_one_candidate_is_the_paired_t_interval(rng):
    before, after = rng.standard_normal((2, 5))
    one, other = against_start(before, [after])[0], paired(before, after)
    expected = stats.ttest_rel(after, before).confidence_interval()
    for found in (one, other):
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_all_intervals_hold_together(rng):
    """Seeds shift all settings alike; the family of four is covered 95 times in a hundred."""
    truth = np.array([0.0, 0.1, 0.0, -0.2])
    covered = 0
    for _ in range(1000):
        blocks = rng.standard_normal(3)
        noise = 0.05 * rng.standard_normal((5, 3))
        found = against_start(blocks + noise[0], truth[:, None] + blocks + noise[1:])
        covered += all(i.low <= t <= i.high for i, t in zip(found, truth, strict=True))
    assert 930 <= covered <= 970


def test_seeds_needed_makes_the_interval_leave_zero_out():
    before, after = np.zeros(3), np.array([0.02, 0.05, -0.01])
    needed = seeds_needed(before, after)
    half = stats.t.ppf(0.975, needed - 1) * np.std(after, ddof=1) / np.sqrt(needed)
    assert half < 0.02
    assert needed > 3
    assert seeds_needed(before, np.array([0.1, -0.1, 0.0])) is None
