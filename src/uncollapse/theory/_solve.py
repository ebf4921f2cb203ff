"""The global optimum of a `Program`, by the solver that fits, and a proof of how near it is.

For a convex F, any feasible x and the gradient C at x, F* >= F(x) + min over feasible z of
<C, z - x>. The inner problem is linear over {nu + iota + mu + H_gg = 1, all >= 0, H psd}; any
multipliers y_g <= the derivatives in nu, iota, mu bound it from below:

    gap = <C, x> - sum_g y_g + max(0, -lambda_min(R (C_H - diag y) R)) sum_g 1/R_g^2

for any scaling R > 0 (sum_g H_gg / R_g^2 is at most the last sum). No accuracy of the solver that
produced x is assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigvalsh
from scipy.optimize import brentq

from uncollapse.records import BalancedBatch, RandomBatch, Setting
from uncollapse.theory._factors import solve_by_newton, solve_factorised
from uncollapse.theory._program import Array, Gradient, Point, Program, Terms, evaluate, others_of
from uncollapse.theory._rank_one import point_of, solve_rank_one
from uncollapse.theory._terms import plain_batch, program_of, rough_program
from uncollapse.theory._tidy import raised, without_needless_parts
from uncollapse.theory.balanced import balanced_optimum

# A gap, relative to max(1, |loss|), with which the fast solver's answer is taken as it is.
ACCEPTED_GAP = 1e-9
# Above this the slower solver is begun once more, at most so often.
RESTARTED_GAP = 1e-6
RESTARTS = 3
# A step for more blocks takes seconds to minutes: the first point proven this good will do.
MANY_BLOCKS, MANY_GAP = 256, 1e-5


@dataclass(frozen=True)
class Solution:
    """A feasible point of a program, its loss, and the proven bound on loss minus minimum."""

    program: Program
    point: Point
    loss: float
    gap: float  # relative to max(1, |loss|)
    multipliers: Array | None = None  # those of `_rank_one`, (2, G), where they were solved for

    def moved(self, temperature: float) -> Solution:
        """Where to begin at another temperature: the same point, multipliers to match."""
        if self.multipliers is None:
            return self
        theta, log_d = self.multipliers
        before = self.program.temperature
        colder = 1 / temperature - 1 / before
        theta = theta - (colder + np.log(temperature / before)) / 2
        return replace(self, multipliers=np.stack([theta, log_d + colder]))


def optimum(
    setting: Setting, *, seed: int = 0, near: Solution | None = None, rough: bool = False
) -> Solution:
    """The solution of a setting, begun at that of one with the same class counts if given.

    Rough: with like batches put together, much faster where there are many; to search by.
    """
    setting = plain_batch(setting)
    program = rough_program(setting, seed) if rough else program_of(setting, seed)
    if setting.alpha == 1 and not isinstance(setting.batch, BalancedBatch):
        return _simplex(program)
    if setting.balanced and not isinstance(setting.batch, RandomBatch):
        best = balanced_optimum(setting)
        point = _balanced_point(float(best.view_variance), float(best.instance_variance))
        return certified(program, point)
    return solve(program, near)


def solve(program: Program, near: Solution | None = None) -> Solution:
    """The optimum, begun at the solution of a neighbouring program with the same blocks if given.

    One block: two unknowns, by bracketed roots. One term per block: Newton on the optimality
    conditions, and on factors of H where its answer is not certified. Else descent on factors.
    """
    if program.terms.across is not None:
        best = certified(program, near.point if near is not None else _spread_out(program))
        best = replace(best, gap=np.inf)
    elif program.blocks == 1:
        return _tidied(program, _one_block(program))
    elif program.single:
        best = _single(program, near)
        if best.gap <= ACCEPTED_GAP:
            return best
    else:
        best = _tidied(program, (near or _single(_averaged(program), None)).point)
    labelled = program.terms.across is not None
    gap = RESTARTED_GAP if program.blocks <= MANY_BLOCKS else MANY_GAP

    def enough(point: Point) -> bool:
        return program.blocks > MANY_BLOCKS and certified(program, point).gap < gap

    for _ in range(RESTARTS):
        # Either can stop early next to a face; begun again from there it goes on.
        if program.single or labelled:
            point = solve_by_newton(program, best.point, enough)
        else:
            point = solve_factorised(program, best.point)
        best = min(best, _tidied(program, point), key=lambda solution: solution.gap)
        if best.gap < gap:
            break
    return best


def certified(program: Program, point: Point, multipliers: Array | None = None) -> Solution:
    """The nearest feasible point with its loss and relative gap."""
    feasible = restore(program, point)
    loss, gap = certify(program, feasible)
    return Solution(program, feasible, loss, gap / max(1.0, abs(loss)), multipliers)


def _tidied(program: Program, point: Point) -> Solution:
    if program.terms.across is None:
        return certified(program, without_needless_parts(program, point))
    # That argument holds where positives are of the anchor's class. Here another one does.
    plain = certified(program, point)
    if program.include:
        return plain
    other = certified(program, raised(program, plain.point))
    return other if other.loss <= plain.loss + 1e-13 * max(1.0, abs(plain.loss)) else plain


def _spread_out(program: Program) -> Point:
    """Somewhere inside: a little of every part, the blocks' means apart."""
    fractions = np.where(program.allowed, 0.1, 0.0)
    rest = 1 - fractions.sum(0)
    member = np.where(program.multiplicity > 1, 0.8 * rest, 0.0)
    fractions[2] += member
    return Point(fractions, np.diag(1 - fractions.sum(0)))


