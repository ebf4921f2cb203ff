"""The loss as a convex function of a few numbers per block of equal classes.

The loss depends on the embeddings only through their Gram matrix, convexly, and does not change
when instances of a class (or classes of equal size) are exchanged; so some optimum is constant on
these orbits. Per block g of M_g classes with n_g instances each, the unit norm of an embedding is
split into four fractions (a `Point`):

    view     nu     deviation of a view from its instance's mean        s = 1 - nu p/(p-1)
    instance iota   deviation of an instance from its class mean        a = 1 - nu - kappa iota
    member   mu     deviation of a class mean from the block's mean     b_gg = H_gg - mu/(M_g-1)
    H_gg            squared norm of the block's mean                    b_gh = H_gh

with kappa = n/(n-1), and H the Gram matrix of the block means. The feasible set is
nu, iota, mu >= 0, nu + iota + mu + H_gg = 1 and H positive semidefinite: a convex program.

The batch enters as `Terms`: one term is an anchor's class with its composition of the batch
around it, weighted by the anchor's share in L_sup and L_self.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.special import logsumexp

Array = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]
# Logits further apart may underflow.
FAR = 600.0


@dataclass(frozen=True)
class Terms:
    """Anchors of the batches, T of them; the weights already hold alpha and the probabilities."""

    block: IntArray  # of the anchor's class, (T,), sorted
    own: Array  # instances of the anchor's class in the batch, (T,), at least 1
    others: Array  # instances of other classes in the batch by block, (T, G)
    supervised: Array  # weight in (1 - alpha) L_sup, (T,)
    self_supervised: Array  # weight in alpha L_self, (T,)
    draw: IntArray | None = None  # the sampled batch of each term, (T,); None where not sampled
    # Weight of L_sup's positives of other classes, by block of anchor and positive, (G, G): only
    # where labels are wrong. None: every positive is of the anchor's class.
    across: Array | None = None

    @cached_property
    def weight(self) -> Array:
        """Weight W of the anchor's log-denominator, (T,)."""
        return self.supervised + self.self_supervised

    @cached_property
    def counts(self) -> Array:
        """Own instance, others of its class, those of each block in the batch, (T, 2 + G)."""
        return np.column_stack([np.ones_like(self.own), self.own - 1, self.others])


@dataclass(frozen=True)
class Program:
    """min over `Point` of sum_t W_t log D_t - [sum_g (A_g a_g + T_g q_g) + sum_gh P_gh b_gh]/tau.

    P is the terms' `across`, A_g = S_g - sum_h P_gh.
    """

    size: Array  # instances n_g of a class of block g, (G,)
    multiplicity: Array  # classes M_g of the block, (G,)
    views: int
    alpha: float
    temperature: float
    include: bool  # self pairs
    terms: Terms
    block: IntArray  # of each class, (m,)

    @property
    def blocks(self) -> int:
        """Number of blocks G."""
        return len(self.size)

    @property
    def single(self) -> bool:
        """Whether every block has exactly one term."""
        block = self.terms.block
        return len(block) == self.blocks and bool((np.diff(block) > 0).all())

    @property
    def allowed(self) -> Any:
        """Which fractions may differ from zero, (3, G)."""
        several_views = np.full(self.blocks, self.views > 1)
        return np.stack([several_views, self.size > 1, self.multiplicity > 1])

    @property
    def kappa(self) -> Array:
        """n/(n-1); 1 where n = 1 and there is no instance part."""
        return spread_ratio(self.size)

    @property
    def self_share(self) -> float:
        """dq/ds: part of L_self's pairs of a view that are with other views of the instance."""
        return (self.views - 1) / self.views if self.include else 1.0

    def self_cosine(self, s: Array) -> Array:
        """Mean cosine q of L_self's pairs."""
        return (1 + (self.views - 1) * s) / self.views if self.include else s

    @cached_property
    def pull(self) -> Array:
        """Weight A of L_sup's positives of the anchor's own class by block, (G,)."""
        supervised, across = self.per_block(self.terms.supervised), self.terms.across
        return supervised if across is None else np.maximum(supervised - across.sum(1), 0.0)

    @cached_property
    def alone(self) -> Array:
        """Weight T of L_self by block, (G,)."""
        return self.per_block(self.terms.self_supervised)

    def per_block(self, values: Array) -> Array:
        """Sum of the terms' values by block, (G,)."""
        return np.bincount(self.terms.block, values, minlength=self.blocks).astype(np.float64)

    @property
    def mixing(self) -> csr_array | None:
        """What sums rows of terms by block, (G, T); None for one term per block."""
        if self.single:
            return None
        block = self.terms.block
        ones = np.ones(len(block))
        return csr_array((ones, (block, np.arange(len(block)))), (self.blocks, len(block)))

    @cached_property
    def parts(self) -> list[tuple[int, slice]]:
        """Blocks that have terms, each with where they are."""
        edges = np.searchsorted(self.terms.block, np.arange(self.blocks + 1))
        pairs = enumerate(pairwise(edges))
        return [(g, slice(first, end)) for g, (first, end) in pairs if first < end]


