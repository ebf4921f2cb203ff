"""Ranges of variances within 1e-6 of the least loss, against other ways to find them."""

import numpy as np
import pytest
from free_gram import batch_rows
from free_problem import Problem
from scipy.optimize import minimize

from uncollapse.records import RandomBatch
from uncollapse.theory import Setting, predict, realise

NEAR = 1e-6


def balanced_loss(setting: Setting, view, instance, b):
    """The loss of docs/theory.md at fractions and a cosine between classes, arrays of one shape."""
    m, n, p = setting.classes, setting.per_class, setting.views
    include, tau = setting.self_pairs == "include", setting.temperature
    s, a = 1 - view * p / max(p - 1, 1), 1 - view - instance * n / (n - 1)
    total = include * np.exp(1 / tau) + (p - 1) * np.exp(s / tau)
    total = total + p * (n - 1) * np.exp(a / tau) + p * n * (m - 1) * np.exp(b / tau)
    q = (1 + (p - 1) * s) / p if include else s
    return np.log(total) - ((1 - setting.alpha) * a + setting.alpha * q) / tau


@pytest.mark.parametrize(
    "setting",
    [
        Setting(classes=10, per_class=50, alpha=0.02, temperature=0.04),
        Setting(classes=3, per_class=4, alpha=0.3, temperature=0.05, self_pairs="include"),
        Setting(classes=4, per_class=6, views=3, alpha=0.0, temperature=0.06),
        Setting(classes=5, per_class=8, views=1, alpha=0.2, temperature=0.1, self_pairs="include"),
        Setting(classes=2, per_class=9, views=4, alpha=0.9, temperature=0.5),
    ],
    ids=str,
)
def test_no_gram_matrix_near_the_minimum_lies_outside_and_the_ends_are_reached(setting):
    """All (nu, iota, b): by descent along a penalty from many places, and by chance."""
    p, m = predict(setting), setting.classes
    ceiling = p.loss + NEAR * max(1.0, abs(p.loss))
    rng = np.random.default_rng(0)
    views = setting.views > 1
    names = ("view_variance", "instance_variance", "within_class_variance")
    of = {name: getattr(p, f"{name}_range") for name in (*names, "between_class_variance")}

    def values(x):
        view, instance, b = x
        within = view + instance
        return {
            "view_variance": view, "instance_variance": instance, "within_class_variance": within,
            "between_class_variance": (m - 1) / m * (1 - within - b),
        }  # fmt: skip

    optimum = np.array([p.view_variance, p.instance_variance, p.cosines.b[0][0]])
    # By chance: points on rays from the optimum, which leave the neighbourhood at a bisected place.
    corner = rng.dirichlet(np.full(4, 0.3), size=4000)
    view, instance, mean = corner[:, 0] * views, corner[:, 1], corner[:, 2]
    far = np.stack([view, instance, mean - (1 - view - instance - mean) / (m - 1)])
    low, high = np.zeros(4000), np.ones(4000)
    for _ in range(60):
        middle = (low + high) / 2
        inside = balanced_loss(setting, *(optimum[:, None] * (1 - middle) + far * middle)) < ceiling
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    reached = values(optimum[:, None] * (1 - low) + far * low)
    for name, ends in of.items():
        width = ends.high - ends.low
        assert reached[name].min() >= ends.low - 1e-3 * width - 1e-9
        assert reached[name].max() <= ends.high + 1e-3 * width + 1e-9

    # By descent: constrained minimisation from the best of these.
    bounds = [(0, float(views)), (0, 1), (-1 / (m - 1), 1)]
    limits = [
        {"type": "ineq", "fun": lambda x: (ceiling - balanced_loss(setting, *x)) / NEAR},
        {"type": "ineq", "fun": lambda x: x[2] + (1 - x[0] - x[1]) / (m - 1)},
        {"type": "ineq", "fun": lambda x: 1 - x[0] - x[1] - x[2]},
    ]
    for name, ends in of.items():
        for end, sign in ((ends.low, 1), (ends.high, -1)):
            best = np.argmin(sign * reached[name])
            start = optimum * (1 - low[best]) + far[:, best] * low[best]
            answer = minimize(
                lambda x, name=name, sign=sign: sign * values(x)[name],
                start, method="SLSQP", bounds=bounds, constraints=limits,
                options={"ftol": 1e-12, "maxiter": 500},
            )  # fmt: skip
            found = min(sign * values(start)[name], *(
                [answer.fun] if all(limit["fun"](answer.x) > -1e-3 for limit in limits) else []
            ))  # fmt: skip
            assert sign * end <= found + 1e-3 * (ends.high - ends.low) + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("batch", [None, RandomBatch(4)], ids=str)
