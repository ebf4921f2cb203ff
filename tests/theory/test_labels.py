"""Wrong labels and alphas by class: against every labelling of every batch, and free embeddings."""

import numpy as np
import pytest
from free_labels import labelled_rows, rows_loss
from free_problem import Problem
from scipy.optimize import brentq, minimize

from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, FullBatch, RandomBatch
from uncollapse.theory import Setting, alpha_threshold, gram, predict

UNEVEN = [[0.8, 0.2, 0.0], [0.1, 0.85, 0.05], [0.3, 0.0, 0.7]]


def case(counts, views, alpha, tau, rate=0.0, Q=None, alphas=None, **loss):
    return counts, views, alpha, tau, rate, Q, alphas, loss


CASES = [
    case((3, 3), 1, 0.2, 0.4, 0.1, self_pairs="include"),
    case((3, 3), 2, 0.2, 0.4, 0.1),
    case((3, 3), 2, 0.5, 0.3, 0.2, reduction="pairs"),
    case((3, 3), 3, 0.3, 0.3, 0.3, anchors_without_positives="zero"),
    case((3, 2), 2, 0.4, 0.3, 0.15, reduction="pairs", self_pairs="include"),
    case((3, 2), 4, 0.2, 0.5, 0.15),
    case((2, 2, 2), 2, 0.4, 0.4, Q=UNEVEN),
    case((2, 2, 1), 1, 0.5, 0.4, Q=UNEVEN, self_pairs="include", reduction="pairs"),
    case((3, 3), 2, 0.4, 0.4, alphas=[0.0, 1.0]),
    case((3, 2), 2, 0.4, 0.4, 0.1, alphas=[0.2, 0.7], self_pairs="include"),
    case((3, 2), 2, 0.4, 0.4, 0.1, batch=RandomBatch(4)),
    case((3, 3), 2, 0.3, 0.4, 0.2, batch=RandomBatch(4), reduction="pairs", self_pairs="include"),
    case((3, 2), 1, 0.3, 0.4, batch=RandomBatch(3), alphas=[0.2, 0.9], self_pairs="include"),
    case((4, 4), 2, 0.3, 0.4, 0.1, batch=BalancedBatch(2)),
    pytest.param(
        case((4, 4, 4), 1, 0.5, 0.4, 0.2, batch=BalancedBatch(2, 2), self_pairs="include"),
        marks=pytest.mark.slow,
    ),
    case((5, 4), 1, 0.5, 0.4, 0.1, batch=BalancedBatch(2), self_pairs="include"),
    case((4, 4), 2, 0.5, 0.4, batch=BalancedBatch(2), alphas=[0.1, 0.8], reduction="pairs"),
]  # fmt: skip


@pytest.mark.parametrize("given", CASES, ids=str)
def test_the_prediction_is_the_minimum_over_free_embeddings(given):
    counts, views, alpha, tau, rate, Q, alphas, loss = given
    setting = Setting(class_counts=counts, views=views, alpha=alpha, temperature=tau, **loss)
    m = len(counts)
    even = np.full((m, m), rate / (m - 1)) + np.eye(m) * (1 - rate - rate / (m - 1))
    p = predict(setting, label_noise=rate, confusion=Q, alpha_per_class=alphas, thresholds=False)
    assert not any("sampled" in note for note in p.notes)
    problem = Problem(counts, views, alpha, tau, **loss)
    rows = labelled_rows(problem, even if Q is None else np.array(Q), alphas)

    # The loss of the predicted embeddings, by the definition.
    assert rows_loss(gram(setting, p), rows, tau)[0] == pytest.approx(p.loss, abs=1e-9)
    assert p.certificate_gap < 1e-6

    # Nothing lower by descent on free embeddings, which do get there.
    N = len(rows.positive)

    def value(flat):
        Z = flat.reshape(N, N)
        norm = np.linalg.norm(Z, axis=1, keepdims=True)
        Z = Z / norm
        found, C = rows_loss(Z @ Z.T, rows, tau)
        slope = 2 * C @ Z
        return found, ((slope - (slope * Z).sum(1, keepdims=True) * Z) / norm).ravel()

    start = np.random.default_rng(0).normal(size=N * N)
    options = {"maxiter": 4000, "maxfun": 8000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 30}
    found = minimize(value, start, jac=True, method="L-BFGS-B", options=options).fun
    assert p.loss - 1e-8 <= found <= p.loss + 2e-6


@pytest.mark.parametrize(
    ("self_pairs", "views", "rate", "tau"),
    [
        ("exclude", 2, 0.2, 0.1),
        ("include", 1, 0.02, 1.0),
        pytest.param("exclude", 4, 0.02, 0.1, marks=pytest.mark.slow),
        pytest.param("exclude", 2, 0.02, 1.0, marks=pytest.mark.slow),
        pytest.param("include", 3, 0.2, 0.1, marks=pytest.mark.slow),
        pytest.param("include", 2, 0.2, 1.0, marks=pytest.mark.slow),
    ],
)
def test_the_threshold_in_alpha_has_a_closed_form(self_pairs, views, rate, tau):
    """docs/theory.md: alpha_c(eta), full batch, in both regimes."""
    m, n = 4, 30
    setting = Setting(classes=m, per_class=n, views=views, alpha=0.5, temperature=tau,
                      self_pairs=self_pairs)  # fmt: skip
    p = predict(setting, label_noise=rate)
    same, kappa = p.label_noise.same_class_positives, n / (n - 1)
    own = views if self_pairs == "include" else views - 1
    mates, others = views * (n - 1), views * n * (m - 1)
    x = np.exp(-m / ((m - 1) * tau))
    clean = float(alpha_threshold(setting))
    simplex = 1 - (1 - clean) / (same - (1 - same) / ((m - 1) * kappa))
    share = others * x / (own + mates + others * x)
    if share < (1 - simplex) * (1 - same):  # the noise pulls class means nearer than the simplex
        r = mates / (own + mates)
        expected = 1 - r / (same + (1 - same) * r)
    else:
        expected = simplex
    assert p.alpha_threshold == pytest.approx(expected, rel=1e-4)
    below, above = (
        predict(setting.with_(alpha=expected + step), label_noise=rate, thresholds=False)
        for step in (-1e-3, 1e-3)
    )
    assert below.instance_variance < 1e-6 < above.instance_variance


