"""A proven bound on the distance of a point to the global minimum.

For a convex F, any feasible x and the gradient C at x, F* >= F(x) + min over feasible z of
<C, z - x>. The inner problem is linear over {nu + iota + mu + H_gg = 1, all >= 0, H psd}; any
multipliers y_g <= the derivatives in nu, iota, mu bound it from below:

    gap = <C, x> - sum_g y_g + max(0, -lambda_min(R (C_H - diag y) R)) sum_g 1/R_g^2

for any scaling R > 0 (sum_g H_gg / R_g^2 is at most the last sum). No accuracy of the solver that
produced x is assumed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import eigvalsh

from uncollapse.theory.program import Gradient, Point, Program, evaluate

__all__ = ["certify", "restore"]

Array = np.ndarray[Any, np.dtype[np.float64]]


def restore(program: Program, point: Point) -> Point:
    """The nearest point along a line that satisfies every constraint exactly.

    Fractions are clipped and renormalised; H is mixed with its own diagonal, which keeps the
    diagonal, until it is positive semidefinite.
    """
    parts = [point.view, point.instance, point.member, np.diag(point.means)]
    view, instance, member, diagonal = (np.maximum(part, 0.0) for part in parts)
    if program.views == 1:
        view = np.zeros_like(view)
    instance = np.where(program.size > 1, instance, 0.0)
    member = np.where(program.multiplicity > 1, member, 0.0)
    total = view + instance + member + diagonal
    view, instance, member, diagonal = (x / total for x in (view, instance, member, diagonal))
    old = np.maximum(np.diag(point.means), 1e-300)
    root = np.sqrt(diagonal)
    correlation = point.means / np.sqrt(old)[:, None] / np.sqrt(old)
    np.fill_diagonal(correlation, 1.0)
    lowest = float(eigvalsh(correlation, subset_by_index=[0, 0])[0])
    if lowest < 0:
        correlation = correlation / (1 - lowest)
        np.fill_diagonal(correlation, 1.0)
    return Point(view, instance, member, correlation * root[:, None] * root)


def certify(program: Program, point: Point) -> tuple[float, float]:
    """The loss at a feasible point and the bound on loss minus global minimum, both in nats."""
    loss, gradient = evaluate(program, point)
    return loss, _gap(program, point, gradient)


def _gap(program: Program, point: Point, gradient: Gradient) -> float:
    C, H = gradient.means, point.means
    attained = (
        float((C * H).sum())
        + float(gradient.view @ point.view)
        + float(gradient.instance @ point.instance)
        + float(gradient.member @ point.member)
    )
    y = _multipliers(program, point, gradient)
    dual = C - np.diag(y)
    weight = program.per_block(program.terms.weight)
    weight = np.maximum(weight, 1e-9 * weight.max())
    gaps = []
    for scale in (weight, np.ones_like(weight)):
        root = 1 / np.sqrt(scale)
        lowest = float(eigvalsh(dual * root[:, None] * root, subset_by_index=[0, 0])[0])
        gaps.append(attained - float(y.sum()) + max(0.0, -lowest) * float(scale.sum()))
    return max(0.0, min(gaps))


def _multipliers(program: Program, point: Point, gradient: Gradient) -> Array:
    """y by block: at an optimum the derivative in every fraction that is not zero.

    Taken from the largest fraction, which rounding disturbs least; for H_gg it follows from
    (C_H - diag y) H = 0. Then lowered to what the bound allows.
    """
    diagonal = np.diag(point.means)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = (gradient.means * point.means).sum(1) / diagonal
    fractions = np.stack([diagonal, point.view, point.instance, point.member])
    derivatives = np.stack([means, gradient.view, gradient.instance, gradient.member])
    largest = np.argmax(fractions, axis=0)
    y = np.take_along_axis(derivatives, largest[None], axis=0)[0]
    for allowed, limit in (
        (program.views > 1, gradient.view),
        (program.size > 1, gradient.instance),
        (program.multiplicity > 1, gradient.member),
    ):
        y = np.where(allowed, np.minimum(y, limit), y)
    return np.asarray(y)