def test_unequal_classes_move_as_far_as_free_embeddings(batch):
    """Ends by constrained descent on all embeddings: neither orbits nor blocks are assumed."""
    counts, given = (3, 2, 2), {} if batch is None else {"batch": batch}
    setting = Setting(class_counts=counts, views=1, alpha=0.6, temperature=0.3,
                      self_pairs="include", **given)  # fmt: skip
    problem = Problem(counts, 1, 0.6, 0.3, "include", **given)
    p, rows = predict(setting), batch_rows(problem, by_symmetry=False)
    classes = problem.labels()[0]
    N, of_class = len(classes), np.eye(3)[:, classes] / np.array([[n] for n in counts])
    ceiling = p.loss + NEAR * max(1.0, p.loss)

    def gram(flat):
        Z = flat.reshape(N, N)
        Z = Z / np.linalg.norm(Z, axis=1, keepdims=True)
        return Z @ Z.T

    def excess(flat):
        G = gram(flat)
        logits = np.where(rows.mask, G[rows.anchor] / 0.3, -np.inf)
        top = logits.max(1)
        log_d = top + np.log(np.exp(logits - top[:, None]).sum(1))
        return (ceiling - rows.weight @ log_d + (rows.positive * G).sum() / 0.3) / NEAR

    def values(flat):
        B = of_class @ gram(flat) @ of_class.T
        within = 1 - np.diag(B).mean()
        return {"within_class_variance": within, "between_class_variance": 1 - within - B.mean()}

    start = realise(setting, p).vectors
    start = np.hstack([start, np.zeros((N, N - start.shape[1]))]).ravel()
    for name in ("within_class_variance", "between_class_variance"):
        ends = getattr(p, f"{name}_range")
        for end, sign in ((ends.low, 1), (ends.high, -1)):
            answer = minimize(
                lambda flat, name=name, sign=sign: sign * 1e3 * values(flat)[name], start,
                method="SLSQP", constraints=[{"type": "ineq", "fun": excess}],
                options={"maxiter": 200, "ftol": 1e-9},
            )  # fmt: skip
            assert excess(answer.x) > -1e-2
            assert values(answer.x)[name] == pytest.approx(end, abs=0.03 * (ends.high - ends.low))


def test_ranges_hold_the_value_and_are_read_back():
    for setting in (
        Setting(classes=10, per_class=50, alpha=0.5, temperature=0.1),
        Setting(class_counts=[30, 9, 4], alpha=0.2, temperature=0.07, reduction="pairs"),
        Setting(class_counts=[5, 1], alpha=1, temperature=0.2),
    ):
        p = predict(setting)
        assert type(p).from_json(p.to_json()) == p
        for name in ("view_variance", "instance_variance", "within_class_variance",
                     "between_class_variance"):  # fmt: skip
            ends = getattr(p, f"{name}_range")
            assert ends.low - 1e-9 <= getattr(p, name) <= ends.high + 1e-9


def test_many_different_sizes_have_no_ranges():
    p = predict(Setting(class_counts=range(2, 12), alpha=0.4, temperature=0.2))
    assert p.within_class_variance_range is None
