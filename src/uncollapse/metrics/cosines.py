"""Cosines inside classes and between them, and how far chance moves them.

For a class of n instances in G independent units (see `moments`), with S the sum of its instances:

    a = (||S||^2 - sum_g ||t_g||^2) / (n^2 - sum_g k_g^2)     mean cosine across units
    s = sum_g r_g / sum_g h_g                                 mean cosine between views

A group (one patient, say) may have instances in several classes. Two rows of one group are no
independent pair, whether they lie in one class or in two: m_c . m_c' is too large for a new group
by about the covariance inside groups over their number. So where groups cross classes, the mean is
taken over pairs of different groups there too. With t_cg and k_cg those of class c in group g,

    b_cc' = N_cc' / D_cc',   N = S_c . S_c' - sum_g t_cg . t_c'g,   D = n_c n_c' - sum_g k_cg k_c'g

Every term is a function of the classes' units, so what merges those merges this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from uncollapse.metrics.features import (
    COSINE,
    COSINE_COUNT,
    COUNT,
    COUNT_SQUARE,
    EXTRA,
    SQUARE,
    VIEW_MEAN_SQUARE,
    Floats,
    Integers,
)
from uncollapse.metrics.moments import ClassMoments

# Numbers held at a time while groups are gone through.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class LevelsOfClass:
    """What one class contributes to every level."""

    a: float  # NaN with fewer than two units
    s: float  # NaN without views
    plug_in: tuple[float, float, float]  # within, instance and view variance of the sample itself
    degrees: int  # of freedom of the jackknife; 0 under three units, or where only totals were kept


def levels_of_class(moments: ClassMoments) -> LevelsOfClass:
    """Unbiased cosines and plug-in variances of one class."""
    X, S, n = moments.totals, moments.sum, moments.totals[COUNT]
    pairs = n**2 - X[COUNT_SQUARE]
    a = float((S @ S - X[SQUARE]) / pairs) if moments.units > 1 else float("nan")
    s = float(X[COSINE] / X[COSINE_COUNT]) if X[COSINE_COUNT] > 0 else float("nan")
    squared_mean, view_mean = float(S @ S / n**2), float(X[VIEW_MEAN_SQUARE] / n)
    plug_in = (1 - squared_mean, view_mean - squared_mean, 1 - view_mean)
    G = moments.replicates
    return LevelsOfClass(a, s, plug_in, G - 1 if G >= 3 and moments.has_spread else 0)


def jackknife_functionals(moments: ClassMoments, level: LevelsOfClass, v: Floats) -> Floats:
    """Functionals f with sum_g (f . x_g)^2 = the jackknife variance of a, of s and of v . mean.

    Leaving out unit g changes U = ||S||^2 - sum ||t||^2 by u_g = 2 t_g.S - 2||t_g||^2 and
    D = n^2 - sum k^2 by d_g = 2 n k_g - 2 k_g^2, so it changes a by -(u_g - a d_g)/(D - d_g). With
    equal units d_g = 2D/G and this is the exact leave-one-out jackknife; with unequal units that
    mean of d_g stands in the denominator. s and v . mean are ratios of sums: (r - s h)/H and
    (v.t - (v.mean) k)/n, over 1 - 1/G. Of three units or more; (3, d + 6), zero on the totals.
    """
    d, G, X = moments.dimension, moments.replicates, moments.totals
    n = X[COUNT]
    scale = np.sqrt((G - 1) / G)
    f = np.zeros((3, d + EXTRA))
    f[2] = _of_mean(moments, v)
    f[0, :d] = 2 * moments.sum
    f[0, SQUARE], f[0, COUNT], f[0, COUNT_SQUARE] = -2, -2 * level.a * n, 2 * level.a
    f[0] *= scale / ((n**2 - X[COUNT_SQUARE]) * (1 - 2 / G))
    if X[COSINE_COUNT] > 0:
        f[1, COSINE], f[1, COSINE_COUNT] = 1, -level.s
        f[1] *= scale / (X[COSINE_COUNT] * (1 - 1 / G))
    return f


def _of_mean(moments: ClassMoments, v: Floats) -> Floats:
    """The functional of v . mean, which two units are enough for."""
    d, G = moments.dimension, moments.replicates
    f = np.zeros(d + EXTRA)
    f[:d], f[COUNT] = v, -v @ moments.mean
    return np.asarray(f * np.sqrt((G - 1) / G) / (moments.totals[COUNT] * (1 - 1 / G)))


def variance_of_mean(moments: ClassMoments, v: Floats) -> float:
    """Jackknife variance of v . mean alone, for classes of two units."""
    if moments.replicates < 2:
        return 0.0  # Both fell into one block, so nothing is known of it.
    return float(moments.products(_of_mean(moments, v)[None])[0, 0])


def jackknife_products(moments: ClassMoments, functionals: Floats) -> tuple[Floats, float]:
    """Covariance (3, 3) of a, s and v . mean, and what was taken off the variance of a.

    The jackknife variance of a second-order U-statistic is too large, in expectation by

        2 trace(Sigma^2)/((G - 1)(G - 2)) * (G (G - 1)/D)^2

    (with Hoeffding's variances z1 and z2: Var a = 4 z1/n + 2 z2/(n (n - 1)), E V_jackknife =
    4 z1/n + 4 z2/(n (n - 2))). It matters where residuals are orthogonal to the class mean, as in
    an exact SSEM: there z1 = 0 and intervals would be 1.4 times too long. It is subtracted, at most
    down to the variance that is left when z1 = 0; so there a little too much remains.
    """
    products = moments.products(functionals)
    G, X = moments.replicates, moments.totals
    if G < 4:
        return products, 0.0
    pairs = X[COUNT] ** 2 - X[COUNT_SQUARE]
    excess = 2 * moments.squared_spread() / ((G - 1) * (G - 2)) * (G * (G - 1) / pairs) ** 2
    excess = float(np.clip(excess, 0, products[0, 0] * (1 - (G - 2) / (2 * (G - 1)))))
    products[0, 0] -= excess
    return products, excess


@dataclass(frozen=True)
class Crossing:
    """Products of different classes' means over pairs of different groups."""

    value: float  # sum over c != c' of w_c w_c' b_cc'
    # By group code; their squares sum to the jackknife variance. None with under three in a class.
    influences: Floats | None
    groups: int  # different ones


