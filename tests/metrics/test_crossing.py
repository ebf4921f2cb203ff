"""Groups (patients) that have rows in several classes: pairs inside a group are in no estimate."""

from functools import cache

import numpy as np
import pytest
from embeddings import estimates, simplex, unit
from scipy.special import stdtrit

from uncollapse.metrics.features import group_features, instance_features
from uncollapse.metrics.moments import ClassMoments
from uncollapse.metrics.variance import decompose

CLASSES, DIMENSION = 4, 16


def moments(rows, groups):
    features, codes = group_features(instance_features(rows, None), groups)
    return ClassMoments.of_units(features, len(rows), codes)


def patients(rng, count, each=2):
    """(patients, classes, rows, d): a shift per patient, the same in all classes, and noise."""
    centre = np.zeros((CLASSES, DIMENSION))
    centre[:, :CLASSES] = simplex(CLASSES)
    shift = rng.standard_normal((count, 1, 1, DIMENSION)) / np.sqrt(DIMENSION)
    noise = rng.standard_normal((count, CLASSES, each, DIMENSION)) / np.sqrt(DIMENSION)
    return unit(0.5 * centre[:, None] + 0.6 * shift + 0.4 * noise)


def classes_of(sample):
    count, C, each, d = sample.shape
    groups = np.repeat(np.arange(count), each)
    return [moments(sample[:, c].reshape(-1, d), groups) for c in range(C)]


def uneven(rng):
    """Rows, classes and groups; some groups in one class, some in two, some in all."""
    classes = rng.integers(0, 5, 150)
    groups = rng.integers(0, 12, 150)
    groups[(classes > 2) & (groups > 5)] += 20
    shift = rng.standard_normal((40, 6))[groups]
    return unit(3 * np.eye(5, 6)[classes] + shift + rng.standard_normal((150, 6))), classes, groups


def naive(rows, classes, groups, w):
    """Between-class variance, pair by pair of rows of different groups."""
    mean = np.zeros((len(w), len(w)))
    for c in range(len(w)):
        for other in range(len(w)):
            found = [
                float(x @ y)
                for x, g in zip(rows[classes == c], groups[classes == c], strict=True)
                for y, h in zip(rows[classes == other], groups[classes == other], strict=True)
                if g != h
            ]
            mean[c, other] = np.mean(found)
    return w @ np.diag(mean) - w @ mean @ w


@pytest.mark.parametrize("micro", [False, True])
def test_between_is_that_of_pairs_of_different_groups(rng, micro):
    rows, classes, groups = uneven(rng)
    parts = [moments(rows[classes == c], groups[classes == c]) for c in range(5)]
    found = decompose(parts, micro=micro).variances
    w = np.bincount(classes) / len(classes) if micro else np.full(5, 0.2)
    expected = naive(rows, classes, groups, w)
    assert found.between_class_variance.estimate == pytest.approx(expected, abs=1e-12)
    total = found.within_class_variance.estimate + expected
    assert found.total_variance.estimate == pytest.approx(total, abs=1e-12)


def test_interval_is_the_jackknife_that_leaves_a_group_out_of_all_classes(rng):
    sample = patients(rng, 12)
    found = decompose(classes_of(sample)).variances
    left = [decompose(classes_of(np.delete(sample, g, axis=0))).variances for g in range(12)]
    for name in ("total_variance", "between_class_variance"):
        values = np.array([other[name].estimate for other in left])
        variance = 11 / 12 * np.sum((values - values.mean()) ** 2)
        half = stdtrit(11, 0.975) * np.sqrt(variance)
        assert found[name].half_width == pytest.approx(half, rel=1e-9)


@cache
def of_many_patients():
    """What eight large samples say, and where the generator then stands."""
    rng = np.random.default_rng(20260301)
    known = [estimates(decompose(classes_of(patients(rng, 40_000)))) for _ in range(8)]
    return known, rng.bit_generator.state


@pytest.mark.slow
@pytest.mark.parametrize("count", [10, 20, 50])
def test_no_bias_and_coverage_where_every_group_is_in_every_class(rng, count):
    # Pairs inside a group, if they counted, would take .19 of a squared length over `count` off
    # between-class variance: ten standard errors and more.
    names, draws = ("within_class_variance", "between_class_variance", "total_variance"), 600
    known, rng.bit_generator.state = of_many_patients()
    found = [estimates(decompose(classes_of(patients(rng, count)))) for _ in range(draws)]
    for name in (*names, "share"):
        large = np.array([one[name].estimate for one in known])
        each = [one[name] for one in found]
        values, truth = np.array([one.estimate for one in each]), large.mean()
        error = np.hypot(values.std(ddof=1) / draws**0.5, large.std(ddof=1) / len(large) ** 0.5)
        assert abs(values.mean() - truth) < 2 * error, name
        assert np.mean([one.low <= truth <= one.high for one in each]) >= 0.91, name
