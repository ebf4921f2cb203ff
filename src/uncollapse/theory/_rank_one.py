"""The optimum of a `Program` with one term per block: Newton on its optimality conditions.

Newton's method in (theta, lambda), see _conditions.py, followed along a path from equal class sizes
to the given ones. That the multiplier has rank one is an assumption: it fails where the means of
small classes merge. The caller certifies the result and has another solver for the rest.
"""

from __future__ import annotations

import numpy as np

from uncollapse.theory._conditions import Weights, equations, weights_of
from uncollapse.theory._program import Array, Program, log, others_of, spread_ratio
from uncollapse.theory.balanced import Counts, solve_counts

# Newton converges in fewer than ten steps or not at all.
MOST_STEPS = 15
# Shorter than this, a step means that the guess was too far off: a shorter way is taken instead.
SHORTEST_STEP = 1 / 32
# Relative residuals that rounding may leave: at tau = 1000 cosines are 1e-2 from sums of 10 tau.
ROUNDING = 1e-7


def solve_rank_one(program: Program, start: Array | None = None) -> Array:
    """Multipliers at the optimum, or as near to it as Newton comes (the caller certifies).

    From those of a neighbouring program with the same blocks, else from equal sizes to the target.
    """
    target = weights_of(program)
    if start is not None:
        reached = _newton(program, target, start)
        if reached is not None:
            return reached
    first = _guess(program, target)
    at = _newton(program, _along(target, program, 0.0), first)
    if at is None:
        return first
    position, step = 0.0, 0.25
    before: tuple[float, Array] | None = None
    while position < 1 and step > 1e-2:
        ahead = min(1.0, position + step)
        begin = at
        if before is not None:
            begin = at + (ahead - position) / (position - before[0]) * (at - before[1])
        accuracy = 1e-13 if ahead == 1 else 1e-6
        reached = _newton(program, _along(target, program, ahead), begin, accuracy)
        if reached is not None:
            before, at, position, step = (position, at), reached, ahead, 2 * step
        elif before is not None:
            before = None
        else:
            step /= 4
    return at


def _along(target: Weights, program: Program, position: float) -> Weights:
    """Weights between those of equal sizes (0) and the target (1), geometrically."""
    M = program.multiplicity

    def between(values: Array) -> Array:
        positive = values > 0
        if position == 1 or not positive.any():
            return values
        logs = np.log(values, where=positive, out=np.zeros_like(values))
        middle = (M * logs)[positive].sum() / M[positive].sum()
        return np.where(positive, np.exp((1 - position) * middle + position * logs), 0.0)

    return Weights(
        between(target.supervised),
        between(target.self_supervised),
        between(target.own - 1) + 1,
        between(target.size - 1) + 1,
    )


def _newton(
    program: Program, weights: Weights, start: Array, accuracy: float = 1e-13
) -> Array | None:
    """Damped Newton; None where it does not converge.

    The accuracy is relative to the terms of each equation; rounding may stop the descent earlier.
    """
    at = start
    with np.errstate(over="ignore", invalid="ignore"):
        residual, scale, jacobian = equations(program, weights, at)
        for _ in range(MOST_STEPS):
            if not np.isfinite(residual).all() or not np.isfinite(jacobian).all():
                return None
            size = np.max(np.abs(residual) / scale)
            if size < accuracy:
                return at
            try:
                move = -np.linalg.solve(jacobian, residual).reshape(at.shape)
            except np.linalg.LinAlgError:
                return None
            length = min(1.0, 3.0 / float(np.max(np.abs(move))))
            norm = float(np.linalg.norm(residual))
            while True:
                ahead = at + length * move
                new, new_scale, new_jacobian = equations(program, weights, ahead)
                if float(np.linalg.norm(new)) < norm:
                    break
                if size < ROUNDING:
                    return at
                length /= 2
                if length < SHORTEST_STEP:
                    return None
            at, residual, scale, jacobian = ahead, new, new_scale, new_jacobian
    return at if np.max(np.abs(residual) / scale) < ROUNDING else None


def _guess(program: Program, target: Weights) -> Array:
    """The balanced optimum at the middle of the sizes, its denominators, and theta to match."""
    p, M, tau = program.views, program.multiplicity, program.temperature
    weights = _along(target, program, 0.0)
    m, own = M.sum(), float(np.max(weights.own))
    several = weights.own > 1
    kappa = float(np.max(np.where(several, spread_ratio(weights.size), 1.0)))
    weight = weights.supervised + weights.self_supervised
    alpha = float((M @ weights.self_supervised) / (M @ weight))
    self_views = p if program.include else p - 1
    counts = Counts(m, p, kappa, self_views, p * (own - 1), p * own * (m - 1), program.include)
    best = solve_counts(counts, np.asarray(alpha), np.asarray(tau))
    between = -(1 - best.within_class_variance) / (m - 1)
    s = 1 - best.view_variance * p / max(p - 1, 1)
    a = 1 - best.view_variance - kappa * best.instance_variance
    views = log(p - 1) + s / tau
    mates = log(p * np.maximum(weights.own - 1, 0)) + np.where(several, a, 0.0) / tau
    views = np.logaddexp(views, 1 / tau) if program.include else views
    others = np.log(p * others_of(M, weights.own).sum(1)) + between / tau
    log_d = np.logaddexp(np.logaddexp(views, mates), others)
    log_u = between / tau + np.log(p / tau * M * M * weight * weights.own) - log_d
    return np.stack([0.5 * log_u, log_d])
