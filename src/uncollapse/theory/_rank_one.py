"""The optimum of a `Program` with one term per block: Newton on its optimality conditions.

The batch holds own_g instances of every class (full batches, balanced ones of all classes). Let Z
be the multiplier of "H positive semidefinite". In most settings Z = u u' has rank one. Stationarity
in the pair b_gh then gives, with lambda = log D, theta = log u and k_gh = W_g others_gh / D_g,

    b_gh = tau (theta_g + theta_h - log[(p/(2 tau)) (k_gh + k_hg)])           g != h
    b_gg = tau (2 theta_g + log((M_g-1)/M_g) - log[(p/tau) k_gg])             if M_g > 1

and v_g = u_g^2 / M_g is the price of a unit of norm of block g, which fixes nu_g and iota_g
(`_own_block`). What remains are 2 G equations in the multipliers (theta, lambda), an array (2, G):

    log(D_g(theta, lambda)) - lambda_g = 0   and   (H u)_g / u_g = 0.

Newton's method is followed along a path from equal class sizes to the given ones. That the
multiplier has rank one fails where the means of small classes merge: the caller certifies the
result and has another solver for the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uncollapse.theory._program import Array, Point, Program, log, others_of, spread_ratio
from uncollapse.theory.balanced import Counts, solve_counts

# Newton converges in fewer than ten steps or not at all.
MOST_STEPS = 15
# Shorter than this, a step means that the guess was too far off: a shorter way is taken instead.
SHORTEST_STEP = 1 / 32
# Relative residuals that rounding may leave: at tau = 1000 cosines are 1e-2 from sums of 10 tau.
RESIDUAL_ROUNDING = 1e-7


class Weights(NamedTuple):
    """Per-class weights of a single-term program, which the path interpolates."""

    supervised: Array
    self_supervised: Array
    own: Array
    size: Array


class OwnBlock(NamedTuple):
    """Every class alone, (G,), and derivatives by log v and by lambda = -log k_s, -log k_a."""

    view: Array
    instance: Array
    rest: Array  # 1 - nu - iota: the norm left for the class mean
    s: Array
    a: Array
    ds: Array  # (2, G), as the next two
    da: Array
    drest: Array


def solve_rank_one(program: Program, start: Array | None = None) -> Array:
    """Multipliers at the optimum, or as near to it as Newton comes (the caller certifies).

    From those of a neighbouring program with the same blocks, else from equal sizes to the target.
    """
    target = _weights(program)
    if start is not None and (reached := _newton(program, target, start)) is not None:
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
    M, (supervised, self_supervised, own, size) = program.multiplicity, target

    def between(values: Array) -> Array:
        positive = values > 0
        if position == 1 or not positive.any():
            return values
        logs = np.log(values, where=positive, out=np.zeros_like(values))
        middle = (M * logs)[positive].sum() / M[positive].sum()
        return np.where(positive, np.exp((1 - position) * middle + position * logs), 0.0)

    weights = between(supervised), between(self_supervised)
    return Weights(*weights, between(own - 1) + 1, between(size - 1) + 1)


def _newton(
    program: Program, weights: Weights, start: Array, accuracy: float = 1e-13
) -> Array | None:
    """Damped Newton; None where it does not converge.

    The accuracy is relative to the terms of each equation; rounding may stop the descent earlier.
    """
    at = start
    with np.errstate(over="ignore", invalid="ignore"):
        residual, scale, jacobian = _equations(program, weights, at)
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
                ahead = _equations(program, weights, at + length * move)
                if float(np.linalg.norm(ahead[0])) < norm:
                    break
                if size < RESIDUAL_ROUNDING:
                    return at
                length /= 2
                if length < SHORTEST_STEP:
                    return None
            at = at + length * move
            residual, scale, jacobian = ahead
    return at if np.max(np.abs(residual) / scale) < RESIDUAL_ROUNDING else None


def _guess(program: Program, target: Weights) -> Array:
    """The balanced optimum at the middle of the sizes, its denominators, and theta to match."""
    p, M, tau = program.views, program.multiplicity, program.temperature
    weights = _along(target, program, 0.0)
    m, own, several = M.sum(), float(np.max(weights.own)), weights.own > 1
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
    mates = log(p * (weights.own - 1)) + np.where(several, a, 0.0) / tau
    views = np.logaddexp(views, 1 / tau) if program.include else views
    others = np.log(p * others_of(M, weights.own).sum(1)) + between / tau
    log_d = np.logaddexp(np.logaddexp(views, mates), others)
    # The equation of b_gg solved for 2 theta, with others_gg = (M_g - 1) own_g.
    log_u = between / tau + np.log(p / tau * M * M * weight * weights.own) - log_d
    return np.stack([0.5 * log_u, log_d])


def _weights(program: Program) -> Weights:
    """Per-class weights; a class without weight (alpha = 0, one instance) gets a negligible one."""
    # Of the optima that differ only in where such a class lies: the limit of a vanishing weight.
    terms, M = program.terms, program.multiplicity
    S, T = terms.supervised / M, terms.self_supervised / M
    floor = 1e-13 * terms.own / (M @ terms.own)
    return Weights(S, np.where(S + T > 0, T, floor), terms.own, program.size)


def point_of(program: Program, multipliers: Array) -> Point:
    """The point that the multipliers stand for (feasible where they solve the equations)."""
    M, (own, b, _) = program.multiplicity, _state(program, _weights(program), multipliers)
    member = np.where(M > 1, (own.rest - np.diag(b)) * (M - 1) / M, 0.0)
    np.fill_diagonal(b, own.rest - member)
    return Point(np.stack([own.view, own.instance, member]), b)


def _equations(program: Program, weights: Weights, at: Array) -> tuple[Array, Array, Array]:
    """Residuals of log D - lambda and of (H u)_g / u_g, (2 G,), their scales, and the Jacobian."""
    tau, p, M = program.temperature, program.views, program.multiplicity
    own, b, share = _state(program, weights, at)
    theta, log_d = at
    diagonal = np.diag_indices_from(b)
    pairs = np.exp(log(p * others_of(M, weights.own)) + b / tau - log_d[:, None])
    views = np.exp(log(p - 1) + own.s / tau - log_d)
    mates = np.exp(log(p * (weights.own - 1)) + own.a / tau - log_d)
    self_pair = np.exp(1 / tau - log_d) if program.include else 0.0
    total = self_pair + views + mates + pairs.sum(1)
    inner, change = pairs[diagonal].copy(), views * own.ds + mates * own.da
    by_theta, by_lambda = pairs.copy(), pairs * share.T
    by_theta[diagonal] = pairs.sum(1) + inner + change[0] * 2 / tau
    by_lambda[diagonal] = (pairs * share).sum(1) - total + change[1] / tau
    by_theta /= total[:, None]
    by_lambda /= total[:, None]
    ratio = np.exp(theta - theta[:, None])
    off = b * ratio
    inner, change = off[diagonal].copy(), own.drest + (M - 1) * tau
    off[diagonal] = 0.0
    mean = (own.rest + (M - 1) * inner) / M + off.sum(1)
    scale = (np.abs(own.rest) + (M - 1) * np.abs(inner)) / M + np.abs(off).sum(1)
    mean_by_theta, mean_by_lambda = (tau + b) * ratio, tau * share.T * ratio
    mean_by_theta[diagonal] = tau * (ratio.sum(1) - 1) - off.sum(1) + 2 * change[0] / M
    mean_by_lambda[diagonal] = tau * ((share * ratio).sum(1) - share[diagonal]) + change[1] / M
    return (
        # A trial step may underflow to log 0; its residual is infinite and the step is refused.
        np.concatenate([log(total), mean]),
        np.concatenate([np.ones_like(total), scale]),
        np.block([[by_theta, by_lambda], [mean_by_theta, mean_by_lambda]]),
    )


def _state(program: Program, weights: Weights, at: Array) -> tuple[OwnBlock, Array, Array]:
    """The classes alone, b (G, G), and k_gh / (k_gh + k_hg), the share of g's own anchors."""
    p, M, tau = program.views, program.multiplicity, program.temperature
    theta, log_d = at
    several = M > 1
    log_w = np.log(M * (weights.supervised + weights.self_supervised)) - log_d
    log_ks, log_ka = log_w + log(p - 1), log_w + log(p * (weights.own - 1))
    own = _own_block(program, weights, np.stack([2 * theta - np.log(M), log_ks, log_ka]))
    log_k = log_w[:, None] + log(others_of(M, weights.own))
    # A lone block's diagonal stands for no pair; any finite value will do.
    np.fill_diagonal(log_k, np.where(several, np.diag(log_k), 0.0))
    both = np.logaddexp(log_k, log_k.T)
    b = tau * (theta[:, None] + theta - both - np.log(p / (2 * tau)))
    inner = log((M - 1) / M) - np.log(p / tau)
    np.fill_diagonal(b, np.where(several, tau * (2 * theta + inner - np.diag(log_k)), 0.0))
    share = np.exp(log_k - both)
    np.fill_diagonal(share, np.where(several, 1.0, 0.0))
    return own, b, share


