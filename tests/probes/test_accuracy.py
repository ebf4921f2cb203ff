"""Accuracy in three forms, and how often its interval holds the truth."""

import numpy as np
import pytest

from uncollapse.probes._task import score_within


def score(right, labels, classes, units):
    owners = np.zeros(len(right), dtype=int)
    return score_within(right, owners, labels, np.array([classes]), units)


def test_forms_by_hand():
    right = np.array([True] * 8 + [True, False])
    labels = np.array([0] * 8 + [1, 1])
    found = score(right, labels, 4, np.arange(10))
    assert found.accuracy.estimate == pytest.approx(0.9)
    assert found.balanced_accuracy.estimate == pytest.approx(0.75)
    assert found.chance_corrected.estimate == pytest.approx((0.75 - 0.25) / 0.75)


def test_inside_classes_by_hand():
    # Class 0 has two finer labels, read at 1 and .5; class 1 has three, all read right.
    owners = np.array([0] * 3 + [1] * 6)
    labels = np.array([0, 1, 1, 0, 0, 1, 1, 2, 2])
    right = np.array([True, True, False] + [True] * 6)
    found = score_within(right, owners, labels, np.array([2, 3]), np.arange(9))
    assert found.accuracy.estimate == pytest.approx(8 / 9)
    assert found.balanced_accuracy.estimate == pytest.approx((0.75 + 1) / 2)
    assert found.chance_corrected.estimate == pytest.approx((0.5 + 1) / 2)


@pytest.mark.parametrize(("per_unit", "truth"), [(1, 0.5), (1, 0.97), (4, 0.7)])
def test_coverage(rng, per_unit, truth):
    """Rows of a unit are read right or wrong together; classes have 20 and 80 units."""
    held, runs = 0, 500
    labels = np.repeat(np.repeat([0, 1], [20, 80]), per_unit)
    units = np.repeat(np.arange(100), per_unit)
    for _ in range(runs):
        right = (rng.random(100) < truth)[units]
        found = score(right, labels, 2, units).balanced_accuracy
        held += found.low <= truth <= found.high
    assert 0.915 < held / runs < 0.99


@pytest.mark.parametrize("per_cell", [2, 4, 20])
@pytest.mark.parametrize("truth", [[0.6] * 9, [0.5] * 4 + [0.98] * 5])
def test_coverage_of_few_rows_in_a_cell(rng, per_cell, truth):
    """Nine labels of two rows and more, read alike or not."""
    labels, held, runs = np.repeat(np.arange(9), per_cell), 0, 500
    for _ in range(runs):
        right = rng.random(len(labels)) < np.array(truth)[labels]
        found = score(right, labels, 9, np.arange(len(labels))).balanced_accuracy
        held += found.low <= np.mean(truth) <= found.high
    assert held / runs > 0.915


def test_all_right_still_has_an_interval():
    found = score(np.ones(40, bool), np.arange(40) % 2, 2, np.arange(40))
    assert found.balanced_accuracy.high == 1
    assert 0.85 < found.balanced_accuracy.low < 0.95
    # Weights whose sum is 1 but for rounding.
    found = score(np.ones(70, bool), np.arange(70) % 7, 7, np.arange(70))
    assert 0.93 < found.balanced_accuracy.low < 0.96
    assert score(np.ones(4, bool), np.arange(4) % 2, 2, np.zeros(4)).accuracy.low is None
