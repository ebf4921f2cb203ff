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

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from uncollapse.records import Setting

__all__ = [
    "Gradient",
    "Point",
    "Program",
    "Terms",
    "blocks",
    "evaluate",
    "gradient_of",
    "log_denominators",
    "others_of",
]

Array = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Terms:
    """Anchors of the batches, T of them; the weights already hold alpha and the probabilities.

    Attributes:
        block: Block of the anchor's class, (T,), sorted.
        own: Instances of the anchor's class in the batch, (T,), at least 1.
        others: Instances of other classes in the batch by block, (T, G).
        supervised: Weight in (1 - alpha) L_sup, (T,).
        self_supervised: Weight in alpha L_self, (T,).
        draw: The batch that each term belongs to, (T,), or None where terms are expectations.
    """

    block: IntArray
    own: Array
    others: Array
    supervised: Array
    self_supervised: Array
    draw: IntArray | None = None

    @property
    def weight(self) -> Array:
        """Weight of the anchor's log-denominator, (T,)."""
        return self.supervised + self.self_supervised

    def single(self, blocks: int) -> bool:
        """Whether every block has exactly one term."""
        return len(self.block) == blocks and bool((np.diff(self.block) > 0).all())


@dataclass(frozen=True)
class Program:
    """min over `Point` of sum_t W_t log D_t - sum_g (S_g a_g + T_g q_g)/tau.

    Attributes:
        size: Instances n_g of a class of block g, (G,).
        multiplicity: Classes M_g of the block, (G,).
        views: Views p of an instance.
        temperature: Temperature tau.
        include: Whether self pairs are included.
        terms: The batches.
    """

    size: Array
    multiplicity: Array
    views: int
    temperature: float
    include: bool
    terms: Terms

    @property
    def blocks(self) -> int:
        """Number of blocks G."""
        return len(self.size)

    @property
    def single(self) -> bool:
        """Whether every block has exactly one term."""
        return self.terms.single(len(self.size))

    @property
    def kappa(self) -> Array:
        """n/(n-1); 1 where n = 1 and there is no instance part."""
        return np.where(self.size > 1, self.size / np.maximum(self.size - 1, 1), 1.0)

    def per_block(self, values: Array) -> Array:
        """Sum of the terms' values by block, (G,)."""
        return np.bincount(self.terms.block, values, minlength=self.blocks).astype(np.float64)


@dataclass(frozen=True)
class Point:
    """A feasible Gram matrix by blocks (see the module's text), each (G,), and H (G, G)."""

    view: Array
    instance: Array
    member: Array
    means: Array

    def cosines(self, program: Program) -> tuple[Array, Array, Array]:
        """S (G,), a (G,) and b (G, G); b_gg is between two classes of block g."""
        ds, da, b = self.changes(program)
        return 1 + ds, 1 + da, b

    def changes(self, program: Program) -> tuple[Array, Array, Array]:
        """The same, s and a as differences from 1: the linear part of `cosines`."""
        p, M = program.views, program.multiplicity
        b = self.means.copy()
        np.fill_diagonal(b, np.diag(b) - self.member / np.maximum(M - 1, 1))
        return -self.view * p / max(p - 1, 1), -self.view - program.kappa * self.instance, b


@dataclass(frozen=True)
class Gradient:
    """Derivatives of the loss, each fraction and H_gg taken as free: (G,) and (G, G)."""

    view: Array
    instance: Array
    member: Array
    means: Array


def blocks(setting: Setting) -> tuple[Array, Array, IntArray]:
    """Sizes of the blocks, their multiplicities, and the block of each class."""
    size, block, multiplicity = np.unique(setting.counts, return_inverse=True, return_counts=True)
    return size.astype(float), multiplicity.astype(float), block.astype(np.int64)


def others_of(multiplicity: Array, own: Array) -> Array:
    """Instances of other classes by block, (G, G), in a batch of own_g of every class."""
    others = np.tile(multiplicity * own, (len(own), 1))
    others[np.diag_indices(len(own))] -= own
    return others


