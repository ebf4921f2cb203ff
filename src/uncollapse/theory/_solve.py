"""The global optimum of a `Program`, with its certificate, by the solver that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq

from uncollapse.theory._certificate import Solution, certified
from uncollapse.theory._conditions import point_of
from uncollapse.theory._factors import solve_by_newton, solve_factorised
from uncollapse.theory._program import Point, Program, Terms, evaluate, others_of
from uncollapse.theory._rank_one import solve_rank_one

# A gap, relative to max(1, |loss|), with which the fast solver's answer is taken as it is.
ACCEPTED_GAP = 1e-9
# Above this the slower solver is begun once more, at most so often.
RESTARTED_GAP = 1e-6
RESTARTS = 3
# Steps of one descent: few blocks are cheap, and at small tau they may need many.
FEW_BLOCKS, MANY_STEPS, STEPS = 32, 20_000, 3_000
# Steps of one trust region; 20 to 100 are usual.
NEWTON_STEPS = 300


def solve(program: Program, near: Solution | None = None) -> Solution:
    """The optimum, begun at the solution of a neighbouring program with the same blocks if given.

    One block: two unknowns, by bracketed roots. One term per block: Newton on the optimality
    conditions, and on factors of H where its answer is not certified. Else descent on factors.
    """
    if program.blocks == 1:
        return certified(program, without_needless_parts(program, _one_block(program)))
    if program.single:
        best = _single(program, near)
        if best.gap <= ACCEPTED_GAP:
            return best
    else:
        begin = near or _single(_averaged(program), None)
        best = certified(program, without_needless_parts(program, begin.point))
    steps = MANY_STEPS if program.blocks <= FEW_BLOCKS else STEPS
    for _ in range(RESTARTS):
        # Either can stop early next to a face; begun again from there it goes on.
        if program.single:
            point = solve_by_newton(program, best.point, NEWTON_STEPS)
        else:
            point = solve_factorised(program, best.point, steps)
        improved = certified(program, without_needless_parts(program, point))
        best = min(best, improved, key=lambda solution: solution.gap)
        if best.gap < RESTARTED_GAP:
            break
    return best


def without_needless_parts(program: Program, point: Point) -> Point:
    """A point that is no worse, without the parts of the norm that cannot lower the loss.

    With W = S + T and shares of D_t below one, raising s or a lowers the loss and frees norm for
    the class mean wherever its own pull outweighs its share. So

        nu = 0 with self pairs, or where S = 0 (one instance of the class in every batch),
        iota = 0 where T = 0 or no batch holds two instances of the class,
        and else, raising s and a alike, nu = 0 or iota = 0.

    At small tau the loss hardly feels this, so descent stops anywhere along that line.
    """
    p, terms, view, instance = program.views, program.terms, point.view, point.instance
    attracted = program.per_block(terms.supervised) > 0
    separated = program.per_block(terms.self_supervised) > 0
    separated &= program.per_block((terms.own > 1) * terms.weight) > 0
    new_view = np.where(program.include | ~attracted, 0.0, view)
    new_instance = np.where(separated, instance, 0.0)
    if p > 1:
        both = np.minimum(new_view * p / (p - 1), new_instance * p * program.kappa)
        new_view = new_view - both * (p - 1) / p
        new_instance = new_instance - both / (p * program.kappa)
    # The part that vanishes is exactly zero, not a rounding beside it.
    new_view = np.where(new_view < 1e-15, 0.0, new_view)
    new_instance = np.where(new_instance < 1e-15, 0.0, new_instance)
    freed = view - new_view + instance - new_instance
    several = program.multiplicity > 1
    member = point.member + np.where(several, freed, 0.0)
    means = point.means + np.diag(np.where(several, 0.0, freed))
    return Point(new_view, new_instance, member, means)


def simplex(program: Program) -> Solution:
    """All instances as one simplex: the optimum of L_self alone where all are drawn alike."""
    total = float(program.multiplicity @ program.size)
    instance = np.where(program.size > 1, (1 + 1 / (total - 1)) / program.kappa, 0.0)
    M, rest = program.multiplicity, 1 - instance
    member = np.where(M > 1, (rest + 1 / (total - 1)) * (M - 1) / M, 0.0)
    means = np.full((len(M), len(M)), -1 / (total - 1))
    np.fill_diagonal(means, rest - member)
    return certified(program, Point(np.zeros_like(M), instance, member, means))


def _single(program: Program, near: Solution | None) -> Solution:
    multipliers = solve_rank_one(program, near.multipliers if near is not None else None)
    return certified(program, point_of(program, multipliers), multipliers)


def _averaged(program: Program) -> Program:
    """One term per block that stands for the block's terms, to start from."""
    terms = program.terms
    weight = np.maximum(program.per_block(terms.weight), 1e-300)
    mean = program.per_block(terms.weight * terms.own) / weight
    own = np.where(program.size > 1, np.maximum(mean, 1.5), 1.0)
    averaged = Terms(
        np.arange(program.blocks),
        own,
        others_of(program.multiplicity, own),
        program.per_block(terms.supervised),
        program.per_block(terms.self_supervised),
    )
    return replace(program, terms=averaged)


def slopes(program: Program, view: float = 0.0, instance: float = 0.0) -> tuple[float, float]:
    """Balanced classes: derivatives by nu and by iota, against the between-class fraction."""
    _, gradient = evaluate(program, _balanced_point(view, instance))
    along = gradient.member[0]
    return float(gradient.view[0] - along), float(gradient.instance[0] - along)


def _balanced_point(view: float, instance: float) -> Point:
    member = np.array([max(1 - view - instance, 0.0)])
    return Point(np.array([view]), np.array([instance]), member, np.zeros((1, 1)))


def _one_block(program: Program) -> Point:
    """Balanced classes: the derivatives along nu and iota set to zero, each bracketed."""

    def best_instance(view: float) -> float:
        return _root(lambda instance: slopes(program, view, instance)[1], 1 - view)

    view = 0.0
    if program.views > 1:
        view = _root(lambda v: slopes(program, v, best_instance(v))[0], 1.0)
    return _balanced_point(view, best_instance(view))


def _root(slope: Callable[[float], float], top: float) -> float:
    """Where an increasing slope crosses zero in [0, top]; the end nearer to it if it does not."""
    if top <= 0 or slope(0.0) >= 0:
        return 0.0
    if slope(top) <= 0:
        return top
    return float(brentq(slope, 0.0, top, xtol=1e-15, rtol=4 * np.finfo(float).eps))
