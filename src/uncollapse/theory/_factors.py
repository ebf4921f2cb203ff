"""The optimum of a `Program` by descent on factors of the Gram matrix.

H = C C' with as many columns as blocks, and each block's fractions are squares of the coordinates
of one unit vector x_g = (C_g, sqrt(mu_g), sqrt(iota_g), sqrt(nu_g)): an unconstrained smooth
problem without spurious minima (the factor has full rank), without assumption on the multipliers.

`solve_factorised` converges linearly only: for averages over many batches, whose terms make second
derivatives dear. The loss does not change with the length of a block's raw vector, but its gradient
does, inversely: lengths of sqrt(influence on the loss) make blocks of very different weight equally
stiff.

`solve_by_newton` is for one term per block, where the multiplier has a higher rank than in
`_rank_one`. With E the derivative of the loss by x and y_g = x_g . E_g / 2 the price of a block's
norm, the second derivative on the spheres is X -> P (dE[X] - 2 y X), P the projection onto their
tangents. Steps are those of a trust region by preconditioned conjugate gradients (Steihaug 1983; on
manifolds Absil, Baker, Gallivan 2007, doi:10.1007/s10208-005-0179-9). Turning the columns of C
leaves H as it is; steps keep clear of that (`_model`), since the model does not feel it while the
loss, in fourth order, does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from uncollapse.theory._program import Array, Gradient, Point, Program, curvature, evaluate

Map = Callable[[Array], Array]

# Of the loss, relative to max(1, |loss|): a gain below this is rounding.
LOSS_ROUNDING = 1e-14
# Columns of C smaller than this, of an even share, are taken to be that large.
FLATTEST = 1e-6
# Steps of a trust region at most (20 to 100 are usual), and of one descent: few blocks are cheap,
# and at small tau they may need many.
NEWTON_STEPS = 300
FEW_BLOCKS, MANY_STEPS, STEPS = 32, 20_000, 3_000
# Conjugate gradients of one step at most, and the part of the residual that they leave: the loss
# above its minimum falls by about ten a step, whatever the accuracy.
MOST_INNER, INNER_ACCURACY = 400, 0.1


def solve_factorised(program: Program, start: Point) -> Point:
    """Descend from a feasible point."""
    allowed = _allowed(program)
    raw = np.where(allowed, _to_factor(start), 0.0)
    # A block's influence on the loss: its weight as anchor plus its pull as negative.
    influence = program.per_block(program.terms.weight) / program.temperature
    influence += np.abs(evaluate(program, start)[1].means).sum(1)
    length = np.sqrt(np.maximum(influence / influence.max(), 1e-12))[:, None]
    steps = MANY_STEPS if program.blocks <= FEW_BLOCKS else STEPS

    def descend(flat: Array) -> tuple[float, Array]:
        vectors = np.where(allowed, flat.reshape(allowed.shape), 0.0)
        unit, norm = _unit(vectors), np.linalg.norm(vectors, axis=1, keepdims=True)
        loss, gradient = evaluate(program, from_factor(unit))
        slope = _tangent(unit, np.where(allowed, _by_vector(unit, gradient), 0.0))
        return loss, (slope / norm).ravel()

    answer = minimize(
        descend,
        (_unit(raw) * length).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxfun": 2 * steps, "maxcor": 30, "ftol": 0, "gtol": 1e-13},
    )
    return from_factor(_unit(np.where(allowed, answer.x.reshape(allowed.shape), 0.0)))


def _allowed(program: Program) -> Any:
    """Which coordinates of the vectors may differ from zero, (G, G + 3)."""
    return np.hstack([np.ones((program.blocks,) * 2, dtype=bool), program.allowed[::-1].T])


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def from_factor(unit: Array) -> Point:
    """The point of unit vectors, (G, G + 3)."""
    columns = unit[:, :-3]
    return Point(np.square(unit[:, :-4:-1].T, order="C"), columns @ columns.T)


def _to_factor(point: Point) -> Array:
    """Raw vectors of a point, moved off the faces nu = 0, iota = 0, mu = 0 and rank H < G.

    There the derivative by the factor is zero whatever the loss, so descent could not leave them.
    """
    values, vectors = np.linalg.eigh(point.means)
    columns = vectors * np.sqrt(np.maximum(values, 1e-4))
    return np.hstack([columns, np.sqrt(np.maximum(point.fractions[::-1].T, 1e-4))])


def _by_vector(unit: Array, gradient: Gradient) -> Array:
    """The derivative of the loss by the vectors; linear in both arguments."""
    by_fraction = gradient.fractions[::-1].T
    return np.hstack([2 * gradient.means @ unit[:, :-3], 2 * by_fraction * unit[:, -3:]])


class _Place(NamedTuple):
    """Unit vectors (G, G + 3) and what the loss is around them."""

    unit: Array
    loss: float
    gradient: Gradient
    slope: Array
    price: Array


def solve_by_newton(
    program: Program, start: Point, enough: Callable[[Point], bool] | None = None
) -> Point:
    """Descend from a feasible point until only rounding is left, or until a point is enough."""
    allowed = _allowed(program)
    place = _place(program, np.where(allowed, _to_factor(start), 0.0))
    place, condition, second = _model(program, place, allowed)
    rounding = LOSS_ROUNDING * max(1.0, abs(place.loss))
    # As long as the step that the stand-in takes for the best.
    radius = float(np.sqrt((place.slope * condition(place.slope)).sum()))
    for _ in range(NEWTON_STEPS):
        step, predicted, at_edge = _steihaug(place.slope, second, condition, radius)
        ahead = _place(program, place.unit + step)
        ratio = (place.loss - ahead.loss + rounding) / (predicted + rounding)
        if ratio < 0.25:
            radius /= 4
        elif ratio > 0.75 and at_edge:
            radius *= 2
        if ratio > 0.1:
            place = ahead
            if predicted < rounding or (enough and enough(from_factor(place.unit))):
                break
            place, condition, second = _model(program, place, allowed)
    return from_factor(place.unit)


def _place(program: Program, vectors: Array) -> _Place:
    """The point of vectors of any length."""
    unit = _unit(vectors)
    loss, gradient = evaluate(program, from_factor(unit))
    slope = _by_vector(unit, gradient)
    price = (unit * slope).sum(1) / 2
    return _Place(unit, loss, gradient, slope - 2 * price[:, None] * unit, price)


def _model(program: Program, place: _Place, allowed: Any) -> tuple[_Place, Map, Map]:
    """The place with columns turned, the inverse of a stand-in for the second derivative, and it.

    With Z = C_H - diag y the multiplier and d the pull of a block, the matrices d^1/2 H d^1/2 and
    d^-1/2 Z d^-1/2 have the eigenvectors V in common at the optimum, where Z H = 0; elsewhere V are
    those of their difference. V' d^1/2 C is turned to be symmetric, so nearly diagonal.

    With X = d^-1/2 V Y, z the bend of Z along V and c the size of the columns, the stand-in is

        2 sum_kl z_k Y_kl^2 + sum_kl (Y_kl c_l + c_k Y_lk)^2

    Turning, Y = diag(c) A with A skew, is what it cannot see where z = 0. So Y = S diag(c) with S
    symmetric, on which the stand-in is diagonal.
    """
    G, gradient = program.blocks, place.gradient
    pull = _pressure(program, gradient) / program.temperature
    # At small tau other classes' pull may underflow to zero.
    most = max(pull.max(), np.abs(place.price).max(), 1e-100)
    pull = np.maximum(pull, 1e-12 * most)
    root = np.sqrt(pull)[:, None]
    columns = root * place.unit[:, :G] / np.sqrt(pull.sum())
    dual = (gradient.means - np.diag(place.price)) / root / root.T
    _, vectors = np.linalg.eigh(columns @ columns.T - dual)
    left, size, right = np.linalg.svd(vectors.T @ columns)
    turn = right.T @ left.T
    unit, slope = place.unit.copy(), place.slope.copy()
    unit[:, :G], slope[:, :G] = unit[:, :G] @ turn, slope[:, :G] @ turn
    size = np.maximum(left**2 @ size, np.sqrt(FLATTEST / G))
    cross = np.outer(np.abs((vectors * (dual @ vectors)).sum(0)), size**2)
    stiffness = 2 * (cross + cross.T + ((size**2)[:, None] + size**2) ** 2)
    frame = vectors / root
    by_fraction = gradient.fractions[::-1].T
    own = 2 * (np.abs(by_fraction - place.price[:, None]) + pull[:, None])

    def condition(move: Array) -> Array:
        pulled = (frame.T @ move[:, :G]) * size
        columns = frame @ ((pulled + pulled.T) / stiffness * size)
        whole = np.hstack([columns, move[:, G:] / own])
        return _tangent(unit, np.where(allowed, whole, 0.0))

    along = curvature(program, from_factor(unit))

    def second(move: Array) -> Array:
        """The second derivative on the spheres, a map of tangent vectors."""
        means = move[:, :G] @ unit[:, :G].T
        fractions = (2 * unit[:, G:] * move[:, G:]).T[::-1]
        change = along(Point(fractions, means + means.T))
        turned = _by_vector(unit, change) + _by_vector(move, gradient)
        return _tangent(unit, np.where(allowed, turned - 2 * place.price[:, None] * move, 0.0))

    return place._replace(unit=unit, slope=slope), condition, second


def _pressure(program: Program, gradient: Gradient) -> Array:
    """What the denominators alone make of the derivative by the means, summed by block."""
    pressure, across = gradient.means, program.terms.across
    if across is not None:
        pressure = pressure + (across + across.T) / (2 * program.temperature)
    return np.asarray(pressure.sum(1))


def _tangent(unit: Array, move: Array) -> Array:
    return np.asarray(move - (unit * move).sum(1, keepdims=True) * unit)


def _steihaug(
    slope: Array, second: Map, condition: Map, radius: float
) -> tuple[Array, float, bool]:
    """A step that lowers the quadratic model, its gain, and whether it ends at the radius.

    The radius is one of the norm that `condition` is the inverse of; inner products in that norm
    follow by recurrence, so the norm itself is never computed.
    """
    step, left = np.zeros_like(slope), slope
    ahead = condition(left)
    energy = first = float((left * ahead).sum())
    if first <= 0:
        return step, 0.0, False
    way = -ahead
    gain, step_step, step_way, way_way = 0.0, 0.0, 0.0, energy
    for _ in range(MOST_INNER):
        turned = second(way)
        bend = float((way * turned).sum())
        length = energy / bend if bend > 0 else np.inf
        if bend <= 0 or step_step + length * (2 * step_way + length * way_way) >= radius**2:
            root = np.sqrt(step_way**2 + way_way * (radius**2 - step_step))
            length = (root - step_way) / way_way
            return step + length * way, gain + length * (energy - length * bend / 2), True
        step = step + length * way
        gain += length * energy / 2
        step_step += length * (2 * step_way + length * way_way)
        left = left + length * turned
        ahead = condition(left)
        before, energy = energy, float((left * ahead).sum())
        if energy <= first * INNER_ACCURACY**2:
            break
        factor = energy / before
        step_way = factor * (step_way + length * way_way)
        way_way = energy + factor**2 * way_way
        way = factor * way - ahead
    return step, gain, False
