"""The linear probe's optimum is scikit-learn's, at every penalty and type."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from uncollapse.probes import logistic
from uncollapse.probes.logistic import fit_linear, linear_path


def problem(rng, n=400, d=12, K=5, shift=0.0):
    labels = rng.integers(0, K, n)
    rows = np.eye(K, d)[labels] + rng.standard_normal((n, d)) * 10 ** -np.linspace(0, 2, d)
    return rows + shift, labels


def reference(rows, labels, l2, weights=None):
    """scikit-learn on the features at the probe's scale, to its last digit."""
    scaled = rows - rows.mean(axis=0)
    scale = np.sqrt(np.mean(scaled**2))
    total = len(rows) if weights is None else np.sum(weights)
    halves = 2 if len(np.unique(labels)) == 2 else 1
    model = LogisticRegression(C=halves / (l2 * total), tol=1e-10, max_iter=20_000)
    model.fit(scaled / scale, labels, sample_weight=weights)
    return model.predict_proba(scaled / scale), model.coef_.T / scale


def probabilities(model, rows):
    logits = rows @ model.weights + model.intercepts
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("l2", [10.0, 1e-2, 1e-4])
def test_the_optimum_is_that_of_scikit_learn(rng, l2):
    rows, labels = problem(rng)
    model = next(linear_path(rows, labels, 5, [l2], tolerance=1e-9))
    expected, weights = reference(rows, labels, l2)
    # At the weakest penalty scikit-learn stops a little short: its objective is the higher one.
    np.testing.assert_allclose(probabilities(model, rows), expected, atol=5e-6)
    np.testing.assert_allclose(model.weights, weights, atol=2e-5 * np.abs(weights).max())
    scale = np.sqrt(np.mean((rows - rows.mean(axis=0)) ** 2))
    theirs = -np.log(expected[np.arange(len(rows)), labels]).mean()
    theirs += l2 / 2 * np.sum((weights * scale) ** 2)
    assert model.objective < theirs + 1e-12


def test_two_classes_and_weights(rng):
    rows, labels = problem(rng, K=2)
    weights = rng.uniform(0.1, 3, len(rows))
    model = next(linear_path(rows, labels, 2, [1e-2], weights=weights, tolerance=1e-9))
    expected, _ = reference(rows, labels, 1e-2, weights)
    np.testing.assert_allclose(probabilities(model, rows), expected, atol=1e-6)


def test_a_warm_path_reaches_what_a_cold_start_reaches(rng):
    rows, labels = problem(rng, shift=5.0)
    for model in linear_path(rows, labels, 5, [1e-5, 1e-3, 1e-1], tolerance=1e-7):
        cold = next(linear_path(rows, labels, 5, [model.l2], tolerance=1e-7))
        assert model.objective == pytest.approx(cold.objective, rel=1e-9)


def test_single_precision_and_default_tolerance_change_no_prediction(rng, monkeypatch):
    rows, labels = problem(rng)
    exact = next(linear_path(rows, labels, 5, [1e-3], tolerance=1e-9))
    monkeypatch.setattr(logistic, "_SINGLE_ABOVE", 0)
    quick = next(linear_path(rows.astype(np.float32), labels, 5, [1e-3]))
    assert quick.objective == pytest.approx(exact.objective, rel=1e-5)
    assert np.mean(quick.predict(rows) == exact.predict(rows)) > 0.99


def test_more_rows_are_fitted_from_the_weights_of_fewer(rng):
    rows, labels = problem(rng)
    start = next(linear_path(rows[:300], labels[:300], 5, [1e-3], tolerance=1e-8))
    more = fit_linear(rows, labels, 5, start, tolerance=1e-8)
    cold = next(linear_path(rows, labels, 5, [1e-3], tolerance=1e-8))
    assert more.objective == pytest.approx(cold.objective, rel=1e-9)
    assert more.steps < cold.steps


def test_more_dimensions_than_rows(rng):
    rows, labels = problem(rng, n=40, d=90)
    model = next(linear_path(rows, labels, 5, [1e-2], tolerance=1e-9))
    expected, _ = reference(rows, labels, 1e-2)
    np.testing.assert_allclose(probabilities(model, rows), expected, atol=1e-6)
