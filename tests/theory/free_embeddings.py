"""Free unit vectors that minimise the expected SupCL loss, with a proof of how good they are.

Two routes to the optimum, neither of which uses a formula of the theory:

`minimise`: L-BFGS over all N unit vectors from several random starts; then the Gram matrix is
averaged over the permutations of views, instances within a class (the expected loss is convex in
the Gram matrix and invariant, so averaging cannot raise it) and polished in the averaged variables
by Newton's method, because L-BFGS is slow where the Hessian degenerates (at the thresholds).

`minimise_symmetric`: the second half alone, from random averaged Gram matrices.

`free_gram.duality_gap` proves how far either is from the optimum of all feasible Gram matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from free_averaged import Averaged, from_gram, newton
from free_gram import duality_gap, gram_loss
from free_problem import (
    Problem,
    batches,
    dense_loss,
    expected_loss,
    naive_loss,
)
from scipy.optimize import minimize

__all__ = [
    "Optimum",
    "Problem",
    "batches",
    "dense_loss",
    "duality_gap",
    "expected_loss",
    "gram_loss",
    "minimise",
    "minimise_symmetric",
    "naive_loss",
    "optimum_of",
]


@dataclass(frozen=True)
class Optimum:
    """The optimum found, averaged over orbits, and how sure it is."""

    loss: float
    gap: float  # proven: loss - min loss <= gap (up to rounding)
    within: tuple[float, ...]  # per class, 1 - |class mean|^2 = instance + view
    instance: tuple[float, ...]
    view: tuple[float, ...]
    between: float  # mean_c |mu_c|^2 - |mean_c mu_c|^2
    s: tuple[float | None, ...]  # cosine of two views of one instance; None for one view
    a: tuple[float | None, ...]  # cosine of two instances of one class; None for one instance
    b: np.ndarray  # (m, m) inner products of class means; the diagonal is 1 - within
    gram: np.ndarray  # (N, N)
    free_loss: float | None = None  # where L-BFGS over free vectors ended
    free_gradient: float | None = None  # its gradient norm on the sphere


def optimum_of(averaged: Averaged, x: np.ndarray) -> Optimum:
    """What the class vectors x say, with the duality gap over all Gram matrices."""
    problem = averaged.problem
    vectors = x.reshape(averaged.m, -1)
    view, instance, C = vectors[:, 0] ** 2, vectors[:, 1] ** 2, vectors[:, 2:]
    B = C @ C.T
    G = averaged.gram(x)
    theta = dict(zip(averaged.names, averaged.theta(x).tolist(), strict=True))
    return Optimum(
        loss=gram_loss(G, problem)[0],
        gap=duality_gap(G, problem),
        within=tuple((view + instance).tolist()),
        instance=tuple(instance.tolist()),
        view=tuple(view.tolist()),
        between=float(np.trace(B) / averaged.m - B.mean()),
        s=tuple(theta["s", c, c] if problem.views > 1 else None for c in range(averaged.m)),
        a=tuple(theta["a", c, c] if n > 1 else None for c, n in enumerate(problem.counts)),
        b=B,
        gram=G,
    )


def _best(candidates: list[Optimum]) -> Optimum:
    """The lowest loss; among losses that rounding cannot tell apart the best proven one."""
    lowest = min(optimum.loss for optimum in candidates)
    near = [o for o in candidates if o.loss <= lowest + 1e-10 * max(1.0, abs(lowest))]
    return min(near, key=lambda optimum: optimum.gap)


def minimise_symmetric(problem: Problem, *, seed: int = 0, starts: int = 2) -> Optimum:
    """The optimum over orbit-averaged Gram matrices, which is the optimum over all."""
    generator = np.random.default_rng(seed)
    averaged = Averaged(problem)
    size = averaged.m * (averaged.m + 2)
    found = [newton(averaged, generator.standard_normal(size)) for _ in range(starts)]
    return _best([optimum_of(averaged, x) for x in found])


def minimise(
    problem: Problem, *, d: int | None = None, seed: int = 0, starts: int = 1, polish: bool = True
) -> Optimum:
    """The optimum over N free unit vectors in R^d (d >= N for a proven one; default N)."""
    N = sum(problem.counts) * problem.views
    d = N if d is None else d
    generator = np.random.default_rng(seed)

    def sphere_loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        raw = flat.reshape(N, d)
        length = np.linalg.norm(raw, axis=1, keepdims=True)
        Z = raw / length
        value, C = gram_loss(Z @ Z.T, problem)
        gradient = 2 * C @ Z
        gradient -= (gradient * Z).sum(1, keepdims=True) * Z
        return value, (gradient / length).ravel()

    runs = [_lbfgs(sphere_loss, generator.standard_normal(N * d)) for _ in range(starts)]
    value, gradient, flat = min(runs, key=lambda run: run[0])
    Z = flat.reshape(N, d) / np.linalg.norm(flat.reshape(N, d), axis=1, keepdims=True)
    averaged = Averaged(problem)
    x = from_gram(Z @ Z.T, problem)
    optimum = optimum_of(averaged, newton(averaged, x) if polish and d >= N else x)
    return Optimum(**{**vars(optimum), "free_loss": value, "free_gradient": gradient})


def _lbfgs(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray
) -> tuple[float, float, np.ndarray]:
    answer = minimize(
        function,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 4000, "maxfun": 6000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-11},
    )
    return float(answer.fun), float(np.linalg.norm(answer.jac)), answer.x
