"""Multinomial logistic regression along a path of L2 penalties.

For every penalty l of the path, from the strongest on and each from the two optima before it,

    minimise over W, b:   sum_i w_i log(1/softmax(x_i W + b)[y_i]) / sum_i w_i  +  l/2 ||W||^2

on features that are centred and divided by one number, their root mean square, so that a penalty
means the same at every layer. scikit-learn's `LogisticRegression` has this optimum at C = 1/(l N)
(three classes or more; for two it penalises the difference of both weights, so C = 2/(l N)).

Weights are sought in the eigenvectors of the features' covariance, each scaled by
(c eigenvalue + l)^(-1/2) with c = mean p(1 - p) at the start. That is the inverse root of the
Hessian if all rows were equally uncertain, and L-BFGS then needs a few steps where it needs
hundreds on the features as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

__all__ = ["LinearModel", "fit_linear", "linear_path"]

Rows = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Rows whose probabilities are held at once: with a hundred classes they stay in the cache.
_ROWS = 2048
# Above this many multiplications per evaluation, products are taken in float32.
_SINGLE_ABOVE = 5e7


@dataclass(frozen=True)
class LinearModel:
    """Weights for features as they came.

    Attributes:
        weights: (d, K).
        intercepts: (K,).
        l2: The penalty.
        objective: The minimum that was reached, penalty and all.
        steps: Evaluations of the objective that it took.
    """

    weights: Floats
    intercepts: Floats
    l2: float
    objective: float
    steps: int

    def predict(self, rows: Rows) -> Integers:
        """Class of each row."""
        weights, intercepts = self.weights.astype(rows.dtype), self.intercepts.astype(rows.dtype)
        return np.asarray(np.argmax(rows @ weights + intercepts, axis=1), dtype=np.int64)


class _Problem:
    """Rotated features with their labels: what every penalty of a path shares."""

    def __init__(self, rows: Rows, labels: Integers, classes: int, weights: Floats | None) -> None:
        single = 1.0 * len(rows) * rows.shape[1] * classes > _SINGLE_ABOVE
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.mean = rows.mean(axis=0, dtype=np.float64)
        centred = (rows - self.mean).astype(self.dtype)
        covariance = (centred.T @ centred).astype(np.float64) / len(rows)
        self.scale = max(float(np.sqrt(np.trace(covariance) / rows.shape[1])), 1e-30)
        covariance /= self.scale**2
        eigenvalues, self.basis = np.linalg.eigh(covariance)
        self.eigenvalues = np.maximum(eigenvalues, 0)
        self.rotated = centred @ (self.basis / self.scale).astype(self.dtype)
        self.labels, self.classes = labels, classes
        row_weights = np.ones(len(rows)) if weights is None else weights
        self.row_weights = (row_weights / row_weights.sum()).astype(self.dtype)

    def loss(self, weights: Floats, intercepts: Floats) -> tuple[float, Floats, Floats, float]:
        """Mean loss, its gradients by weights and intercepts, and mean p(1 - p)."""
        W, b = weights.astype(self.dtype), intercepts.astype(self.dtype)
        total, curvature = 0.0, 0.0
        gradient = np.zeros(weights.shape, dtype=self.dtype)
        slope = np.zeros(self.classes)
        for start in range(0, len(self.rotated), _ROWS):
            part = slice(start, start + _ROWS)
            rows, w = self.rotated[part], self.row_weights[part]
            own = (np.arange(len(rows)), self.labels[part])
            p = rows @ W
            p += b
            p -= p.max(axis=1, keepdims=True)
            picked = p[own]
            np.exp(p, out=p)
            sums = p.sum(axis=1)
            total += float(np.dot(w, np.log(sums) - picked))
            p *= (1 / sums)[:, None]
            curvature += float(np.dot(w, 1 - np.einsum("ij,ij->i", p, p)))
            p[own] -= 1
            p *= w[:, None]
            gradient += rows.T @ p
            slope += p.sum(axis=0)
        return total, gradient.astype(np.float64), slope, curvature / self.classes

    def solve(
        self, l2: float, W: Floats, b: Floats, tolerance: float
    ) -> tuple[Any, Floats, Floats]:
        """The optimum from a start, in rotated weights: what scipy says, weights, intercepts."""
        d = len(W)
        curvature = max(self.loss(W, b)[3], 1e-6)
        scale = np.sqrt(1 / (curvature * np.append(self.eigenvalues, 1) + np.append([l2] * d, 0)))

        def value(flat: Floats) -> tuple[float, Floats]:
            U = flat.reshape(d + 1, self.classes) * scale[:, None]
            loss, by_weights, by_intercepts, _ = self.loss(U[:d], U[d])
            gradient = np.vstack([by_weights + l2 * U[:d], by_intercepts]) * scale[:, None]
            return loss + l2 / 2 * float(np.vdot(U[:d], U[:d])), gradient.ravel()

        start = (np.vstack([W, b]) / scale[:, None]).ravel()
        # In single precision the objective itself is known to 1e-7 only.
        least = max(tolerance**2, 1e-7 if self.dtype == np.float32 else 0)
        options: Any = {"gtol": tolerance, "ftol": least, "maxiter": 500, "maxcor": 10}
        found: Any = minimize(value, start, jac=True, method="L-BFGS-B", options=options)
        U = found.x.reshape(d + 1, self.classes) * scale[:, None]
        return found, U[:d], U[d]

    def model(self, found: Any, W: Floats, b: Floats, l2: float) -> LinearModel:
        """The weights for features as they came."""
        weights = self.basis @ W / self.scale
        return LinearModel(weights, b - self.mean @ weights, l2, float(found.fun), int(found.nfev))


def linear_path(
    rows: Rows,
    labels: Integers,
    classes: int,
    path: Sequence[float],
    *,
    weights: Floats | None = None,
    tolerance: float = 1e-4,
) -> Iterator[LinearModel]:
    """The optimum at each penalty, the strongest first whatever order they come in.

    Args:
        rows: (N, d) features.
        labels: (N,) classes 0..classes-1.
        classes: K.
        path: Penalties, each above 0.
        weights: (N,) weights of the rows; None weighs each the same.
        tolerance: Of the largest slope in scaled weights, where the Hessian is about 1; the
            objective is then within about (number of weights) tolerance^2 / 2 of its minimum.

    Example:
        >>> rows = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> models = list(linear_path(rows, np.array([0, 0, 1, 1]), 2, [1.0, 0.01]))
        >>> models[-1].predict(rows).tolist()
        [0, 0, 1, 1]
    """
    problem = _Problem(rows, labels, classes, weights)
    W: Floats = np.zeros((rows.shape[1], classes))
    b: Floats = np.zeros(classes)
    solved: list[tuple[float, Floats, Floats]] = []
    for l2 in sorted(path, reverse=True):
        if len(solved) == 2 and solved[0][0] > solved[1][0] > l2:
            # On along the path, as if weights went with log(l): a third of the steps.
            (l0, W0, b0), (l1, W1, b1) = solved
            ahead = np.log(l1 / l2) / np.log(l0 / l1)
            W, b = W1 + ahead * (W1 - W0), b1 + ahead * (b1 - b0)
        found, W, b = problem.solve(l2, W, b, tolerance)
        solved = [*solved[-1:], (l2, W, b)]
        yield problem.model(found, W, b, l2)


def fit_linear(
    rows: Rows,
    labels: Integers,
    classes: int,
    start: LinearModel,
    *,
    weights: Floats | None = None,
    tolerance: float = 1e-4,
) -> LinearModel:
    """The optimum at the penalty of another model (fitted on fewer rows, say), from its weights."""
    problem = _Problem(rows, labels, classes, weights)
    W: Floats = problem.basis.T @ start.weights * problem.scale
    b = start.intercepts + problem.mean @ start.weights
    found, W, b = problem.solve(start.l2, W, b, tolerance)
    return problem.model(found, W, b, start.l2)
