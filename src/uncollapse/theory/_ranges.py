"""How far a variance may move while the loss stays within a part of a million of its minimum.

Where the loss hardly feels a variance its optimal value says little. For a variance q, linear in
the Gram matrix, over all embeddings,

    low, high = min, max of q(x)  subject to  F(x) <= F* + NEAR max(1, |F*|)

is a convex program too, with the same orbits: the same few numbers x, here the fractions and the
cosines of block means (H_gg is what the fractions leave). It is solved by a barrier method (Boyd
and Vandenberghe, Convex Optimization, 2004, chapter 11): Newton's method on

    t q(x) - log(F* + NEAR max(1, |F*|) - F(x)) - sum log fractions - log det H

for growing t. At its minimum x is feasible and q(x) is at most (number of barriers)/t from the end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from uncollapse.records import Range
from uncollapse.theory._program import Array, Point, Program, log
from uncollapse.theory._solve import Solution

# The loss may be this much above its minimum, relative to max(1, |loss|).
NEAR = 1e-6
# Beyond these a range takes seconds.
MANY_BLOCKS, MANY_NUMBERS = 8, 100_000
# An end is found to this part of its distance from the optimum, or to that number.
PART, SMALLEST = 1e-4, 1e-12
# Growth of t, steps for one t at most, and half the squared Newton decrement that is enough.
GROWTH, STEPS, DECREMENT = 30.0, 60, 1e-4
# Added to a second derivative with a diagonal of ones, which rounding may make singular.
ROUNDING = 1e-13


def feasible(program: Program) -> bool:
    """Whether ranges are computed at all."""
    return program.blocks <= MANY_BLOCKS and program.terms.others.size <= MANY_NUMBERS


def ranges_of(solution: Solution) -> dict[str, Any]:
    """Ranges of the mean variances over classes, by their names in a `Prediction`."""
    space, program = _space(solution), solution.program
    point = solution.point
    out: dict[str, Any] = {}
    for name, weights in _variances(program).items():
        slope = np.array([_product(weights, change) for change in space.changes])
        now = _product(weights, point)
        down, up = (
            min(_least(space, sign * slope), 0.0) if slope.any() else 0.0 for sign in (1, -1)
        )
        out[f"{name}_range"] = Range(min(max(0.0, now + down), 1.0), min(max(0.0, now - up), 1.0))
    return out


def _variances(program: Program) -> dict[str, Point]:
    """The weights of a point's numbers in each variance."""
    M = program.multiplicity / program.multiplicity.sum()
    none, nothing = np.zeros_like(M), np.zeros((len(M), len(M)))
    view, instance = np.stack([M, none, none]), np.stack([none, M, none])
    return {
        "view_variance": Point(view, nothing),
        "instance_variance": Point(instance, nothing),
        "within_class_variance": Point(view + instance, nothing),
        # 1 - within - |mean|^2, where 1 - within = mu + H_gg.
        "between_class_variance": Point(np.stack([none, none, M]), np.diag(M) - np.outer(M, M)),
    }


def _product(weights: Point, point: Point) -> float:
    fractions, means = weights
    return float((fractions * point.fractions).sum() + (means * point.means).sum())


class _Space(NamedTuple):
    """A program in the numbers x, X of them: allowed fractions first, then H_gh for g < h."""

    start: Array  # the optimum
    middle: Array  # a point well inside
    fractions: int  # how many of the numbers are fractions
    changes: list[Point]  # the point's change by each number
    means: Array  # H = means + moves . x, (G, G)
    moves: Array  # (G, G, X)
    cosines: Array  # (s_g, a_g, b_g1..b_gG) = cosines + jacobian . x, (G, 2 + G)
    jacobian: Array  # (G, 2 + G, X)
    counts: Array  # logarithms of how often each cosine stands in a denominator, (T, 2 + G)
    self_pair: float  # logarithm of what the anchor itself adds
    pulls: Array  # weights of the positives, (G, 2 + G), over tau
    program: Program
    lowest: float  # the loss at the optimum, without what no cosine changes
    width: float  # that it may rise by

    @property
    def barriers(self) -> int:
        """Each fraction, each dimension of H, and the loss."""
        return self.fractions + len(self.means) + 1