def _own_block(program: Program, weights: Weights, logs: Array) -> OwnBlock:
    """The part of the conditions that concerns one class alone, from log v, log k_s and log k_a.

    Given the price v > 0 of a class's norm (the multiplier of nu + iota + mu + H_gg = 1) and the
    pressures k_s = sum W (p-1)/D and k_a = sum W p (own-1)/D, minimise over nu, iota >= 0

        k_s tau e^(s/tau) + k_a tau e^(a/tau) - (S a + T' s) + tau v (nu + iota),   all over tau,

    where s = 1 - nu p/(p-1), a = 1 - nu - kappa iota, and T' is T, or T (p-1)/p with self pairs.

    At the optimum of a block with one term nu and iota are not both positive: their two conditions
    together would make the shares of one softmax sum to more than one. So either nu = 0 and iota
    has a closed form, or iota = 0 and nu solves one scalar equation.
    """
    p, tau, several = program.views, program.temperature, program.size > 1
    kappa, (log_price, _, log_ka) = spread_ratio(weights.size), logs
    log_instance = np.log(tau / kappa) + log_price
    log_right = np.logaddexp(log(program.multiplicity * weights.supervised), log_instance)
    a = tau * (log_right - log_ka)
    da = np.stack([tau * np.exp(log_instance - log_right), np.full_like(a, tau)])
    view, dview = np.zeros_like(a), np.zeros_like(da)
    spread = several & (a < 1)
    if p > 1:
        alone, dalone = _views_alone(program, weights, logs)
        spread = several & (1 - alone - a > 0)
        view, dview = np.where(spread, 0.0, alone), np.where(spread, 0.0, dalone)
    instance = np.where(spread, (1 - np.where(spread, a, 1.0)) / kappa, 0.0)
    ratio = p / max(p - 1, 1)
    ds, da = -dview * ratio, np.where(spread, da, -dview)
    by_view = -ds * ((p - 1) / p)
    by_instance = np.where(instance > 0, (-by_view - da) / kappa, 0.0)
    a = np.where(spread, a, 1 - view)
    rest, s = 1 - view - instance, 1 - view * ratio
    return OwnBlock(view, instance, rest, s, a, ds, da, -by_view - by_instance)


