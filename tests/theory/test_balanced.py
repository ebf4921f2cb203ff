"""Closed forms for balanced classes: against the article's formulas, bisection and limits."""

import numpy as np
import pytest
from free_embeddings import Problem
from free_thresholds import bisected_thresholds, thresholds
from test_predict_reaches_the_optimum import setting_of

from uncollapse.records import BalancedBatch, FullBatch, RandomBatch
from uncollapse.theory import (
    Setting,
    alpha_threshold,
    balanced_optimum,
    predict,
    temperature_threshold,
    view_splitting_threshold,
)


def setting(**changes):
    given = {"classes": 5, "per_class": 8, "views": 2, "alpha": 0.3, "temperature": 0.2}
    return Setting(**(given | changes))


@pytest.mark.parametrize("n_b", [2, 5, 8])
@pytest.mark.parametrize("tau", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("views", [1, 2, 4])
def test_thresholds_are_the_published_formulas(n_b, tau, views):
    """Lee et al. for the full batch with self pairs; shared derivation for the others."""
    m, n, p = 5, 8, views
    x, kappa = np.exp(-m / ((m - 1) * tau)), n / (n - 1)
    batch = FullBatch() if n_b == n else BalancedBatch(n_b)
    include = setting(views=p, temperature=tau, self_pairs="include", batch=batch)
    expected = 1 - ((n_b - 1) - n_b * x / kappa) / (n_b * (1 + (m - 1) * x))
    assert alpha_threshold(include) == pytest.approx(expected, rel=1e-13)
    if p == 1:
        return
    exclude = include.with_(self_pairs="exclude")
    below = p * n_b - 1 + p * n_b * (m - 1) * x
    expected = 1 - p * ((n_b - 1) - n_b * x / kappa) / below
    assert alpha_threshold(exclude) == pytest.approx(expected, rel=1e-12)
    if n_b == n:
        splitting = (p - 1) * (p * n * (1 - x) / below - 1)
        assert view_splitting_threshold(exclude) == pytest.approx(splitting, abs=1e-13)


BISECTED = [
    Problem((4, 4, 4), 2, 0.5, 0.5, "exclude"),
    Problem((4, 4, 4), 2, 0.5, 0.5, "include", batch=BalancedBatch(2)),
    Problem((4, 4, 4), 2, 0.5, 0.3, "exclude", batch=BalancedBatch(2, 2)),
    Problem((3, 3), 2, 0.5, 0.4, "exclude", batch=RandomBatch(4)),
    Problem((3, 3), 2, 0.5, 0.4, "include", "pairs", batch=RandomBatch(4)),
    Problem((3, 3, 3), 2, 0.5, 0.6, "exclude", "anchors", "zero", batch=RandomBatch(3)),
]


@pytest.mark.parametrize("problem", BISECTED, ids=str)
def test_thresholds_are_where_free_minimisation_leaves_collapse(problem):
    """Against the second derivation to 1e-9, and against bisection on the minimised loss."""
    prediction = predict(setting_of(problem))
    splitting, spreading = thresholds(problem)
    assert prediction.alpha_threshold == pytest.approx(spreading, abs=1e-9)
    predicted = prediction.view_splitting_threshold
    assert (predicted or -np.inf) == pytest.approx(splitting, abs=1e-9)
    inside = (max(splitting, 0.0) + spreading) / 2
    _, bisected = bisected_thresholds(problem, inside, minimise=True, width=1e-5)
    assert prediction.alpha_threshold == pytest.approx(bisected, abs=1e-4)


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
@pytest.mark.parametrize("batch", [FullBatch(), BalancedBatch(3), BalancedBatch(4, 3)])
def test_the_phase_changes_at_the_thresholds(self_pairs, batch):
    base = setting(alpha=0.45, self_pairs=self_pairs, batch=batch)
    at = float(alpha_threshold(base))
    assert balanced_optimum(base, alpha=at * (1 - 1e-6)).instance_variance == 0
    assert balanced_optimum(base, alpha=at * (1 + 1e-6)).instance_variance > 0
    tau = float(temperature_threshold(base))
    assert alpha_threshold(base, temperature=tau) == pytest.approx(base.alpha, rel=1e-12)
    assert balanced_optimum(base, temperature=tau * (1 + 1e-6)).instance_variance == 0
    assert balanced_optimum(base, temperature=tau * (1 - 1e-6)).instance_variance > 0


def test_supcon_as_published_is_collapsed_at_every_temperature():
    """alpha = (p-1)/(p n_b - 1) lies between the two thresholds for every tau (theory.md)."""
    tau = np.geomspace(0.02, 1e3, 200)
    for p, n_b in [(2, 2), (2, 50), (4, 10)]:
        base = setting(per_class=n_b, views=p)
        supcon = (p - 1) / (p * n_b - 1)
        # As tau -> 0 both thresholds tend to it: beyond rounding it lies between them.
        assert np.all(supcon <= alpha_threshold(base, temperature=tau) + 1e-15)
        assert np.all(supcon >= view_splitting_threshold(base, temperature=tau) - 1e-15)
        best = balanced_optimum(base, alpha=supcon, temperature=tau)
        assert np.all(best.within_class_variance < 1e-12)


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_small_temperature_rate(self_pairs):
    """V* = tau (n-1)/n ln(...) up to terms of order exp(-1/tau)."""
    n, p, alpha = 8, 2, 0.4
    base = setting(per_class=n, alpha=alpha, self_pairs=self_pairs)
    odds = alpha * (n - 1) / (1 - alpha)
    odds *= p / (p - 1) if self_pairs == "exclude" else 1
    for tau, tolerance in [(0.05, 1e-6), (0.025, 1e-12)]:
        rate = balanced_optimum(base, temperature=tau).within_class_variance / tau
        assert rate == pytest.approx((n - 1) / n * np.log(odds), abs=tolerance)


def test_instance_variance_is_monotone_in_alpha_and_the_whole_is_not():
    base = setting(temperature=0.1)
    grid = balanced_optimum(base, alpha=np.linspace(0, 1, 2001))
    assert np.all(np.diff(grid.instance_variance) >= -1e-15)
    assert np.any(np.diff(grid.within_class_variance) < 0)


@pytest.mark.parametrize("batch", [FullBatch(), BalancedBatch(4), BalancedBatch(4, 3)])
def test_certified_over_phases_and_extremes(batch):
    for self_pairs in ("include", "exclude"):
        for alpha in (0.0, 1e-4, 0.02, 0.3, 0.99, 1.0):
            for tau in (1e-3, 0.05, 0.4, 3.0, 1e3):
                base = setting(alpha=alpha, temperature=tau, self_pairs=self_pairs, batch=batch)
                assert predict(base, thresholds=False).certificate_gap < 1e-9


def test_few_classes_in_a_batch_can_bring_the_class_means_together():
    """Two of three classes and all their instances: at alpha = 1 every class mean is zero."""
    base = Setting(classes=3, per_class=4, alpha=1.0, temperature=1.0, batch=BalancedBatch(4, 2))
    assert balanced_optimum(base, temperature=[1.0, 3.0]).within_class_variance.max() == 1.0
    prediction = predict(base)
    assert prediction.within_class_variance == pytest.approx(1.0, abs=1e-12)
    assert prediction.certificate_gap < 1e-9