def restore(program: Program, point: Point) -> Point:
    """The nearest point along a line that satisfies every constraint exactly.

    Fractions are clipped and renormalised; H is mixed with its own diagonal, which keeps the
    diagonal, until it is positive semidefinite.
    """
    fractions = np.where(program.allowed, np.maximum(point.fractions, 0.0), 0.0)
    before = np.diag(point.means)
    diagonal = np.maximum(before, 0.0)
    total = fractions.sum(0) + diagonal
    old, root = np.maximum(before, 1e-300), np.sqrt(diagonal / total)
    correlation = point.means / np.sqrt(old)[:, None] / np.sqrt(old)
    np.fill_diagonal(correlation, 1.0)
    lowest = float(eigvalsh(correlation, subset_by_index=[0, 0])[0])
    if lowest < 0:
        correlation = correlation / (1 - lowest)
        np.fill_diagonal(correlation, 1.0)
    return Point(fractions / total, correlation * root[:, None] * root)


def certify(program: Program, point: Point) -> tuple[float, float]:
    """The loss at a feasible point and the bound on loss minus global minimum, both in nats."""
    loss, gradient = evaluate(program, point)
    attained = float((gradient.means * point.means).sum())
    for derivative, fraction in zip(gradient.fractions, point.fractions, strict=True):
        attained += float(derivative @ fraction)
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
    """y by block: the derivative in the largest fraction, lowered to what the bound allows."""
    # At an optimum it is that in every fraction that is not zero; rounding disturbs this one least.
    fractions = np.vstack([np.diag(point.means), point.fractions])
    derivatives = np.vstack([_mean_price(point, gradient), gradient.fractions])
    y = np.take_along_axis(derivatives, fractions.argmax(0)[None], axis=0)[0]
    limit = np.where(program.allowed, gradient.fractions, np.inf).min(0)
    return np.asarray(np.minimum(y, limit))


def smallest_margin(solution: Solution) -> float:
    """How far the last class is from the edge of collapse: above 0 spread, below 0 collapsed.

    Spread: the instance fraction iota. Collapsed: the negative fraction that would make its
    condition an equality, (tau/kappa) log(W A / (S - tau y/kappa)) / (1 - A), where A is the
    softmax share of the instances of the class, W A = S - tau C/kappa with C the derivative by
    iota, and y the price of norm; 1 - A, because the denominator falls with that share (A is near
    1 for large classes). Both agree at the edge, smoothly.
    """
    program, point = solution.program, solution.point
    view, instance, _ = point.fractions
    _, gradient = evaluate(program, point)
    unit = program.temperature / program.kappa
    supervised = program.pull
    _, by_instance, by_member = gradient.fractions
    price = np.where(np.diag(point.means) > 1e-12, _mean_price(point, gradient), by_member)
    share = supervised - unit * by_instance
    needed = supervised - unit * price
    with np.errstate(divide="ignore", invalid="ignore"):
        wish = unit * np.log(np.maximum(share, 1e-300) / np.maximum(needed, 1e-300))
        wish /= np.maximum(1 - share / program.per_block(program.terms.weight), 1e-15)
    # At small tau the wish underflows to zero; where views split, their part says how far.
    margin = np.where(instance > 1e-7, instance, np.minimum(wish, 0.0) - view)
    return float(np.nanmin(margin[program.size > 1]))


def _simplex(program: Program) -> Solution:
    """All instances as one simplex: the optimum of L_self alone where all are drawn alike."""
    M, others = program.multiplicity, float(program.multiplicity @ program.size) - 1
    instance = np.where(program.size > 1, (1 + 1 / others) / program.kappa, 0.0)
    rest = 1 - instance
    member = np.where(M > 1, (rest + 1 / others) * (M - 1) / M, 0.0)
    means = np.full((len(M), len(M)), -1 / others)
    np.fill_diagonal(means, rest - member)
    return certified(program, Point(np.stack([np.zeros_like(M), instance, member]), means))


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
        program.alone,
    )
    return replace(program, terms=averaged)


def slopes(program: Program, view: float = 0.0, instance: float = 0.0) -> tuple[float, float]:
    """Balanced classes: derivatives by nu and by iota, against the between-class fraction."""
    by_view, by_instance, along = evaluate(program, _balanced_point(view, instance))[1].fractions
    return float(by_view[0] - along[0]), float(by_instance[0] - along[0])


def _balanced_point(view: float, instance: float) -> Point:
    """One block: the rest of the norm is between its classes, whose mean is zero."""
    member = max(1 - view - instance, 0.0)
    return Point(np.array([[view], [instance], [member]]), np.zeros((1, 1)))


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
