"""Views that coincide are no views: every number is that of the instances alone, and it is said."""

import numpy as np
import pytest
import torch

from uncollapse.metrics import Accumulator, measure
from uncollapse.monitor import CollapseMetric


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    return np.eye(3, 8)[labels] + 0.2 * rng.standard_normal((120, 8)), labels


def by_measure(rows, labels):
    return measure(rows, labels, permutations=0)


def by_stream(rows, labels):
    state = Accumulator()
    for part in np.split(np.arange(len(rows)), 3):
        state.update(rows[part], labels[part])
    return state.measurement()


def by_metric(rows, labels):
    metric = CollapseMetric(3, 8)
    metric.update(torch.tensor(rows), torch.tensor(labels))
    return metric.measurement()


@pytest.mark.parametrize("measured", [by_measure, by_stream, by_metric])
def test_they_are_as_if_there_were_none(rows, measured):
    z, labels = rows
    twice, once = measured(np.stack([z, z], axis=1), labels), measured(z, labels)
    assert {reason.code for reason in twice.reasons} - {"UC507"} == {"UC402", "UC513"}
    assert twice.share.estimate == pytest.approx(once.share.estimate, rel=1e-12)
    assert twice.share.low == pytest.approx(once.share.low, rel=1e-9)
    for name in ("view_variance", "instance_variance"):
        assert twice[name].estimate is None
        assert {each[name].estimate for each in twice.classes} == {None}


def test_views_that_differ_by_more_than_rounding_stay(rows):
    z, labels = rows
    noise = 1e-4 * np.random.default_rng(1).standard_normal(z.shape)
    near = np.stack([z, z + noise], axis=1)
    u, v = (near / np.linalg.norm(near, axis=2, keepdims=True)).swapaxes(0, 1)
    view = np.sum((u - v) ** 2, axis=1).mean() / 2
    assert by_stream(near, labels).view_variance.estimate == pytest.approx(view, rel=1e-6)
    narrow = np.stack([z, z * (1 + 1e-7)], axis=1).astype(np.float32)  # other rounding, one point
    assert by_stream(narrow, labels).view_variance.estimate is None


def test_one_point_a_class_keeps_its_zero():
    labels = np.arange(60) % 3
    points = np.eye(3, 8)[labels][:, None].repeat(2, axis=1)
    assert by_measure(points, labels).view_variance.estimate == pytest.approx(0, abs=1e-12)
