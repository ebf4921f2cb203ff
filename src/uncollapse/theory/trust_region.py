"""The optimum of a `Program` with one term per block, by Newton's method on factors of H.

The smooth problem is that of `factorised`: unit vectors x_g = (C_g, sqrt(mu_g), sqrt(iota_g),
sqrt(nu_g)) with H = C C'. It serves where the multiplier has a higher rank than `rank_one` assumes.

With E the derivative of the loss by x and y_g = x_g . E_g / 2 the price of a block's norm, the
second derivative on the spheres is X -> P (dE[X] - 2 y X), P the projection onto their tangents.
Steps are those of a trust region by preconditioned conjugate gradients (Steihaug 1983; on
manifolds Absil, Baker, Gallivan 2007, doi:10.1007/s10208-005-0179-9).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from uncollapse.theory.curvature import curvature
from uncollapse.theory.factorised import from_factor, to_factor
from uncollapse.theory.program import Gradient, Point, Program, evaluate

__all__ = ["solve_by_newton"]

Array = np.ndarray[Any, np.dtype[np.float64]]
Map = Callable[[Array], Array]

# Of the loss, relative to max(1, |loss|): a gain below this is rounding.
ROUNDING = 1e-14
# Columns of C smaller than this, of an even share, are taken to be that large.
FLATTEST = 1e-6
# Conjugate gradients of one step at most, and the part of the residual that they leave.
MOST_INNER, INNER_ACCURACY = 400, 1e-2


@dataclass(frozen=True)
class _Place:
    """Unit vectors (G, G + 3), columns of C orthogonal, and what the loss is around them."""

    unit: Array
    loss: float
    gradient: Gradient
    slope: Array
    price: Array


def solve_by_newton(program: Program, start: Point, most_steps: int) -> Point:
    """Descend from a feasible point until only rounding is left."""
    allowed = np.ones((program.blocks, program.blocks + 3), dtype=bool)
    allowed[:, -3] = program.multiplicity > 1
    allowed[:, -2] = program.size > 1
    allowed[:, -1] = program.views > 1
    place = _place(program, np.where(allowed, to_factor(start), 0.0))
    rounding = ROUNDING * max(1.0, abs(place.loss))
    model = _second(program, place, allowed), _conditioner(program, place, allowed)
    # As long as the step that the stand-in takes for the best.
    radius = float(np.sqrt((place.slope * model[1](place.slope)).sum()))
    for _ in range(most_steps):
        step, predicted, at_edge = _steihaug(place.slope, *model, radius)
        ahead = _place(program, place.unit + step)
        ratio = (place.loss - ahead.loss + rounding) / (predicted + rounding)
        if ratio < 0.25:
            radius /= 4
        elif ratio > 0.75 and at_edge:
            radius *= 2
        if ratio > 0.1:
            place = ahead
            if predicted < rounding:
                break
            model = _second(program, place, allowed), _conditioner(program, place, allowed)
    return from_factor(place.unit)


def _place(program: Program, vectors: Array) -> _Place:
    """The point of vectors of any length, which rotating the columns of C does not change."""
    G = program.blocks
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    _, _, axes = np.linalg.svd(unit[:, :G])
    unit[:, :G] = unit[:, :G] @ axes.T
    loss, gradient = evaluate(program, from_factor(unit))
    slope = _by_vector(unit, gradient)
    price = (unit * slope).sum(1) / 2
    return _Place(unit, loss, gradient, slope - 2 * price[:, None] * unit, price)


def _by_vector(unit: Array, gradient: Gradient) -> Array:
    """E, the derivative by the vectors; linear in both arguments."""
    G = len(unit)
    fractions = np.stack([gradient.member, gradient.instance, gradient.view], axis=1)
    return np.hstack([2 * gradient.means @ unit[:, :G], 2 * fractions * unit[:, G:]])


def _second(program: Program, place: _Place, allowed: Any) -> Map:
    """The second derivative on the spheres, as a map of tangent vectors."""
    G, unit = program.blocks, place.unit
    along = curvature(program, from_factor(unit))

    def second(move: Array) -> Array:
        means = move[:, :G] @ unit[:, :G].T
        member, instance, view = (2 * unit[:, G:] * move[:, G:]).T
        change = along(Point(view, instance, member, means + means.T))
        turned = _by_vector(unit, change) + _by_vector(move, place.gradient)
        return _tangent(unit, np.where(allowed, turned - 2 * place.price[:, None] * move, 0.0))

    return second


def _conditioner(program: Program, place: _Place, allowed: Any) -> Map:
    """The inverse of a stand-in for the second derivative.

    The part 2 (C_H - diag y), which acts on all columns of C alike, is kept. The rest is about
    2 d_g h_k on column k, with d the pull of a block over tau and h_k the size of the column. Both
    are diagonal in the eigenvectors of d^-1/2 (C_H - diag y) d^-1/2.
    """
    G, gradient = program.blocks, place.gradient
    pull = gradient.means.sum(1) / program.temperature
    # At small tau other classes' pull may underflow to zero.
    most = max(pull.max(), np.abs(place.price).max(), 1e-100)
    pull = np.maximum(pull, 1e-12 * most)
    size = pull @ place.unit[:, :G] ** 2 / pull.sum()
    size = np.maximum(size, FLATTEST / G)
    root = 1 / np.sqrt(pull)
    dual = (gradient.means - np.diag(place.price)) * root[:, None] * root
    values, vectors = np.linalg.eigh(dual)
    vectors = root[:, None] * vectors
    bend = 2 * (np.abs(values)[:, None] + size)
    fractions = np.stack([gradient.member, gradient.instance, gradient.view], axis=1)
    own = 2 * (np.abs(fractions - place.price[:, None]) + pull[:, None])

    def condition(move: Array) -> Array:
        columns = vectors @ ((vectors.T @ move[:, :G]) / bend)
        whole = np.hstack([columns, move[:, G:] / own])
        return _tangent(place.unit, np.where(allowed, whole, 0.0))

    return condition


def _tangent(unit: Array, move: Array) -> Array:
    on_sphere: Array = move - (unit * move).sum(1, keepdims=True) * unit
    return on_sphere


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
