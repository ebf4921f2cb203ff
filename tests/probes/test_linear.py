"""The linear probe's optimum is that of its stated objective, at every penalty and type."""

import numpy as np
import pytest

from uncollapse.probes import ProbeOptions, linear
from uncollapse.probes._task import SplitRows
from uncollapse.probes.linear import fit_at_penalties


def problem(rng, n=400, d=12, K=5, shift=0.0):
    labels = rng.integers(0, K, n)
    rows = np.eye(K, d)[labels] + rng.standard_normal((n, d)) * 10 ** -np.linspace(0, 2, d)
    return rows + shift, labels


def fitted(rows, labels, penalties, start=None, **options):
    part = SplitRows(rows, labels, np.arange(len(rows)))
    return fit_at_penalties(part, penalties, ProbeOptions(**options), start)


def scaled(rows):
    centred = rows - rows.mean(axis=0)
    return centred / np.sqrt(np.mean(centred**2))


def weights_of(model):
    """(d, K) weights and (K,) intercepts for scaled features; two classes as a softmax of both."""
    W, b = model.regression.coef_.T, model.regression.intercept_
    return (np.hstack([-W, W]) / 2, np.append(-b, b) / 2) if W.shape[1] == 1 else (W, b)


def objective(model, rows, labels, l2, row_weights=None):
    """The stated objective and its gradient, with loops left to numpy."""
    (W, b), X = weights_of(model), scaled(rows)
    v = np.ones(len(rows)) if row_weights is None else row_weights
    v = (v / v.sum())[:, None]
    logits = X @ W + b
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    slope = (p - np.eye(len(b))[labels]) * v
    loss = -np.sum(v[:, 0] * np.log(p[np.arange(len(X)), labels]))
    gradient = np.vstack([X.T @ slope + l2 * W, slope.sum(axis=0)])
    return loss + l2 / 2 * np.sum(W**2), np.abs(gradient).max()


@pytest.mark.parametrize("l2", [10.0, 1e-2, 1e-4])
@pytest.mark.parametrize("shape", [{}, {"K": 2}, {"n": 40, "d": 90}])
@pytest.mark.parametrize("balanced", [False, True])
def test_no_slope_of_the_objective_is_left(rng, l2, shape, balanced):
    rows, labels = problem(rng, **shape)
    model = next(fitted(rows, labels, [l2], balanced=balanced, tolerance=1e-9))
    row_weights = 1 / np.bincount(labels)[labels] if balanced else None
    assert objective(model, rows, labels, l2, row_weights)[1] < 1e-6
    if l2 < 1:
        # The proof can fail: at another penalty slope is left.
        assert objective(model, rows, labels, 2 * l2, row_weights)[1] > 1e-5


def test_a_warm_path_reaches_what_a_cold_start_reaches(rng):
    rows, labels = problem(rng, shift=5.0)
    path = [1e-1, 1e-3, 1e-5]
    for l2, model in zip(path, fitted(rows, labels, path, tolerance=1e-8), strict=True):
        cold = next(fitted(rows, labels, [l2], tolerance=1e-8))
        values = [objective(found, rows, labels, l2)[0] for found in (model, cold)]
        assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_a_penalty_means_the_same_at_every_scale(rng):
    rows, labels = problem(rng)
    first, second = (
        next(fitted(matrix, labels, [1e-2], tolerance=1e-9)) for matrix in (rows, 1e-4 * rows + 3)
    )
    np.testing.assert_allclose(weights_of(first)[0], weights_of(second)[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(first.predict(rows), second.predict(1e-4 * rows + 3))


def test_single_precision_and_default_tolerance_change_no_prediction(rng, monkeypatch):
    rows, labels = problem(rng)
    exact = next(fitted(rows, labels, [1e-3], tolerance=1e-9))
    monkeypatch.setattr(linear, "_SINGLE_ABOVE", 0)
    quick = next(fitted(rows, labels, [1e-3]))
    assert quick.regression.coef_.dtype == np.float32
    values = [objective(model, rows, labels, 1e-3)[0] for model in (quick, exact)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert np.mean(quick.predict(rows) == exact.predict(rows)) > 0.99


def test_more_rows_are_fitted_from_the_weights_of_fewer(rng):
    rows, labels = problem(rng)
    start = next(fitted(rows[:300], labels[:300], [1e-3]))
    more = next(fitted(rows, labels, [1e-3], start=start, tolerance=1e-8))
    cold = next(fitted(rows, labels, [1e-3], tolerance=1e-8))
    values = [objective(model, rows, labels, 1e-3)[0] for model in (more, cold)]
    assert values[0] == pytest.approx(values[1], rel=1e-9)
    assert more.regression.n_iter_[0] < cold.regression.n_iter_[0]