@dataclass(frozen=True)
class _Groups:
    """Every (class, group) as one row: t, k, the class and the group's code."""

    sums: Floats
    counts: Floats
    owner: Integers
    code: Integers

    def batches(self) -> Iterator[Integers]:
        """(groups, k) rows of groups that occur in k classes, for every k of two or more."""
        order = np.lexsort((self.owner, self.code))
        code = self.code[order]
        starts = np.flatnonzero(np.r_[True, code[1:] != code[:-1]])
        lengths = np.diff(np.r_[starts, len(code)])
        for k in np.unique(lengths[lengths > 1]).tolist():
            first = starts[lengths == k]
            step = max(1, _CHUNK // (k * (k + self.sums.shape[1])))
            for at in range(0, len(first), step):
                yield order[first[at : at + step, None] + np.arange(k)]

    def pairs(self, index: Integers) -> tuple[Floats, Floats, Integers, Integers]:
        """t_cg . t_c'g and k_cg k_c'g, each (groups, k, k), and the classes c and c' of each."""
        t, k, c = self.sums[index], self.counts[index], self.owner[index]
        gram = t @ t.transpose(0, 2, 1)
        sizes = k[:, :, None] * k[:, None, :]
        rows, columns = np.broadcast_arrays(c[:, :, None], c[:, None])
        return gram, sizes, rows, columns


def groups_cross(classes: Sequence[ClassMoments]) -> bool:
    """Whether units carry names, and one occurs in two classes or more."""
    names = [moments.names for moments in classes if moments.names is not None]
    together = np.concatenate(names) if len(names) == len(classes) else np.zeros(0)
    return len(np.unique(together)) < len(together)


def crossing_products(classes: Sequence[ClassMoments], w: Floats) -> Crossing:
    """The products of class means, weighted by (C,) w, over pairs of different groups.

    Leaving out group g changes N_cc' by -(t_cg.S_c' + S_c.t_c'g - 2 t_cg.t_c'g) and D_cc' likewise.
    As for a, the mean change of D over the groups of both classes, 2 D/U with U the
    number of these, stands in the denominator: exact for equal groups.
    """
    groups = _stacked(classes)
    n = np.array([moments.totals[COUNT] for moments in classes])
    S = np.stack([moments.sum for moments in classes])
    N, D, shared = S @ S.T, np.outer(n, n), np.zeros((len(n), len(n)))
    for index in groups.batches():
        gram, sizes, c, other = groups.pairs(index)
        np.subtract.at(N, (c, other), gram)
        np.subtract.at(D, (c, other), sizes)
        np.add.at(shared, (c, other), 1.0)
    # Pairs of one class are a_c's, so they weigh nothing here.
    np.fill_diagonal(D, 1.0)
    weights = np.outer(w, w) / D
    np.fill_diagonal(weights, 0.0)
    value, different = float(np.sum(weights * N)), len(np.unique(groups.code))
    G = np.array([float(moments.units) for moments in classes])
    if G.min() < 3:
        return Crossing(value, None, different)
    inverse = (1 / G[:, None] + 1 / G) / 2
    P = weights * np.sqrt(1 - inverse) / (1 - 2 / (G[:, None] + G - shared))
    return Crossing(value, _influences(groups, P, P * N / D, S, n), different)


def _influences(groups: _Groups, P: Floats, Pb: Floats, S: Floats, n: Floats) -> Floats:
    """sum over c != c' of P_cc' (u_g - b_cc' d_g), by group code."""
    S, n = P @ S, Pb @ n
    sums_by_class = np.split(groups.sums, np.flatnonzero(np.diff(groups.owner)) + 1)
    rows = np.concatenate([t @ direction for t, direction in zip(sums_by_class, S, strict=True)])
    rows -= groups.counts * n[groups.owner]
    influences = np.bincount(groups.code, weights=2 * rows)
    for index in groups.batches():
        gram, sizes, c, other = groups.pairs(index)
        both = P[c, other] * gram - Pb[c, other] * sizes
        influences[groups.code[index[:, 0]]] -= 2 * both.sum(axis=(1, 2))
    return np.asarray(influences)


def _stacked(classes: Sequence[ClassMoments]) -> _Groups:
    # Units with names are kept as rows, and here all have names: no class is left out.
    kept = [moments.rows for moments in classes if moments.rows is not None]
    names = [moments.names for moments in classes if moments.names is not None]
    sums = np.concatenate([rows[:, :-EXTRA] for rows in kept])
    owner = np.repeat(np.arange(len(classes)), [len(codes) for codes in names])
    return _Groups(sums, np.concatenate(kept)[:, COUNT], owner, np.concatenate(names))
