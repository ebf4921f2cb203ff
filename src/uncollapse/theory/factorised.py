"""The optimum of any `Program` by descent on factors of the Gram matrix.

H = C C' with as many columns as blocks, and each block's fractions are squares of the coordinates
of one unit vector (C_g, sqrt(mu_g), sqrt(iota_g), sqrt(nu_g)): an unconstrained smooth problem
without spurious minima (the factor has full rank). It needs no assumption on the multipliers and
converges linearly only: for averages over many batches, whose terms make second derivatives dear.

The loss does not change with the length of a block's raw vector, but its gradient does, inversely:
lengths of sqrt(influence on the loss) make blocks of very different weight equally stiff.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

from uncollapse.theory.program import Point, Program, evaluate

__all__ = ["from_factor", "solve_factorised", "to_factor"]

Array = np.ndarray[Any, np.dtype[np.float64]]


def solve_factorised(program: Program, start: Point, iterations: int) -> Point:
    """Descend from a feasible point."""
    G = program.blocks
    allowed = np.ones((G, G + 3), dtype=bool)
    allowed[:, G] = program.multiplicity > 1
    allowed[:, G + 1] = program.size > 1
    allowed[:, G + 2] = program.views > 1
    length = np.sqrt(_influence(program, start))

    def descend(raw: Array) -> tuple[float, Array]:
        vectors = np.where(allowed, raw.reshape(G, G + 3), 0.0)
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = vectors / norm
        loss, gradient = evaluate(program, from_factor(unit))
        slope = np.empty_like(unit)
        slope[:, :G] = 2 * gradient.means @ unit[:, :G]
        slope[:, G] = 2 * unit[:, G] * gradient.member
        slope[:, G + 1] = 2 * unit[:, G + 1] * gradient.instance
        slope[:, G + 2] = 2 * unit[:, G + 2] * gradient.view
        slope = np.where(allowed, slope, 0.0)
        slope -= unit * (unit * slope).sum(1, keepdims=True)
        return loss, (slope / norm).ravel()

    raw = np.where(allowed, to_factor(start), 0.0)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    answer = minimize(
        descend,
        (raw * length[:, None]).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": iterations,
            "maxfun": 2 * iterations,
            "maxcor": 30,
            "ftol": 0,
            "gtol": 1e-13,
        },
    )
    vectors = np.where(allowed, answer.x.reshape(G, G + 3), 0.0)
    return from_factor(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def from_factor(unit: Array) -> Point:
    """The point of unit vectors, (G, G + 3)."""
    G = len(unit)
    return Point(
        unit[:, G + 2] ** 2, unit[:, G + 1] ** 2, unit[:, G] ** 2, unit[:, :G] @ unit[:, :G].T
    )


def to_factor(point: Point) -> Array:
    """Raw vectors of a point, moved off the faces nu = 0, iota = 0, mu = 0 and rank H < G.

    There the derivative by the factor is zero whatever the loss, so descent could not leave them.
    """
    values, vectors = np.linalg.eigh(point.means)
    columns: Array = vectors * np.sqrt(np.maximum(values, 1e-4))
    squares = np.stack([point.member, point.instance, point.view], axis=1)
    fractions: Array = np.sqrt(np.maximum(squares, 1e-4))
    return np.hstack([columns, fractions])


def _influence(program: Program, point: Point) -> Array:
    """How much each block matters to the loss: its weight as anchor plus its pull as negative."""
    _, gradient = evaluate(program, point)
    weight = program.per_block(program.terms.weight) / program.temperature
    pull = np.abs(gradient.means).sum(1)
    total = weight + pull
    influence: Array = np.maximum(total / total.max(), 1e-12)
    return influence