class Point(NamedTuple):
    """A feasible Gram matrix by blocks, or a change of one."""

    fractions: Array  # nu, iota and mu, (3, G)
    means: Array  # H, (G, G)

    def cosines(self, program: Program) -> tuple[Array, Array, Array]:
        """s (G,), a (G,) and b (G, G); b_gg is between two classes of block g."""
        ds, da, b = self.changes(program)
        return 1 + ds, 1 + da, b

    def changes(self, program: Program) -> tuple[Array, Array, Array]:
        """The same, s and a as differences from 1: the linear part of `cosines`."""
        p, (view, instance, member) = program.views, self.fractions
        inner = np.diag(member / np.maximum(program.multiplicity - 1, 1))
        return -view * p / max(p - 1, 1), -view - program.kappa * instance, self.means - inner


class Gradient(NamedTuple):
    """Derivatives of the loss by the numbers of a `Point`, each fraction and H_gg taken as free."""

    fractions: Array
    means: Array


def log(values: Any) -> Any:
    """The logarithm, -inf at zero."""
    with np.errstate(divide="ignore"):
        return np.log(values)


def spread_ratio(size: Array) -> Array:
    """n/(n-1); 1 where n = 1."""
    return np.where(size > 1, size / np.maximum(size - 1, 1e-300), 1.0)


def others_of(multiplicity: Array, own: Array) -> Array:
    """Instances of other classes by block, (G, G), in a batch of own_g of every class."""
    return np.tile(multiplicity * own, (len(own), 1)) - np.diag(own)


def softmax(program: Program, point: Point) -> tuple[Array, Array, Array]:
    """log D_t and the shares in D_t of own views and of instances of the class, each (T,)."""
    terms, p, tau = program.terms, program.views, program.temperature
    s, a, b = point.cosines(program)
    views = log(p - 1) + s[terms.block] / tau
    mates = log(p * (terms.own - 1)) + a[terms.block] / tau
    rest = _log_weighted(program, np.log(p) + b / tau)
    own = np.logaddexp(views, 1 / tau) if program.include else views
    log_d = np.logaddexp(np.logaddexp(own, mates), rest)
    return log_d, np.exp(views - log_d), np.exp(mates - log_d)


def _log_weighted(program: Program, logit: Array) -> Array:
    """Log sum_h others_th exp(logit_gh), without underflow, (T,)."""
    terms = program.terms
    if program.single:
        return np.asarray(logsumexp(logit + log(terms.others), axis=1))
    out = np.empty(len(terms.block))
    for g, part in program.parts:
        others, row = terms.others[part], logit[g]
        top = row.max()
        if top - row.min() < FAR:
            out[part] = log(others @ np.exp(row - top)) + top
        else:
            # Not logsumexp(row, b=others): that is nan where others is zero everywhere.
            out[part] = logsumexp(row + log(others), axis=1)
    return out


def _log_pressure(program: Program, log_d: Array) -> Array:
    """log of sum_t W_t others_th / D_t by block of the anchor, (G, G); -inf where no such pair."""
    terms, G = program.terms, program.blocks
    if program.single:
        return np.asarray(log(terms.weight[:, None] * terms.others) - log_d[:, None])
    out = np.full((G, G), -np.inf)
    for g, part in program.parts:
        low = log_d[part].min()
        weight = terms.weight[part] * np.exp(low - log_d[part])
        out[g] = log(weight @ terms.others[part]) - low
    return out


