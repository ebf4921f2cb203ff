"""Intervals where few units tell little: right in nine of ten samples, or withheld.

The table of docs/measure.md: `python tests/metrics/test_hard_coverage.py` prints it.
"""

import sys
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
from embeddings import estimates, simplex, unit

from uncollapse.metrics._few import for_the_whole, shown, shown_class, units_of
from uncollapse.metrics.features import instance_features
from uncollapse.metrics.moments import ClassMoments
from uncollapse.metrics.variance import decompose

DIMENSION, SAMPLES = 16, 500
NAMES = ("within_class_variance", "between_class_variance", "total_variance", "share", "one class")


def centres(C, spread):
    at = np.zeros((C, DIMENSION))
    at[:, :C] = np.sqrt(1 - spread) * simplex(C)
    return at


def cloud(rng, C, n, spread):
    noise = np.sqrt(spread / DIMENSION) * rng.standard_normal((C, n, DIMENSION))
    return centres(C, spread)[:, None] + noise


def gaussian(rng, C, n):
    return cloud(rng, C, n, 0.3)


def heavy(rng, C, n):
    noise = gaussian(rng, C, n) - centres(C, 0.3)[:, None]
    return centres(C, 0.3)[:, None] + noise / np.sqrt(rng.chisquare(2, (C, n, 1)) / 2)


def noise_dimension(rng, C, n):
    z = gaussian(rng, C, n)
    z[:, :, -1] *= 10
    return z


def class_dimension(rng, C, n):
    z = gaussian(rng, C, n)
    z[:, :, 0] *= 10
    return z


def outliers(rng, C, n, spread=0.02):
    z, out = cloud(rng, C, n, spread), rng.random((C, n)) < 0.05
    z[out] = rng.standard_normal((out.sum(), DIMENSION))
    return z


def rare_kind(rng, C, n, shared=False):
    """One row in ten at cosine .6 to the others, in a direction of its class's own."""
    at, away = unit(centres(C, 0.002)), np.zeros((C, DIMENSION))
    away[np.arange(C), C if shared else C + np.arange(C)] = 0.8
    rare = rng.random((C, n, 1)) < 0.1
    z = np.where(rare, (0.6 * at + away)[:, None], at[:, None])
    return z + np.sqrt(0.002 / DIMENSION) * rng.standard_normal(z.shape)


def shared_rare_kind(rng, C, n):
    return rare_kind(rng, C, n, shared=True)


def moments(z):
    return [ClassMoments.of_units(instance_features(unit(x), None), len(x)) for x in z]


@dataclass
class Found:
    """Parts of the samples: not wrong where shown, withheld, judged collapsed."""

    right: dict[str, float] = field(default_factory=lambda: dict.fromkeys(NAMES, 1.0))
    withheld: dict[str, float] = field(default_factory=lambda: dict.fromkeys(NAMES, 0.0))
    collapsed: float = 0.0

    def count(self, name, estimate, truth, weight):
        if estimate.low is None:
            self.withheld[name] += weight
        elif not estimate.low <= truth <= estimate.high:
            self.right[name] -= weight


def simulate(draw, C, n, samples=SAMPLES):
    rng, found = np.random.default_rng(5), Found()
    truth = decompose(moments(draw(rng, C, 200_000)))
    for _ in range(samples):
        classes = moments(draw(rng, C, n))
        levels = decompose(classes)
        told = estimates(shown(levels, units_of(classes)))
        for name in NAMES[:-1]:
            found.count(name, told[name], estimates(truth)[name].estimate, 1 / samples)
        for level, true in zip(levels.per_class, truth.per_class, strict=True):
            one = shown_class(level, levels.variances.total_variance).within
            found.count("one class", one, true.within.estimate, 1 / samples / C)
        whole = for_the_whole(levels, units_of(classes), 0.95)
        found.collapsed += (whole.share.high < 0.01 and whole.enough_units) / samples
    return found


HARD = [(noise_dimension, 2, n) for n in (5, 100)]
HARD += [(class_dimension, 2, 5)]
HARD += [(outliers, 4, 10), (outliers, 2, 10)]
HARD += [(rare_kind, 2, n) for n in (5, 10, 20)]
# Not named when the rules were chosen.
COUSINS = [(shared_rare_kind, 2, 10), (outliers, 4, 20), (class_dimension, 2, 100)]
GOOD = [(gaussian, 4, 10), (gaussian, 4, 50), (heavy, 4, 10), (heavy, 4, 50)]


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "C", "n"), HARD + COUSINS)
def test_an_interval_is_right_or_withheld(draw, C, n):
    found = simulate(draw, C, n)
    # 90 %, less two standard deviations of 500 samples; of one class alone a little less.
    bounds = dict.fromkeys(NAMES, 0.873) | {"one class": 0.86}
    assert all(found.right[name] > bound for name, bound in bounds.items()), found
    assert found.collapsed < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("spread", "C"), [(0.05, 2), (0.1, 4), (0.3, 2)])
def test_outliers_around_any_spread_are_held_by_intervals_of_few_rows(spread, C):
    # Of 2 x 10 rows, a third of the samples holds no outlier: the jackknife alone is right in 63 %
    # for the whole and 56 % for one class at spread .1.
    found = simulate(partial(outliers, spread=spread), C, 10, 200)
    for name in ("within_class_variance", "between_class_variance", "share", "one class"):
        assert found.right[name] > 0.9, (name, found)


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "C", "n"), GOOD)
def test_nothing_is_withheld_where_intervals_are_good(draw, C, n):
    found = simulate(draw, C, n)
    assert not any(found.withheld.values())
    for name in ("within_class_variance", "between_class_variance", "share"):
        assert found.right[name] > 0.915, (name, found)
        # Of fewer than 90 units intervals are longer above by what a rare kind would add.
        assert found.right[name] < 0.99 or C * n < 90, (name, found)
    assert found.right["total_variance"] > 0.92


if __name__ == "__main__":
    for draw, C, n in (*HARD, *COUSINS, *GOOD):
        found = simulate(draw, C, n, 2000)
        cells = [f"{100 * found.right[k]:.0f} ({100 * found.withheld[k]:.0f})" for k in NAMES]
        cells = [f"{draw.__name__} {C} x {n}", *cells, f"{found.collapsed:.1%}"]
        sys.stdout.write(f"| {' | '.join(cells)} |\n")