def log_denominators(program: Program, point: Point) -> tuple[Array, Array, Array, Array]:
    """log of D_t and of its parts: own views, instances of the class, other classes; each (T,)."""
    terms, p, tau = program.terms, program.views, program.temperature
    s, a, b = point.cosines(program)
    g = terms.block
    with np.errstate(divide="ignore"):
        views = np.log(p - 1) + s[g] / tau
        mates = np.log(p * (terms.own - 1)) + a[g] / tau
        rest = _log_weighted(terms, np.log(p) + b / tau)
    own = np.logaddexp(views, 1 / tau) if program.include else views
    return np.logaddexp(np.logaddexp(own, mates), rest), views, mates, rest


def _log_weighted(terms: Terms, logit: Array) -> Array:
    """Log sum_h others_th exp(logit_gh), without underflow, (T,)."""
    if terms.single(len(logit)):
        with np.errstate(divide="ignore"):
            return np.asarray(logsumexp(logit + np.log(terms.others), axis=1))
    out = np.empty(len(terms.block))
    for g, part in _slices(terms, len(logit)):
        others, row = terms.others[part], logit[g]
        top = row.max()
        with np.errstate(divide="ignore"):
            if top - row.min() < 600:
                out[part] = np.log(others @ np.exp(row - top)) + top
            else:
                # Not logsumexp(row, b=others): that is nan where others is zero everywhere.
                out[part] = logsumexp(row + np.log(others), axis=1)
    return out


def _slices(terms: Terms, count: int) -> list[tuple[int, slice]]:
    edges = np.searchsorted(terms.block, np.arange(count + 1))
    return [(g, slice(edges[g], edges[g + 1])) for g in range(count) if edges[g] < edges[g + 1]]


def log_pressure(program: Program, log_d: Array) -> Array:
    """log of sum_t W_t others_th / D_t by block of the anchor, (G, G); -inf where no such pair."""
    terms, G = program.terms, program.blocks
    if program.single:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(terms.weight[:, None] * terms.others) - log_d[:, None])
    out = np.full((G, G), -np.inf)
    for g, part in _slices(terms, G):
        low = log_d[part].min()
        with np.errstate(divide="ignore"):
            weight = terms.weight[part] * np.exp(low - log_d[part])
            out[g] = np.log(weight @ terms.others[part]) - low
    return out


def evaluate(program: Program, point: Point) -> tuple[float, Gradient]:
    """The loss in nats and its gradient at a point."""
    terms, p, tau = program.terms, program.views, program.temperature
    s, a, b = point.cosines(program)
    log_d, views, mates, _ = log_denominators(program, point)
    weight = terms.weight
    S, T = program.per_block(terms.supervised), program.per_block(terms.self_supervised)
    q = (1 + (p - 1) * s) / p if program.include else s
    loss = float(weight @ log_d - (S @ a + T @ q) / tau)

    share = T * ((p - 1) / p if program.include else 1.0)
    ds = (program.per_block(weight * np.exp(views - log_d)) - share) / tau
    da = (program.per_block(weight * np.exp(mates - log_d)) - S) / tau
    with np.errstate(divide="ignore"):
        directed = np.exp(log_pressure(program, log_d) + np.log(p) + b / tau) / tau
    return loss, gradient_of(program, ds, da, directed)


def gradient_of(program: Program, ds: Array, da: Array, directed: Array) -> Gradient:
    """The gradient from derivatives by s (G,), by a (G,) and by b of the anchors' side (G, G)."""
    p = program.views
    pair = np.diag(directed).copy()
    means = (directed + directed.T) / 2
    np.fill_diagonal(means, pair)
    return Gradient(
        view=-ds * p / (p - 1) - da if p > 1 else -da,
        instance=-program.kappa * da,
        member=-pair / np.maximum(program.multiplicity - 1, 1),
        means=means,
    )
