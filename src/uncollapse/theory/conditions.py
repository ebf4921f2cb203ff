"""The optimality conditions of a `Program` with one term per block, and their derivatives.

The batch holds own_g instances of every class (full batches, balanced ones of all classes). Let Z
be the multiplier of "H positive semidefinite". In most settings Z = u u' has rank one. Stationarity
in the pair b_gh then gives, with lambda = log D, theta = log u and k_gh = W_g others_gh / D_g,

    b_gh = tau (theta_g + theta_h - log[(p/(2 tau)) (k_gh + k_hg)])           g != h
    b_gg = tau (2 theta_g + log((M_g-1)/M_g) - log[(p/tau) k_gg])             if M_g > 1

and v_g = u_g^2 / M_g is the price of a unit of norm of block g, which fixes nu_g and iota_g
(own_block). What remains are 2 G equations in (theta, lambda):

    log(D_g(theta, lambda)) - lambda_g = 0   and   (H u)_g / u_g = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from uncollapse.theory.own_block import ClassPull, OwnBlock, own_block
from uncollapse.theory.program import Point, Program, others_of

__all__ = ["Multipliers", "Weights", "equations", "point_of", "weights_of"]

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Multipliers:
    """theta = log u and lambda = log D by block, each (G,)."""

    theta: Array
    log_d: Array


@dataclass(frozen=True)
class Weights:
    """Per-class weights of a single-term program, which the path interpolates."""

    supervised: Array
    self_supervised: Array
    own: Array
    size: Array

    @property
    def kappa(self) -> Array:
        """n/(n-1); 1 where n = 1."""
        return np.where(self.size > 1, self.size / np.maximum(self.size - 1, 1e-300), 1.0)


def weights_of(program: Program) -> Weights:
    """Per-class weights; a class without weight (alpha = 0, one instance) gets a negligible one.

    That picks, among the optima that differ only in where such a class lies, the limit of a
    vanishing weight.
    """
    terms, M = program.terms, program.multiplicity
    S, T = terms.supervised / M, terms.self_supervised / M
    floor = 1e-13 * terms.own / (M @ terms.own)
    return Weights(S, np.where(S + T > 0, T, floor), terms.own, program.size)


def _pull(program: Program, weights: Weights) -> ClassPull:
    p = program.views
    return ClassPull(
        program.multiplicity * weights.supervised,
        program.multiplicity * weights.self_supervised * ((p - 1) / p if program.include else 1.0),
        weights.kappa,
        program.size > 1,
        p,
        program.temperature,
    )


def point_of(program: Program, multipliers: Multipliers) -> Point:
    """The point that the multipliers stand for (feasible where they solve the equations)."""
    weights = weights_of(program)
    own, b, _, _ = _state(program, weights, multipliers)
    return _assemble(program.multiplicity, own, b)


def _assemble(multiplicity: Array, own: OwnBlock, b: Array) -> Point:
    """A point from the classes' own fractions and the pair cosines."""
    M, rest = multiplicity, own.rest
    member = np.where(M > 1, (rest - np.diag(b)) * (M - 1) / M, 0.0)
    means = b.copy()
    np.fill_diagonal(means, rest - member)
    return Point(own.view, own.instance, member, means)


def _state(
    program: Program, weights: Weights, at: Multipliers
) -> tuple[OwnBlock, Array, Array, ClassPull]:
    p, M = program.views, program.multiplicity
    pull = _pull(program, weights)
    log_w = np.log(M * (weights.supervised + weights.self_supervised)) - at.log_d
    with np.errstate(divide="ignore"):
        log_k = log_w[:, None] + np.log(others_of(M, weights.own))
        # A lone block's diagonal stands for no pair; any finite value will do.
        np.fill_diagonal(log_k, np.where(M > 1, np.diag(log_k), 0.0))
        own = own_block(
            pull,
            2 * at.theta - np.log(M),
            log_w + np.log(p - 1),
            log_w + np.log(p * np.maximum(weights.own - 1, 0)),
        )
    b, share = _pair_cosines(M, at.theta, log_k, p, program.temperature)
    return own, b, share, pull


