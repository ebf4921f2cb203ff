"""The global optimum of a `Program`, with its certificate, by the solver that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq

from uncollapse.theory.certificate import certify, restore
from uncollapse.theory.conditions import Multipliers, point_of
from uncollapse.theory.factorised import solve_factorised
from uncollapse.theory.program import Gradient, Point, Program, Terms, evaluate, others_of
from uncollapse.theory.rank_one import solve_rank_one
from uncollapse.theory.trust_region import solve_by_newton

__all__ = ["ACCEPTED_GAP", "Solution", "margins", "simplex", "solve"]

Array = np.ndarray[Any, np.dtype[np.float64]]

# A gap, relative to max(1, |loss|), with which the fast solver's answer is taken as it is.
ACCEPTED_GAP = 1e-9
# Above this the slower solver is begun once more, at most so often.
RESTARTED_GAP = 1e-6
RESTARTS = 3
# Steps of one descent: few blocks are cheap, and at small tau they may need many.
FEW_BLOCKS, MANY_STEPS, STEPS = 32, 20_000, 3_000
# Steps of one trust region; 20 to 100 are usual.
NEWTON_STEPS = 300


@dataclass(frozen=True)
class Solution:
    """A feasible point, its loss, and the proven bound on loss minus minimum, relative."""

    point: Point
    loss: float
    gap: float
    multipliers: Multipliers | None = None

    def moved(self, before: float, temperature: float) -> Solution:
        """Where to begin at another temperature: the same point, multipliers to match."""
        if self.multipliers is None:
            return self
        colder = 1 / temperature - 1 / before
        theta = self.multipliers.theta - (colder + np.log(temperature / before)) / 2
        return replace(self, multipliers=Multipliers(theta, self.multipliers.log_d + colder))


def certified(program: Program, point: Point, multipliers: Multipliers | None = None) -> Solution:
    """The nearest feasible point with its loss and relative gap."""
    feasible = restore(program, point)
    loss, gap = certify(program, feasible)
    return Solution(feasible, loss, gap / max(1.0, abs(loss)), multipliers)


def solve(program: Program, near: Solution | None = None) -> Solution:
    """The optimum.

    One block: two unknowns, by bracketed roots. One term per block: Newton on the optimality
    conditions, and on factors of H where its answer is not certified. Else descent on factors.

    Args:
        program: The problem.
        near: The solution of a neighbouring program with the same blocks, to begin there.
    """
    if program.blocks == 1:
        return certified(program, without_needless_parts(program, _one_block(program)))
    if program.single:
        found = _single(program, near)
        if found.gap <= ACCEPTED_GAP:
            return found
    else:
        begin = near or _single(_averaged(program), None)
        found = certified(program, without_needless_parts(program, begin.point))
    best = found
    for _ in range(RESTARTS):
        # Either can stop early next to a face; begun again from there it goes on.
        point = without_needless_parts(program, _on_factors(program, best.point))
        improved = certified(program, point)
        best = min(best, improved, key=lambda solution: solution.gap)
        if best.gap < RESTARTED_GAP:
            break
    return best


def _on_factors(program: Program, start: Point) -> Point:
    if program.single:
        return solve_by_newton(program, start, NEWTON_STEPS)
    steps = MANY_STEPS if program.blocks <= FEW_BLOCKS else STEPS
    return solve_factorised(program, start, steps)


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
    apart = 1 + 1 / (total - 1)
    instance = apart / program.kappa
    instance = np.where(program.size > 1, instance, 0.0)
    M, rest = program.multiplicity, 1 - instance
    member = np.where(M > 1, (rest + 1 / (total - 1)) * (M - 1) / M, 0.0)
    means = np.full((len(M), len(M)), -1 / (total - 1))
    np.fill_diagonal(means, rest - member)
    return certified(program, Point(np.zeros_like(M), instance, member, means))


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
    share = supervised - unit * gradient.instance
    needed = supervised - unit * norm_price(point, gradient)
    with np.errstate(divide="ignore", invalid="ignore"):
        wish = unit * np.log(np.maximum(share, 1e-300) / np.maximum(needed, 1e-300))
        wish /= np.maximum(1 - share / program.per_block(program.terms.weight), 1e-15)
    # At small tau the wish underflows to zero; where views split, their part says how far.
    margin = np.where(point.instance > 1e-7, point.instance, np.minimum(wish, 0.0) - point.view)
    return np.where(program.size > 1, margin, np.nan)


def norm_price(point: Point, gradient: Gradient) -> Array:
    """Multiplier of nu + iota + mu + H_gg = 1 by block, from (C - diag y) H = 0."""
    diagonal = np.diag(point.means)
    with np.errstate(divide="ignore", invalid="ignore"):
        price = (gradient.means * point.means).sum(1) / diagonal
    return np.where(diagonal > 1e-12, price, gradient.member)


def _single(program: Program, near: Solution | None) -> Solution:
    multipliers = solve_rank_one(program, near.multipliers if near is not None else None)
    return certified(program, point_of(program, multipliers), multipliers)


def _averaged(program: Program) -> Program:
    """One term per block that stands for the block's terms, to start from."""
    terms = program.terms
    weight = np.maximum(program.per_block(terms.weight), 1e-300)

    def mean(values: Array) -> Array:
        return program.per_block(terms.weight * values) / weight

    several = np.maximum(mean(terms.own), np.where(program.size > 1, 1.5, 1.0))
    own = np.where(program.size > 1, several, 1.0)
    averaged = Terms(
        np.arange(program.blocks),
        own,
        others_of(program.multiplicity, own),
        program.per_block(terms.supervised),
        program.per_block(terms.self_supervised),
    )
    return replace(program, terms=averaged)


def _one_block(program: Program) -> Point:
    """Balanced classes: the derivatives along nu and iota set to zero, each bracketed."""
    zero = np.zeros(1)

    def at(view: float, instance: float) -> Point:
        member = np.array([max(1 - view - instance, 0.0)])
        return Point(np.array([view]), np.array([instance]), member, zero[:, None])

    def slopes(view: float, instance: float) -> tuple[float, float]:
        _, gradient = evaluate(program, at(view, instance))
        along = gradient.member[0]
        return float(gradient.view[0] - along), float(gradient.instance[0] - along)

    def best_instance(view: float) -> float:
        return _root(lambda instance: slopes(view, instance)[1], 1 - view)

    view = 0.0
    if program.views > 1:
        view = _root(lambda v: slopes(v, best_instance(v))[0], 1.0)
    return at(view, best_instance(view))


def _root(slope: Callable[[float], float], top: float) -> float:
    """Where an increasing slope crosses zero in [0, top]; the end nearer to it if it does not."""
    if top <= 0 or slope(0.0) >= 0:
        return 0.0
    if slope(top) <= 0:
        return top
    return float(brentq(slope, 0.0, top, xtol=1e-15, rtol=4 * np.finfo(float).eps))
