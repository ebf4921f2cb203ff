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

from uncollapse.theory._program import Array, Gradient, Point, Program, evaluate


def solve_factorised(program: Program, start: Point, iterations: int) -> Point:
    """Descend from a feasible point."""
    allowed = allowed_parts(program)
    length = np.sqrt(_influence(program, start))

    def unit_and_norm(raw: Array) -> tuple[Array, Array]:
        vectors = np.where(allowed, raw.reshape(allowed.shape), 0.0)
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / norm, norm

    def descend(raw: Array) -> tuple[float, Array]:
        unit, norm = unit_and_norm(raw)
        loss, gradient = evaluate(program, from_factor(unit))
        slope = np.where(allowed, by_vector(unit, gradient), 0.0)
        slope -= unit * (unit * slope).sum(1, keepdims=True)
        return loss, (slope / norm).ravel()

    answer = minimize(
        descend,
        (unit_and_norm(to_factor(start))[0] * length[:, None]).ravel(),
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
    return from_factor(unit_and_norm(answer.x)[0])


def allowed_parts(program: Program) -> Any:
    """Which coordinates of the vectors may differ from zero, (G, G + 3)."""
    allowed = np.ones((program.blocks, program.blocks + 3), dtype=bool)
    allowed[:, -3] = program.multiplicity > 1
    allowed[:, -2] = program.size > 1
    allowed[:, -1] = program.views > 1
    return allowed


def from_factor(unit: Array) -> Point:
    """The point of unit vectors, (G, G + 3)."""
    columns = unit[:, :-3]
    return Point(unit[:, -1] ** 2, unit[:, -2] ** 2, unit[:, -3] ** 2, columns @ columns.T)


def to_factor(point: Point) -> Array:
    """Raw vectors of a point, moved off the faces nu = 0, iota = 0, mu = 0 and rank H < G.

    There the derivative by the factor is zero whatever the loss, so descent could not leave them.
    """
    values, vectors = np.linalg.eigh(point.means)
    squares = np.stack([point.member, point.instance, point.view], axis=1)
    columns = vectors * np.sqrt(np.maximum(values, 1e-4))
    return np.hstack([columns, np.sqrt(np.maximum(squares, 1e-4))])


def by_vector(unit: Array, gradient: Gradient) -> Array:
    """The derivative of the loss by the vectors; linear in both arguments."""
    fractions = np.stack([gradient.member, gradient.instance, gradient.view], axis=1)
    return np.hstack([2 * gradient.means @ unit[:, :-3], 2 * fractions * unit[:, -3:]])


def _influence(program: Program, point: Point) -> Array:
    """How much each block matters to the loss: its weight as anchor plus its pull as negative."""
    _, gradient = evaluate(program, point)
    weight = program.per_block(program.terms.weight) / program.temperature
    total = weight + np.abs(gradient.means).sum(1)
    return np.asarray(np.maximum(total / total.max(), 1e-12))
