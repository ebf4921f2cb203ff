"""Cosines of one class and how far chance moves them.

For a class of n instances in G independent units (see `moments`), with S the sum of its instances:

    a = (||S||^2 - sum_g ||t_g||^2) / (n^2 - sum_g k_g^2)     mean cosine across units
    s = sum_g r_g / sum_g h_g                                 mean cosine between views
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uncollapse.metrics.moments import (
    COSINE,
    COSINE_COUNT,
    COUNT,
    COUNT_SQUARE,
    EXTRA,
    SQUARE,
    VIEW_MEAN_SQUARE,
    ClassMoments,
    Floats,
)


@dataclass(frozen=True)
class LevelsOfClass:
    """What one class contributes to every level.

    Attributes:
        a: Mean cosine across units, NaN with fewer than two.
        s: Mean cosine between views of an instance, NaN without views.
        plug_in: Within, instance and view variance of the sample itself.
        degrees: Degrees of freedom of the jackknife, 0 where there is none (under three units, or
            only totals were kept).
    """

    a: float
    s: float
    plug_in: tuple[float, float, float]
    degrees: int


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
    (v.t - (v.mean) k)/n, over 1 - 1/G.

    Args:
        moments: At least three units.
        level: Its cosines.
        v: (d,) direction in which the class mean is wanted.

    Returns:
        (3, d + 6), each row zero on the totals.
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
