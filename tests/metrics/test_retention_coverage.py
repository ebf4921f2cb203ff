"""What the interval and the null of retention promise, by simulation."""

from functools import cache

import numpy as np
import pytest

from uncollapse.metrics import retention
from uncollapse.probes import paired_few_shot
from uncollapse.samples import ByRole, sample_of

pytestmark = pytest.mark.slow
SAMPLES = 300


def spectrum(rng, labels, noise):
    """Gaussian residuals of many sizes, of which the embedding keeps less the more noise."""
    base = rng.standard_normal((len(labels), 12)) * np.geomspace(1, 0.1, 12)
    return base + 0.5 * noise * rng.standard_normal(base.shape), base


def kinds(rng, labels, noise):
    """Five kinds in every class, blurred; of its dimensions the embedding has half."""
    centres = np.random.default_rng(1).standard_normal((5, 16))
    base = centres[rng.integers(0, 5, len(labels))] + 0.7 * rng.standard_normal((len(labels), 16))
    return base[:, :8] + noise * rng.standard_normal((len(labels), 8)), base


def heavy(rng, labels, noise):
    """Residuals with heavy tails."""
    base = rng.standard_t(3, (len(labels), 10))
    return base[:, :5] + noise * rng.standard_normal((len(labels), 5)), base


@pytest.mark.parametrize("n", [20, 50])
@pytest.mark.parametrize(
    ("draw", "noise"), [(spectrum, 1), (spectrum, 3), (kinds, 0.3), (kinds, 3), (heavy, 1)]
)
def test_the_interval_covers_the_truth(rng, draw, noise, n):
    many, labels = np.arange(20_000) % 2, np.arange(2 * n) % 2
    truth = retention(*draw(rng, many, noise), many, permutations=0).retention.estimate
    hits = np.zeros(2)
    for _ in range(SAMPLES):
        found = retention(*draw(rng, labels, noise), labels, permutations=0)
        for k, each in enumerate((found.retention, found.classes[0].retention)):
            hits[k] += each.low <= truth <= each.high
    assert hits.min() >= 0.9 * SAMPLES


@pytest.mark.parametrize("dimension", [1, 3, 30])
@pytest.mark.parametrize("n", [8, 100])
def test_unrelated_rows_pass_the_null_in_five_of_a_hundred(rng, n, dimension):
    labels, above = np.arange(2 * n) % 2, np.zeros(2)
    for seed in range(SAMPLES):
        rows, base = rng.standard_normal((2, 2 * n, dimension + 1))
        found = retention(rows, base, labels, seed=seed)
        for k, each in enumerate((found.retention, found.classes[0].retention)):
            above[k] += each.estimate > each.null
    assert (above > 0.01 * SAMPLES).all()
    assert (above < 0.1 * SAMPLES).all()


def test_groups_that_are_alike_do_not_pass_for_rows(rng):
    """Unrelated groups of ten nearly equal rows: without groups, chance looks like structure."""
    labels, groups = np.arange(400) % 2, np.arange(400) // 2 // 10 + 1000 * (np.arange(400) % 2)
    codes = np.unique(groups, return_inverse=True)[1]
    above = {"groups": 0, "rows": 0}
    estimates = []
    for seed in range(SAMPLES // 2):
        rows, base = (
            rng.standard_normal((40, 6))[codes] + 0.1 * rng.standard_normal((400, 6))
            for _ in range(2)
        )
        found = retention(rows, base, labels, groups=groups, seed=seed).retention
        estimates.append(found.estimate)
        above["groups"] += found.estimate > found.null
        plain = retention(rows, base, labels, seed=seed).retention
        above["rows"] += plain.estimate > plain.null
    assert above["groups"] < 0.1 * SAMPLES / 2
    assert above["rows"] > 0.9 * SAMPLES / 2
    assert abs(np.mean(estimates)) < 4 * np.std(estimates) / np.sqrt(len(estimates))


def few_shot_difference(rng, count, seed):
    centres = np.random.default_rng(1).standard_normal((2, 4, 10))
    labels, finer = np.arange(count) % 2, rng.integers(0, 4, count)
    base = centres[labels, finer] + 1.2 * rng.standard_normal((count, 10))
    rows = base[:, :6] + rng.standard_normal((count, 6))
    sample = sample_of(rows, ByRole(labels=labels, fine_labels=finer), reference=base)
    return paired_few_shot(
        sample, sample.fine_labels, least_units=10, confidence=0.95, seed=seed
    ).difference


@cache
def few_shot_truth():
    rng = np.random.default_rng(2)
    return np.mean([few_shot_difference(rng, 7000, seed).estimate for seed in range(8)])


@pytest.mark.parametrize("n", [240, 800])
def test_the_interval_of_the_few_shot_difference_covers_the_truth(n):
    rng, truth = np.random.default_rng(0), few_shot_truth()
    each = [few_shot_difference(rng, n, seed) for seed in range(100)]
    assert sum(one.low <= truth <= one.high for one in each) >= 90