def _space(solution: Solution) -> _Space:
    program, point = solution.program, solution.point
    G, terms = program.blocks, program.terms
    allowed, pairs = np.flatnonzero(program.allowed.ravel()), np.triu_indices(G, 1)
    changes = []
    for number in range(len(allowed) + len(pairs[0])):
        unit = np.zeros(len(allowed) + len(pairs[0]))
        unit[number] = 1.0
        fractions, means = np.zeros((3, G)), np.zeros((G, G))
        fractions.ravel()[allowed], means[pairs] = np.split(unit, [len(allowed)])
        changes.append(Point(fractions, means + means.T - np.diag(fractions.sum(0))))
    origin = Point(np.zeros((3, G)), np.eye(G))
    cosines = np.column_stack(origin.cosines(program))
    jacobian = np.stack([np.column_stack(each.changes(program)) for each in changes], axis=-1)
    p = program.views
    counts = np.column_stack(
        [np.full(len(terms.own), p - 1), p * (terms.own - 1), p * terms.others]
    )
    alone = program.alone * program.self_share
    across = np.zeros((G, G)) if terms.across is None else terms.across
    space = _Space(
        start=np.concatenate([point.fractions.ravel()[allowed], point.means[pairs]]),
        middle=np.concatenate([np.full(len(allowed), 0.25), np.zeros(len(pairs[0]))]),
        fractions=len(allowed),
        changes=changes,
        means=origin.means,
        moves=np.stack([change.means for change in changes], axis=-1),
        cosines=cosines,
        jacobian=jacobian,
        counts=log(counts),
        self_pair=1 / program.temperature if program.include else -np.inf,
        pulls=np.column_stack([alone, program.pull, across]) / program.temperature,
        program=program,
        lowest=0.0,
        width=NEAR * max(1.0, abs(solution.loss)),
    )
    return space._replace(lowest=_rise(space, space.start)[0])


def _rise(space: _Space, x: Array) -> tuple[float, Array, Array]:
    """The loss above its minimum, its derivative and its second derivative by x."""
    program, tau, J = space.program, space.program.temperature, space.jacobian
    terms = program.terms
    cosines = space.cosines + J @ x
    logits = space.counts + (cosines / tau)[terms.block]
    top = np.maximum(logits.max(1), space.self_pair)[:, None]
    P = np.exp(logits - top)
    total = P.sum(1, keepdims=True) + np.exp(space.self_pair - top)
    P /= total
    weight = terms.weight
    rise = float(weight @ (top + np.log(total))[:, 0] - (space.pulls * cosines).sum())
    slope, bend = np.zeros(len(x)), np.zeros((len(x), len(x)))
    for g, part in program.parts:
        weighted = P[part] * weight[part, None]
        shares = weighted.sum(0)
        slope += (shares / tau - space.pulls[g]) @ J[g]
        bend += J[g].T @ (np.diag(shares) - P[part].T @ weighted) @ J[g] / tau**2
    return rise - space.lowest, slope, bend


class _Model(NamedTuple):
    """A barrier function, infinite outside, and its first two derivatives."""

    value: float
    slope: Array
    bend: Array


def _barrier(space: _Space, x: Array, ahead: Array) -> _Model:
    """`ahead` . x and the barriers."""
    fractions, outside = x[: space.fractions], _Model(np.inf, x, x)
    if fractions.min(initial=1.0) <= 0:
        return outside
    try:
        root = np.linalg.inv(np.linalg.cholesky(space.means + space.moves @ x))
    except np.linalg.LinAlgError:
        return outside
    rise, slope, bend = _rise(space, x)
    slack = space.width - rise
    if not slack > 0:
        return outside
    moved = root @ np.moveaxis(space.moves, -1, 0) @ root.T
    flat = moved.reshape(len(x), -1)
    value = float(ahead @ x - np.log(slack) - np.log(fractions).sum())
    value += 2 * float(np.log(np.diag(root)).sum())
    first = ahead + slope / slack - moved.trace(axis1=1, axis2=2)
    second = bend / slack + np.outer(slope, slope) / slack**2 + flat @ flat.T
    first[: space.fractions] -= 1 / fractions
    second[np.diag_indices(space.fractions)] += 1 / fractions**2
    return _Model(value, first, second)


def _inside(space: _Space) -> Array:
    """From the optimum towards the middle, until half of what the loss may rise is used."""
    part = 0.5
    while True:
        x = space.start + part * (space.middle - space.start)
        if _rise(space, x)[0] < space.width / 2:
            return x
        part /= 2


def _least(space: _Space, direction: Array) -> float:
    """The least change of `direction` . x from the optimum, near the minimum of the loss."""
    x, t = _inside(space), 1.0 / max(float(np.abs(direction).max()), 1e-300)
    while True:
        x = _centred(space, x, t * direction)
        change = float(direction @ (x - space.start))
        if space.barriers / t < max(PART * abs(change), SMALLEST):
            return change
        t *= GROWTH


def _centred(space: _Space, x: Array, ahead: Array) -> Array:
    """Newton's method on the barrier function, with steps that stay inside and descend."""
    model = _barrier(space, x, ahead)
    for _ in range(STEPS):
        scale = 1 / np.sqrt(np.diag(model.bend))
        scaled = model.bend * scale * scale[:, None] + ROUNDING * np.eye(len(x))
        step = np.linalg.solve(scaled, -model.slope * scale) * scale
        decrement = -float(model.slope @ step)
        if decrement < 2 * DECREMENT:
            break
        length = 1.0
        while True:
            trial = _barrier(space, x + length * step, ahead)
            if trial.value <= model.value - 0.1 * length * decrement or length < 1e-10:
                break
            length /= 2
        if not np.isfinite(trial.value):
            break
        x, model = x + length * step, trial
    return x