class _Sums(NamedTuple):
    """Over the terms of a block: W log D of all, and W times the shares in D of each block's."""

    loss: float
    views: Array  # own views, (G,)
    mates: Array  # instances of the class, (G,)
    others: Array  # each block, (G, G)


def _sums(program: Program, point: Point) -> _Sums:
    """A row of cosines is that of all terms of its block, so their exponentials are taken once."""
    terms, p, tau = program.terms, program.views, program.temperature
    logits = np.column_stack(point.cosines(program)) / tau
    own = 1 / tau if program.include else -np.inf
    top = np.maximum(logits.max(1), own)
    if program.single or (top - logits.min(1)).max() > FAR:
        return _sums_by_term(program, point)
    weights = np.exp(logits - top[:, None]) * np.array([p - 1] + [p] * (program.blocks + 1))
    self_pair = np.exp(own - top)
    loss, sums = 0.0, np.zeros_like(weights)
    for g, part in program.parts:
        counts, weight, row = terms.counts[part], terms.weight[part], weights[g].copy()
        row[0] += self_pair[g]
        total = counts @ row
        loss += float(weight @ np.log(total)) + float(top[g] * weight.sum())
        sums[g] = (weight / total) @ counts
    sums *= weights
    return _Sums(loss, sums[:, 0], sums[:, 1], sums[:, 2:])


def _sums_by_term(program: Program, point: Point) -> _Sums:
    """In logarithms throughout: also where exponentials underflow."""
    weight, logit = program.terms.weight, point.cosines(program)[2] / program.temperature
    log_d, views, mates = softmax(program, point)
    others = np.exp(_log_pressure(program, log_d) + np.log(program.views) + logit)
    by_block = program.per_block(weight * views), program.per_block(weight * mates)
    return _Sums(float(weight @ log_d), *by_block, others)


def evaluate(program: Program, point: Point) -> tuple[float, Gradient]:
    """The loss in nats and its gradient at a point."""
    terms, tau = program.terms, program.temperature
    s, a, b = point.cosines(program)
    pull, T = program.pull, program.alone
    sums = _sums(program, point)
    loss = sums.loss - float(pull @ a + T @ program.self_cosine(s)) / tau
    ds = (sums.views - T * program.self_share) / tau
    da = (sums.mates - pull) / tau
    directed = sums.others / tau
    if terms.across is not None:
        loss -= float((terms.across * b).sum()) / tau
        directed -= terms.across / tau
    return loss, _gradient(program, ds, da, directed)


def _gradient(program: Program, ds: Array, da: Array, directed: Array) -> Gradient:
    """The gradient from derivatives by s (G,), by a (G,) and by b of the anchors' side (G, G)."""
    p = program.views
    view = -ds * p / (p - 1) - da if p > 1 else -da
    member = -np.diag(directed) / np.maximum(program.multiplicity - 1, 1)
    return Gradient(np.stack([view, -program.kappa * da, member]), (directed + directed.T) / 2)


def curvature(program: Program, point: Point) -> Callable[[Point], Gradient]:
    """How the gradient changes along the changes of a point's numbers.

    With P the softmax of an anchor of block g over its own views, the other instances of its class
    and the other blocks,

        tau d log D_t = P_s ds_g + P_a da_g + sum_h P_th db_gh,  dP = P (d cosine/tau - d log D).
    """
    terms, tau, block = program.terms, program.temperature, program.terms.block
    log_d, views, mates = softmax(program, point)
    b = point.cosines(program)[2]
    others = np.exp(log(program.views * terms.others) + b[block] / tau - log_d[:, None])
    weight = terms.weight / tau
    mixing = program.mixing

    def along(change: Point) -> Gradient:
        ds, da, db = change.changes(program)
        d_log = (views * ds[block] + mates * da[block] + (others * db[block]).sum(1)) / tau
        moved = weight[:, None] * others * (db[block] / tau - d_log[:, None])
        return _gradient(
            program,
            program.per_block(weight * views * (ds[block] / tau - d_log)),
            program.per_block(weight * mates * (da[block] / tau - d_log)),
            moved if mixing is None else mixing @ moved,
        )

    return along
