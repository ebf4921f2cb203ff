"""The optimality conditions of a `Program` with one term per block, and their derivatives.

The batch holds own_g instances of every class (full batches, balanced ones of all classes). Let Z
be the multiplier of "H positive semidefinite". In most settings Z = u u' has rank one. Stationarity
in the pair b_gh then gives, with lambda = log D, theta = log u and k_gh = W_g others_gh / D_g,

    b_gh = tau (theta_g + theta_h - log[(p/(2 tau)) (k_gh + k_hg)])           g != h
    b_gg = tau (2 theta_g + log((M_g-1)/M_g) - log[(p/tau) k_gg])             if M_g > 1

and v_g = u_g^2 / M_g is the price of a unit of norm of block g, which fixes nu_g and iota_g
(`_own_block`). What remains are 2 G equations in the multipliers (theta, lambda), an array (2, G):

    log(D_g(theta, lambda)) - lambda_g = 0   and   (H u)_g / u_g = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uncollapse.theory._program import Array, Point, Program, log, others_of, spread_ratio


@dataclass(frozen=True)
class Weights:
    """Per-class weights of a single-term program, which the path interpolates."""

    supervised: Array
    self_supervised: Array
    own: Array
    size: Array


@dataclass(frozen=True)
class OwnBlock:
    """Fractions and cosines of every class alone, (G,), and derivatives, each (2, G).

    Derivatives are by the log of the price v, and by lambda = -log of both pressures.
    """

    view: Array
    instance: Array
    s: Array
    a: Array
    ds: Array
    da: Array
    drest: Array

    @property
    def rest(self) -> Array:
        """1 - nu - iota: the norm left for the class mean."""
        return 1 - self.view - self.instance


def weights_of(program: Program) -> Weights:
    """Per-class weights; a class without weight (alpha = 0, one instance) gets a negligible one.

    That picks, among the optima that differ only in where such a class lies, the limit of a
    vanishing weight.
    """
    terms, M = program.terms, program.multiplicity
    S, T = terms.supervised / M, terms.self_supervised / M
    floor = 1e-13 * terms.own / (M @ terms.own)
    return Weights(S, np.where(S + T > 0, T, floor), terms.own, program.size)


def point_of(program: Program, multipliers: Array) -> Point:
    """The point that the multipliers stand for (feasible where they solve the equations)."""
    own, b, _ = _state(program, weights_of(program), multipliers)
    M, means = program.multiplicity, b.copy()
    member = np.where(M > 1, (own.rest - np.diag(b)) * (M - 1) / M, 0.0)
    np.fill_diagonal(means, own.rest - member)
    return Point(own.view, own.instance, member, means)


def equations(program: Program, weights: Weights, at: Array) -> tuple[Array, Array, Array]:
    """Residuals (2 G,), their scales, and the Jacobian (2 G, 2 G)."""
    tau, p, M = program.temperature, program.views, program.multiplicity
    own, b, share = _state(program, weights, at)
    theta, log_d = at
    diagonal = np.diag_indices_from(b)
    pairs = np.exp(log(p * others_of(M, weights.own)) + b / tau - log_d[:, None])
    views = np.exp(log(p - 1) + own.s / tau - log_d)
    mates = np.exp(log(p * np.maximum(weights.own - 1, 0)) + own.a / tau - log_d)
    self_pair = np.exp(1 / tau - log_d) if program.include else 0.0
    total = self_pair + views + mates + pairs.sum(1)
    inner = pairs[diagonal].copy()
    by_theta, by_lambda = pairs.copy(), pairs * share.T
    by_theta[diagonal] = pairs.sum(1) + inner + (views * own.ds[0] + mates * own.da[0]) * 2 / tau
    by_lambda[diagonal] = (
        (pairs * share).sum(1) - total + (views * own.ds[1] + mates * own.da[1]) / tau
    )
    by_theta /= total[:, None]
    by_lambda /= total[:, None]
    mean, scale, mean_theta, mean_lambda = _means_equations(program, own, theta, b, share)
    return (
        # A trial step may underflow to log 0; its residual is infinite and the step is refused.
        np.concatenate([log(total), mean]),
        np.concatenate([np.ones_like(total), scale]),
        np.block([[by_theta, by_lambda], [mean_theta, mean_lambda]]),
    )


def _means_equations(
    program: Program, own: OwnBlock, theta: Array, b: Array, share: Array
) -> tuple[Array, Array, Array, Array]:
    """(H u)_g / u_g, its scale, and its derivatives by theta and lambda (each (G, G))."""
    tau, M = program.temperature, program.multiplicity
    diagonal = np.diag_indices_from(b)
    ratio = np.exp(theta - theta[:, None])
    off = b * ratio
    inner = off[diagonal].copy()
    off[diagonal] = 0.0
    norm = (own.rest + (M - 1) * inner) / M
    row = off.sum(1)
    by_theta, by_lambda = (tau + b) * ratio, tau * share.T * ratio
    by_theta[diagonal] = tau * (ratio.sum(1) - 1) - row + 2 * (own.drest[0] + (M - 1) * tau) / M
    by_lambda[diagonal] = (
        tau * ((share * ratio).sum(1) - share[diagonal]) + (own.drest[1] + (M - 1) * tau) / M
    )
    scale = (np.abs(own.rest) + (M - 1) * np.abs(inner)) / M + np.abs(off).sum(1)
    return norm + row, scale, by_theta, by_lambda


def _state(program: Program, weights: Weights, at: Array) -> tuple[OwnBlock, Array, Array]:
    """The classes alone, b (G, G), and k_gh / (k_gh + k_hg), the share of g's own anchors."""
    p, M, tau = program.views, program.multiplicity, program.temperature
    theta, log_d = at
    several = M > 1
    log_w = np.log(M * (weights.supervised + weights.self_supervised)) - log_d
    own = _own_block(
        program,
        weights,
        2 * theta - np.log(M),
        log_w + log(p - 1),
        log_w + log(p * np.maximum(weights.own - 1, 0)),
    )
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