def _views_alone(program: Program, weights: Weights, logs: Array) -> tuple[Array, Array]:
    """nu where iota = 0: p/(p-1) k_s e^(s/tau) + k_a e^(a/tau) = tau v + S + T' p/(p-1), or 0.

    The logarithm of the left side is convex and decreasing in nu: Newton from nu = 0 is monotone.
    """
    p, tau, M = program.views, program.temperature, program.multiplicity
    ratio, (log_price, log_ks, log_ka) = p / (p - 1), logs
    log_v = np.log(tau) + log_price
    self_supervised = M * weights.self_supervised * program.self_share
    log_right = np.logaddexp(log_v, log(M * weights.supervised + ratio * self_supervised))
    top = np.log(ratio) + log_ks + 1 / tau
    low = log_ka + 1 / tau
    nu = np.zeros_like(log_price)
    for _ in range(100):
        views, mates = top - nu * ratio / tau, low - nu / tau
        total = np.logaddexp(views, mates)
        lean = (ratio * np.exp(views - total) + np.exp(mates - total)) / tau
        step = np.maximum((total - log_right) / lean, -nu)
        nu = nu + step
        if np.max(np.abs(step)) <= 1e-16 + 1e-15 * np.max(nu):
            break
    fall = np.where(nu > 0, 1 / lean, 0.0)
    return nu, np.stack([-fall * np.exp(log_v - log_right), -fall])
