"""A nominal 95 % interval holds the truth in 92 to 98 % of samples."""

from functools import cache

import numpy as np
import pytest
from embeddings import estimates, simplex, unit

from uncollapse.metrics import Accumulator
from uncollapse.metrics.features import group_features, instance_features
from uncollapse.metrics.moments import ClassMoments
from uncollapse.metrics.variance import decompose

CLASSES, DIMENSION = 4, 16


def draw(rng, n, views, residuals, groups=None):
    """One sample: (C, n, views, d) unit vectors."""
    centre = np.zeros((CLASSES, DIMENSION))
    centre[:, :CLASSES] = simplex(CLASSES)
    r = rng.standard_normal((CLASSES, n, DIMENSION)) / np.sqrt(DIMENSION)
    if residuals == "heavy":
        r *= rng.lognormal(0, 0.4, (CLASSES, n, 1))
    if residuals == "orthogonal":
        # The first-order term of the U-statistic vanishes, as in an exact SSEM.
        r[:, :, :CLASSES] = 0
        r = unit(r)
    if groups is not None:
        r = 0.7 * r[:, groups] + 0.7 * r
    z = unit(np.sqrt(0.7) * centre[:, None] + np.sqrt(0.3) * r)[:, :, None]
    if views > 1:
        noise = rng.standard_normal((CLASSES, n, views, DIMENSION)) / np.sqrt(DIMENSION)
        z = unit(z + 0.4 * noise)
    return z


def classes_of(sample, groups=None):
    C, n, views, d = sample.shape
    found = []
    for rows in sample.reshape(C, n * views, d):
        ids = np.repeat(np.arange(n), views) if views > 1 else None
        features, names = instance_features(rows, ids), None
        if groups is not None:
            features, _ = group_features(features, groups)
        found.append(ClassMoments.of_units(features, len(rows), names))
    return found


@cache  # of one distribution, whatever the size of the samples that are held against it
def truth_of(residuals, views):
    return decompose(classes_of(draw(np.random.default_rng(1), 40_000, views, residuals)))


def coverage(rng, truth, repeats, sample):
    true = estimates(truth)
    names = [name for name, estimate in true.items() if estimate.estimate is not None]
    inside = dict.fromkeys([*names, "per class"], 0.0)
    for _ in range(repeats):
        found = decompose(sample(rng))
        for name in names:
            estimate = estimates(found)[name]
            inside[name] += estimate.low <= true[name].estimate <= estimate.high
        hits = [
            mine.within.low <= theirs.within.estimate <= mine.within.high
            for mine, theirs in zip(found.per_class, truth.per_class, strict=True)
        ]
        inside["per class"] += float(np.mean(hits))
    return {name: count / repeats for name, count in inside.items()}


def outside(found):
    """What is not between 92 and 98 %.

    Total variance is 1 less the squared norm of the grand mean. Here classes are centred, so that
    norm is at its boundary zero and the interval too long; only its lower bound is held.
    """
    return {
        name: value
        for name, value in found.items()
        if not 0.92 < value < (1.01 if name == "total_variance" else 0.98)
    }


CASES = [("gaussian", n, 1) for n in (10, 20, 50, 200)]
CASES += [(residuals, n, 1) for residuals in ("heavy", "orthogonal") for n in (10, 200)]
# Of views an instance's mean is taken, whatever n is.
CASES += [("gaussian", 10, 2), ("gaussian", 200, 2), ("heavy", 10, 2), ("orthogonal", 10, 2)]


@pytest.mark.slow
@pytest.mark.parametrize(("residuals", "n", "views"), CASES)
def test_coverage_of_the_jackknife(rng, residuals, n, views):
    def sample(r):
        return classes_of(draw(r, n, views, residuals))

    found = coverage(rng, truth_of(residuals, views), 1000, sample)
    if residuals == "heavy" and n == 10:
        # Ten instances of one class do not show a heavy tail: about 90 % for a single class.
        assert found.pop("per class") > 0.88
    assert not outside(found), found


@pytest.mark.slow
def test_coverage_with_groups(rng):
    # 20 groups of five instances that share most of their residual.
    groups = np.repeat(np.arange(20), 5)
    members = np.repeat(np.arange(20) * 5, 5)
    independent = decompose(classes_of(draw(rng, 40_000, 1, "gaussian", np.arange(40_000))))
    # Across groups residuals are independent, but each is 0.7 (own + shared): the truth is that of
    # one instance per group, drawn with a shared part of its own.
    many = np.repeat(np.arange(8_000) * 5, 5)
    truth = decompose(
        classes_of(draw(rng, 40_000, 1, "gaussian", many), np.repeat(np.arange(8_000), 5))
    )
    within = (levels.variances.within_class_variance for levels in (truth, independent))
    assert next(within).estimate < next(within).estimate
    found = coverage(
        rng, truth, 1000, lambda r: classes_of(draw(r, 100, 1, "gaussian", members), groups)
    )
    assert not outside(found), found
    ignored = coverage(rng, truth, 300, lambda r: classes_of(draw(r, 100, 1, "gaussian", members)))
    assert ignored["within_class_variance"] < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("views", [1, 2])
def test_coverage_of_blocks(rng, views):
    def blocks(r):
        sample = draw(r, 400, views, "gaussian")
        stream = Accumulator("blocks")
        rows = sample.reshape(-1, DIMENSION)
        labels = np.repeat(np.arange(CLASSES), 400 * views)
        ids = np.repeat(np.arange(CLASSES * 400), views) if views > 1 else None
        stream.update(rows, labels, ids)
        return stream.classes().units

    found = coverage(rng, truth_of("gaussian", views), 600, blocks)
    assert not outside(found), found
