"""The optimum of a `Program` with one term per block, by Newton's method on factors of H.

The smooth problem is that of `_factors`: unit vectors x_g = (C_g, sqrt(mu_g), sqrt(iota_g),
sqrt(nu_g)) with H = C C'. It serves where the multiplier has a higher rank than in `_rank_one`.

With E the derivative of the loss by x and y_g = x_g . E_g / 2 the price of a block's norm, the
second derivative on the spheres is X -> P (dE[X] - 2 y X), P the projection onto their tangents.
Steps are those of a trust region by preconditioned conjugate gradients (Steihaug 1983; on
manifolds Absil, Baker, Gallivan 2007, doi:10.1007/s10208-005-0179-9). Turning the columns of C
leaves H as it is; steps keep clear of that (`_conditioner`), since the model does not feel it
while the loss, in fourth order, does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from uncollapse.theory._factors import allowed_parts, by_vector, from_factor, to_factor
from uncollapse.theory._program import Array, Gradient, Point, Program, curvature, evaluate

Map = Callable[[Array], Array]

# Of the loss, relative to max(1, |loss|): a gain below this is rounding.
ROUNDING = 1e-14
# Columns of C smaller than this, of an even share, are taken to be that large.
FLATTEST = 1e-6
# Conjugate gradients of one step at most, and the part of the residual that they leave: the loss
# above its minimum falls by about ten a step, whatever the accuracy.
MOST_INNER, INNER_ACCURACY = 400, 0.1


@dataclass(frozen=True)
class _Place:
    """Unit vectors (G, G + 3) and what the loss is around them."""

    unit: Array
    loss: float
    gradient: Gradient
    slope: Array
    price: Array


@dataclass(frozen=True)
class _Frame:
    """Directions in which C and the multiplier of "H psd" are nearly diagonal together.

    Attributes:
        pull: Of each block on the others' cosines, over tau, (G,).
        vectors: d^-1/2 V, with C = d^-1/2 V diag(size) up to a factor, (G, G).
        size: Of the columns of C, (G,).
        bend: Of the multiplier along each direction, (G,).
    """

    pull: Array
    vectors: Array
    size: Array
    bend: Array


def solve_by_newton(program: Program, start: Point, most_steps: int) -> Point:
    """Descend from a feasible point until only rounding is left."""
    allowed = allowed_parts(program)
    place = _place(program, np.where(allowed, to_factor(start), 0.0))
    place, second, condition = _modelled(program, place, allowed)
    rounding = ROUNDING * max(1.0, abs(place.loss))
    # As long as the step that the stand-in takes for the best.
    radius = float(np.sqrt((place.slope * condition(place.slope)).sum()))
    for _ in range(most_steps):
        step, predicted, at_edge = _steihaug(place.slope, second, condition, radius)
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
            place, second, condition = _modelled(program, place, allowed)
    return from_factor(place.unit)


def _place(program: Program, vectors: Array) -> _Place:
    """The point of vectors of any length."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    loss, gradient = evaluate(program, from_factor(unit))
    slope = by_vector(unit, gradient)
    price = (unit * slope).sum(1) / 2
    return _Place(unit, loss, gradient, slope - 2 * price[:, None] * unit, price)


def _modelled(program: Program, place: _Place, allowed: Any) -> tuple[_Place, Map, Map]:
    """The place, columns turned, with its second derivative and the inverse of a stand-in."""
    place, frame = _framed(program, place)
    return place, _second(program, place, allowed), _conditioner(place, frame, allowed)


def _framed(program: Program, place: _Place) -> tuple[_Place, _Frame]:
    """The columns of C turned to a common frame with the multiplier Z = C_H - diag y.

    With d the pull of a block, the matrices d^1/2 H d^1/2 and d^-1/2 Z d^-1/2 have the
    eigenvectors V in common at the optimum, where Z H = 0; elsewhere V are those of their
    difference. V' d^1/2 C is turned to be symmetric, so nearly diagonal.
    """
    G, gradient = program.blocks, place.gradient
    pull = gradient.means.sum(1) / program.temperature
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
    bend = np.abs((vectors * (dual @ vectors)).sum(0))
    return replace(place, unit=unit, slope=slope), _Frame(pull, vectors / root, size, bend)


def _second(program: Program, place: _Place, allowed: Any) -> Map:
    """The second derivative on the spheres, as a map of tangent vectors."""
    G, unit = program.blocks, place.unit
    along = curvature(program, from_factor(unit))

    def second(move: Array) -> Array:
        means = move[:, :G] @ unit[:, :G].T
        member, instance, view = (2 * unit[:, G:] * move[:, G:]).T
        change = along(Point(view, instance, member, means + means.T))
        turned = by_vector(unit, change) + by_vector(move, place.gradient)
        return _tangent(unit, np.where(allowed, turned - 2 * place.price[:, None] * move, 0.0))

    return second


def _conditioner(place: _Place, frame: _Frame, allowed: Any) -> Map:
    """The inverse of a stand-in for the second derivative, on moves that do not turn C.

    With X = d^-1/2 V Y, z the bend and c the size of the frame's directions, that stand-in is

        2 sum_kl z_k Y_kl^2 + sum_kl (Y_kl c_l + c_k Y_lk)^2

    Turning, Y = diag(c) A with A skew, is what it cannot see where z = 0. So Y = S diag(c) with S
    symmetric, on which the stand-in is diagonal.
    """
    G, gradient, pull, size = len(frame.size), place.gradient, frame.pull, frame.size
    square = size**2
    cross = np.outer(frame.bend, square)
    stiffness = 2 * (cross + cross.T + (square[:, None] + square) ** 2)
    fractions = np.stack([gradient.member, gradient.instance, gradient.view], axis=1)
    own = 2 * (np.abs(fractions - place.price[:, None]) + pull[:, None])

    def condition(move: Array) -> Array:
        pulled = (frame.vectors.T @ move[:, :G]) * size
        columns = frame.vectors @ ((pulled + pulled.T) / stiffness * size)
        whole = np.hstack([columns, move[:, G:] / own])
        return _tangent(place.unit, np.where(allowed, whole, 0.0))

    return condition


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