def _own_block(
    program: Program, weights: Weights, log_price: Array, log_ks: Array, log_ka: Array
) -> OwnBlock:
    """The part of the conditions that concerns one class alone.

    Given the price v > 0 of a class's norm (the multiplier of nu + iota + mu + H_gg = 1) and the
    pressures k_s = sum W (p-1)/D and k_a = sum W p (own-1)/D, minimise over nu, iota >= 0

        k_s tau e^(s/tau) + k_a tau e^(a/tau) - (S a + T' s) + tau v (nu + iota),   all over tau,

    where s = 1 - nu p/(p-1), a = 1 - nu - kappa iota, and T' is T, or T (p-1)/p with self pairs.

    At the optimum of a block with one term nu and iota are not both positive: their two conditions
    together would make the shares of one softmax sum to more than one. So either nu = 0 and iota
    has a closed form, or iota = 0 and nu solves one scalar equation.
    """
    p, tau, several = program.views, program.temperature, program.size > 1
    kappa = spread_ratio(weights.size)
    log_instance = np.log(tau / kappa) + log_price
    log_right = np.logaddexp(log(program.multiplicity * weights.supervised), log_instance)
    a = tau * (log_right - log_ka)
    da = np.stack([tau * np.exp(log_instance - log_right), np.full_like(a, tau)])
    view, dview = np.zeros_like(a), np.zeros_like(da)
    spread = several & (a < 1)
    if p > 1:
        alone, dalone = _views_alone(program, weights, log_price, log_ks, log_ka)
        spread = several & (1 - alone - a > 0)
        view, dview = np.where(spread, 0.0, alone), np.where(spread, 0.0, dalone)
    instance = np.where(spread, (1 - np.where(spread, a, 1.0)) / kappa, 0.0)
    ratio = p / max(p - 1, 1)
    ds, da = -dview * ratio, np.where(spread, da, -dview)
    by_view = -ds * ((p - 1) / p)
    by_instance = np.where(instance > 0, (-by_view - da) / kappa, 0.0)
    a = np.where(spread, a, 1 - view)
    return OwnBlock(view, instance, 1 - view * ratio, a, ds, da, -by_view - by_instance)


def _views_alone(
    program: Program, weights: Weights, log_price: Array, log_ks: Array, log_ka: Array
) -> tuple[Array, Array]:
    """nu where iota = 0: p/(p-1) k_s e^(s/tau) + k_a e^(a/tau) = tau v + S + T' p/(p-1), or 0.

    The logarithm of the left side is convex and decreasing in nu: Newton from nu = 0 is monotone.
    """
    p, tau, M = program.views, program.temperature, program.multiplicity
    ratio = p / (p - 1)
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
