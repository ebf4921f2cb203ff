"""A feasible point, its loss, and a proven bound on the distance to the global minimum.

For a convex F, any feasible x and the gradient C at x, F* >= F(x) + min over feasible z of
<C, z - x>. The inner problem is linear over {nu + iota + mu + H_gg = 1, all >= 0, H psd}; any
multipliers y_g <= the derivatives in nu, iota, mu bound it from below:

    gap = <C, x> - sum_g y_g + max(0, -lambda_min(R (C_H - diag y) R)) sum_g 1/R_g^2

for any scaling R > 0 (sum_g H_gg / R_g^2 is at most the last sum). No accuracy of the solver that
produced x is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigvalsh

from uncollapse.theory._program import Array, Gradient, Point, Program, evaluate


@dataclass(frozen=True)
class Solution:
    """A feasible point, its loss, and the proven bound on loss minus minimum, relative.

    `multipliers` are those of `_conditions`, (2, G), where they were solved for.
    """

    point: Point
    loss: float
    gap: float
    multipliers: Array | None = None

    def moved(self, before: float, temperature: float) -> Solution:
        """Where to begin at another temperature: the same point, multipliers to match."""
        if self.multipliers is None:
            return self
        theta, log_d = self.multipliers
        colder = 1 / temperature - 1 / before
        theta = theta - (colder + np.log(temperature / before)) / 2
        return replace(self, multipliers=np.stack([theta, log_d + colder]))


def certified(program: Program, point: Point, multipliers: Array | None = None) -> Solution:
    """The nearest feasible point with its loss and relative gap."""
    feasible = restore(program, point)
    loss, gap = certify(program, feasible)
    return Solution(feasible, loss, gap / max(1.0, abs(loss)), multipliers)


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
    attained = (
        float((gradient.means * point.means).sum())
        + float(gradient.view @ point.view)
        + float(gradient.instance @ point.instance)
        + float(gradient.member @ point.member)
    )
    y = _multipliers(program, point, gradient)
    dual = gradient.means - np.diag(y)
    weight = program.per_block(program.terms.weight)
    weight = np.maximum(weight, 1e-9 * weight.max())
    gaps = []
    for scale in (weight, np.ones_like(weight)):
        root = 1 / np.sqrt(scale)
        lowest = float(eigvalsh(dual * root[:, None] * root, subset_by_index=[0, 0])[0])
        gaps.append(attained - float(y.sum()) + max(0.0, -lowest) * float(scale.sum()))
    return loss, max(0.0, min(gaps))


def _mean_price(point: Point, gradient: Gradient) -> Array:
    """Price of norm by block from (C_H - diag y) H = 0; not finite where H_gg = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((gradient.means * point.means).sum(1) / np.diag(point.means))


def _multipliers(program: Program, point: Point, gradient: Gradient) -> Array:
    """y by block: at an optimum the derivative in every fraction that is not zero.

    Taken from the largest fraction, which rounding disturbs least. Then lowered to what the bound
    allows.
    """
    fractions = np.stack([np.diag(point.means), point.view, point.instance, point.member])
    derivatives = np.stack(
        [_mean_price(point, gradient), gradient.view, gradient.instance, gradient.member]
    )
    largest = np.argmax(fractions, axis=0)
    y = np.take_along_axis(derivatives, largest[None], axis=0)[0]
    for allowed, limit in (
        (program.views > 1, gradient.view),
        (program.size > 1, gradient.instance),
        (program.multiplicity > 1, gradient.member),
    ):
        y = np.where(allowed, np.minimum(y, limit), y)
    return np.asarray(y)


def margins(program: Program, point: Point) -> Array:
    """How far each block is from the edge of collapse: above 0 spread, below 0 collapsed, (G,).

    Spread: the instance fraction iota. Collapsed: the negative fraction that would make its
    condition an equality, (tau/kappa) log(W A / (S - tau y/kappa)) / (1 - A), where A is the
    softmax share of the instances of the class, W A = S - tau C/kappa with C the derivative by
    iota, and y the price of norm; 1 - A, because the denominator falls with that share (A is near
    1 for large classes). Both agree at the edge, smoothly. nan where a class has one instance.
    """
    _, gradient = evaluate(program, point)
    unit = program.temperature / program.kappa
    supervised = program.per_block(program.terms.supervised)
    price = np.where(np.diag(point.means) > 1e-12, _mean_price(point, gradient), gradient.member)
    share = supervised - unit * gradient.instance
    needed = supervised - unit * price
    with np.errstate(divide="ignore", invalid="ignore"):
        wish = unit * np.log(np.maximum(share, 1e-300) / np.maximum(needed, 1e-300))
        wish /= np.maximum(1 - share / program.per_block(program.terms.weight), 1e-15)
    # At small tau the wish underflows to zero; where views split, their part says how far.
    margin = np.where(point.instance > 1e-7, point.instance, np.minimum(wish, 0.0) - point.view)
    return np.where(program.size > 1, margin, np.nan)