def test_with_noise_the_optimum_has_a_closed_form():
    """Where class means have room: V = tau/kappa log(alpha mates / (own (1 - alpha) rho))."""
    m, n, p, alpha, tau = 10, 50, 2, 0.2, 0.1
    setting = Setting(classes=m, per_class=n, views=p, alpha=alpha, temperature=tau)
    found = predict(setting, label_noise=0.1, thresholds=False)
    rho = found.label_noise.same_class_positives
    pull = (1 - alpha) * (1 - rho)
    V = tau * (n - 1) / n * np.log(alpha * p * (n - 1) / ((p - 1) * (1 - alpha) * rho))
    b = 1 + tau * np.log((p - 1) * pull / (p * n * (m - 1) * alpha))
    assert found.within_class_variance == pytest.approx(V, abs=1e-6)
    assert found.between_class_variance == pytest.approx((m - 1) / m * (1 - V - b), abs=1e-5)


def test_exact_and_sampled_expectations_agree():
    counts = [9, 9]
    for batch in (FullBatch(), BalancedBatch(3)):
        setting = Setting(class_counts=counts, alpha=0.3, temperature=0.3, batch=batch)
        even = predict(setting, label_noise=0.2, thresholds=False)
        # A matrix that is a little uneven is not one block.
        uneven = predict(
            setting, confusion=[[0.8, 0.2], [0.2 - 1e-9, 0.8 + 1e-9]], thresholds=False
        )
        assert uneven.loss == pytest.approx(even.loss, abs=2e-2)
        assert uneven.within_class_variance == pytest.approx(even.within_class_variance, abs=2e-2)


def test_labels_learnt_by_heart_are_the_classes():
    setting = Setting(classes=5, per_class=20, alpha=0.3, temperature=0.2)
    clean, learnt = predict(setting), predict(setting, label_noise=0.1, noise_learned=True)
    assert learnt.loss == clean.loss
    assert learnt.instance_variance == clean.instance_variance
    # By true class: a mixture of the classes' means.
    assert learnt.label_noise.within_true_class_variance > clean.within_class_variance + 0.1
    counts = predict(
        Setting(class_counts=[40, 20], alpha=0.3, temperature=0.2),
        confusion=[[30, 10], [0, 20]], noise_learned=True, thresholds=False,
    ).cosines.counts  # fmt: skip
    assert counts == (30,)


def test_supervised_minority_spreads_the_majority_alone():
    """Mildenberger et al. 2025: supervision on the minority, self-supervision on the majority."""
    setting = Setting(class_counts=[60, 6], alpha=0.02, temperature=0.2)
    plain = predict(setting, thresholds=False).instance_variance_per_class
    fixed = predict(setting, alpha_per_class=[1.0, 0.0], thresholds=False)
    assert max(plain) < 0.2
    assert fixed.instance_variance_per_class[0] > 0.5
    assert fixed.instance_variance_per_class[1] < 1e-6
    again = predict(setting, alpha_per_class=[0.02, 0.02], thresholds=False)
    assert again.loss == pytest.approx(predict(setting, thresholds=False).loss, abs=1e-12)


def test_what_the_temperature_does_under_noise():
    setting = Setting(classes=3, per_class=6, alpha=0.25, temperature=0.3, self_pairs="include")
    p = predict(setting, label_noise=0.05)

    def spread(log_tau):
        at = setting.with_(temperature=float(np.exp(log_tau)))
        return predict(at, label_noise=0.05, thresholds=False).instance_variance - 1e-4

    if p.temperature_threshold is not None:
        root = np.exp(brentq(spread, np.log(0.02), np.log(3), xtol=1e-4))
        assert root == pytest.approx(p.temperature_threshold, rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"label_noise": 1.0}, {"label_noise": -0.1}, {"label_noise": float("nan")},
        {"confusion": [[1, 0]]}, {"confusion": [[0, 0], [0, 1]]}, {"confusion": [[1, 0], [1, 0]]},
        {"confusion": "words"}, {"confusion": [[1, -1], [0, 1]]},
        {"label_noise": 0.1, "confusion": [[1, 0], [0, 1]]},
        {"alpha_per_class": [0.5]}, {"alpha_per_class": [0.5, 2]},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(InputError):
        predict(Setting(classes=2, per_class=4, alpha=0.5, temperature=0.2), **wrong)


def test_many_classes_with_even_noise():
    setting = Setting(classes=1000, per_class=500, alpha=0.1, temperature=0.1)
    p = predict(setting, label_noise=0.1, thresholds=False)
    assert p.between_class_variance < 0.9
    assert type(p).from_json(p.to_json()) == p
    with pytest.raises(InputError):
        predict(setting, alpha_per_class=[0.1] * 500 + [0.2] * 500)