def _pair_cosines(
    multiplicity: Array, theta: Array, log_k: Array, views: int, tau: float
) -> tuple[Array, Array]:
    """b (G, G) from theta and log k, and k_gh / (k_gh + k_hg), the share of g's own anchors."""
    both = np.logaddexp(log_k, log_k.T)
    b = tau * (theta[:, None] + theta - both - np.log(views / (2 * tau)))
    with np.errstate(divide="ignore"):
        inner = np.log((multiplicity - 1) / multiplicity) - np.log(views / tau)
    several = multiplicity > 1
    diagonal = np.where(several, np.diag(log_k), 0.0)
    np.fill_diagonal(b, np.where(several, tau * (2 * theta + inner - diagonal), 0.0))
    share = np.exp(log_k - both)
    np.fill_diagonal(share, np.where(several, 1.0, 0.0))
    return b, share


def _means_equations(
    multiplicity: Array, pull: ClassPull, theta: Array, b: Array, share: Array, own: OwnBlock
) -> tuple[Array, Array, Array, Array]:
    """(H u)_g / u_g, its scale, and its derivatives by theta and lambda (each (G, G))."""
    tau, M = pull.temperature, multiplicity
    diagonal = np.diag_indices_from(b)
    ratio = np.exp(theta - theta[:, None])
    off = b * ratio
    inner = off[diagonal].copy()
    off[diagonal] = 0.0
    norm = (own.rest + (M - 1) * inner) / M
    row = off.sum(1)
    by_theta, by_lambda = (tau + b) * ratio, tau * share.T * ratio
    drest = own.drest(pull)
    by_theta[diagonal] = tau * (ratio.sum(1) - 1) - row + 2 * (drest[0] + (M - 1) * tau) / M
    by_lambda[diagonal] = (
        tau * ((share * ratio).sum(1) - share[diagonal]) + (drest[1] + (M - 1) * tau) / M
    )
    scale = (np.abs(own.rest) + (M - 1) * np.abs(inner)) / M + np.abs(off).sum(1)
    return norm + row, scale, by_theta, by_lambda


def equations(program: Program, weights: Weights, at: Multipliers) -> tuple[Array, Array, Array]:
    """Residuals (2 G,), their scales, and the Jacobian (2 G, 2 G)."""
    tau, p, M = program.temperature, program.views, program.multiplicity
    own, b, share, pull = _state(program, weights, at)
    diagonal = np.diag_indices_from(b)
    with np.errstate(divide="ignore"):
        pairs = np.exp(np.log(p * others_of(M, weights.own)) + b / tau - at.log_d[:, None])
        views = np.exp(np.log(p - 1) + own.s / tau - at.log_d)
        mates = np.exp(np.log(p * np.maximum(weights.own - 1, 0)) + own.a / tau - at.log_d)
    self_pair = np.exp(1 / tau - at.log_d) if program.include else 0.0
    total = self_pair + views + mates + pairs.sum(1)
    inner = pairs[diagonal].copy()
    by_theta, by_lambda = pairs.copy(), pairs * share.T
    by_theta[diagonal] = pairs.sum(1) + inner + (views * own.ds[0] + mates * own.da[0]) * 2 / tau
    by_lambda[diagonal] = (
        (pairs * share).sum(1) - total + (views * own.ds[1] + mates * own.da[1]) / tau
    )
    by_theta /= total[:, None]
    by_lambda /= total[:, None]
    mean, scale, mean_theta, mean_lambda = _means_equations(M, pull, at.theta, b, share, own)
    # A trial step may underflow to log 0; its residual is then infinite and the step is refused.
    with np.errstate(divide="ignore"):
        logs = np.log(total)
    return (
        np.concatenate([logs, mean]),
        np.concatenate([np.ones_like(total), scale]),
        np.block([[by_theta, by_lambda], [mean_theta, mean_lambda]]),
    )
