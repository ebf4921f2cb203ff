"""Dunnett's intervals against an independent integral, and their coverage."""

import numpy as np
import pytest
from scipy import stats

from uncollapse.pilot._gains import MOST_SEEDS, against_start, dunnett_quantile, seeds_needed


@pytest.mark.parametrize(("k", "freedom"), [(2, 6), (4, 10), (7, 16)])
def test_critical_value_is_that_of_the_multivariate_t(k, freedom):
    q = dunnett_quantile(k, freedom)
    shape = 0.5 * (np.eye(k) + np.ones((k, k)))
    law = stats.multivariate_t(shape=shape, df=freedom, seed=0)
    inside = law.cdf(np.full(k, q), lower_limit=np.full(k, -q), maxpts=200_000)
    assert inside == pytest.approx(0.95, abs=1e-3)


def test_several_candidates_have_the_intervals_that_scipy_gives_them(rng):
    start, *candidates = rng.standard_normal((4, 3))
    expected = stats.dunnett(*candidates, control=start, random_state=0).confidence_interval()
    found = against_start(start, candidates)
    assert [i.low for i in found] == pytest.approx(expected.low, abs=0.01)
    assert [i.high for i in found] == pytest.approx(expected.high, abs=0.01)
    (one,) = against_start(start, candidates[:1])
    alone = stats.ttest_ind(candidates[0], start).confidence_interval()
    assert (one.low, one.high) == pytest.approx((alone.low, alone.high))


def test_all_intervals_hold_together(rng):
    """The family of four is covered 95 times in a hundred, and more where seeds shift all alike."""
    truth = np.array([0.0, 0.1, 0.0, -0.2])
    covered = np.zeros(2)
    for _ in range(1000):
        noise = 0.05 * rng.standard_normal((5, 3))
        for k, shift in enumerate((0, 0.05 * rng.standard_normal(3))):
            found = against_start(shift + noise[0], truth[:, None] + shift + noise[1:])
            covered[k] += all(i.low <= t <= i.high for i, t in zip(found, truth, strict=True))
    assert 930 <= covered[0] <= 970
    assert covered[1] > covered[0]


def test_seeds_needed_make_the_interval_shorter_than_the_room():
    needed = seeds_needed(0.1, 3, 0.04)
    per_seed = 0.1 * np.sqrt(3) / stats.t.ppf(0.975, 4)
    half = {n: stats.t.ppf(0.975, 2 * n - 2) * per_seed / np.sqrt(n) for n in (needed - 1, needed)}
    assert half[needed] < 0.04 <= half[needed - 1]
    assert seeds_needed(0.1, 3, 0.2) == 4
    assert seeds_needed(0.1, 3, 1e-4) == MOST_SEEDS + 1
