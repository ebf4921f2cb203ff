"""What one class is reduced to: sums and second moments of its independent units.

A unit is what was drawn independently: a row, an instance with its views, or a group of instances.
Unit g of a class is one vector of features that add up over units,

    x_g = (t_g, ||t_g||^2, k_g, k_g^2, r_g, h_g, q_g)

    t_g  sum over the unit's instances of the mean of their views    (d numbers)
    k_g  number of instances
    r_g  sum over its instances with two views or more of their mean cross-view cosine
    h_g  number of those instances
    q_g  sum over its instances of ||mean of the views||^2

Every estimate is a function of the class's total X = sum_g x_g, and to first order its jackknife
influence is linear in x_g. So the totals and a representation of sum_g (x_g - x)(x_g - x)' give
every estimate AND its standard error; both merge exactly between batches, shards and processes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Features after the d of t_g, by position from the end.
EXTRA = 6
SQUARE, COUNT, COUNT_SQUARE, COSINE, COSINE_COUNT, VIEW_MEAN_SQUARE = range(-EXTRA, 0)


def instance_features(rows: Floats, instances: Integers | None) -> Floats:
    """Features x_g with every instance its own unit.

    Args:
        rows: (N, d) unit vectors of one class.
        instances: (N,) instance codes, or None when every row is its own instance.

    Returns:
        (units, d + 6) features, in the order of the instance codes.
    """
    means, views = rows, np.ones(len(rows), dtype=np.int64)
    if instances is not None:
        order = np.argsort(instances, kind="stable")
        in_order = instances[order]
        starts = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])
        views = np.diff(np.r_[starts, len(in_order)])
        means = np.add.reduceat(rows[order], starts, axis=0) / views[:, None]
    features = np.zeros((len(means), rows.shape[1] + EXTRA))
    features[:, : rows.shape[1]] = means
    square = np.einsum("ij,ij->i", means, means)
    features[:, SQUARE] = features[:, VIEW_MEAN_SQUARE] = square
    features[:, COUNT] = features[:, COUNT_SQUARE] = 1
    several = views > 1
    p = views[several]
    features[several, COSINE] = (square[several] * p - 1) / (p - 1)
    features[several, COSINE_COUNT] = 1
    return features


def group_features(features: Floats, groups: Integers) -> tuple[Floats, Integers]:
    """Features of groups from those of their instances, and the group code of each."""
    codes, inverse = np.unique(groups, return_inverse=True)
    totals = np.zeros((len(codes), features.shape[1]))
    np.add.at(totals, inverse, features)
    return close_groups(totals), codes


def close_groups(totals: Floats) -> Floats:
    """Set the two features of a group that are not sums over its instances."""
    dimension = totals.shape[1] - EXTRA
    totals[:, SQUARE] = np.einsum("ij,ij->i", totals[:, :dimension], totals[:, :dimension])
    totals[:, COUNT_SQUARE] = totals[:, COUNT] ** 2
    return totals


@dataclass
class ClassMoments:
    """Totals and second moments of one class's units.

    Attributes:
        units: Number of units G.
        totals: (d + 6,) sum of the features.
        samples: Rows, all views counted.
        scatter: (d + 6, d + 6) sum of squared deviations of the features from their mean, for units
            of one instance each; or None when `rows` are kept.
        rows: (units or blocks, d + 6) features of the units, or of blocks of them.
        blocked: Whether `rows` are blocks, which are fewer than the units.
        names: Group code of each of `rows`, to follow a group through several classes.
    """

    units: int
    totals: Floats
    samples: int
    scatter: Floats | None = None
    rows: Floats | None = None
    blocked: bool = False
    names: Integers | None = None

    @property
    def dimension(self) -> int:
        """Dimensions of the embedding."""
        return len(self.totals) - EXTRA

    @property
    def sum(self) -> Floats:
        """S, the sum over instances of the mean of their views."""
        return self.totals[: self.dimension]

    @property
    def mean(self) -> Floats:
        """S / n, the class mean with every instance weighing the same."""
        return np.asarray(self.sum / self.totals[COUNT])

    @property
    def instances(self) -> int:
        """N, the number of instances."""
        return round(float(self.totals[COUNT]))

    @property
    def replicates(self) -> int:
        """What the jackknife leaves out one of: units, or blocks where they are kept."""
        if not self.blocked or self.rows is None:
            return self.units
        return int(np.count_nonzero(self.rows[:, COUNT]))

    @property
    def has_views(self) -> bool:
        """Whether an instance has two views or more."""
        return bool(self.totals[COSINE_COUNT] > 0)

    @property
    def has_spread(self) -> bool:
        """Whether more than totals was kept, so that there can be an interval."""
        return self.rows is not None or self.scatter is not None

    @classmethod
    def of_units(
        cls, features: Floats, samples: int, names: Integers | None = None
    ) -> ClassMoments:
        """From the features of all units, kept in whichever form is smaller."""
        units, width = features.shape
        if names is None and units > width:
            return cls.scattered(features, samples)
        return cls(units, features.sum(axis=0), samples, rows=features, names=names)

    @classmethod
    def scattered(cls, features: Floats, samples: int = 0) -> ClassMoments:
        """From the features of all units, kept as their scatter."""
        centred = features - features.mean(axis=0)
        return cls(len(features), features.sum(axis=0), samples, scatter=centred.T @ centred)

    def merged(self, other: ClassMoments) -> ClassMoments:
        """Both together: C = C_1 + C_2 + n_1 n_2/(n_1 + n_2) d d', d the difference of the means.

        Centred sums, because sum x x' - n m m' loses every digit when a class is nearly one point
        (Chan, Golub & LeVeque 1983, equation 2.1b).
        """
        assert self.scatter is not None  # only this form is merged
        assert other.scatter is not None
        units = self.units + other.units
        difference = other.totals / other.units - self.totals / self.units
        weight = self.units * other.units / units
        together = self.scatter + other.scatter + weight * np.outer(difference, difference)
        totals = self.totals + other.totals
        return ClassMoments(units, totals, self.samples + other.samples, scatter=together)

    def products(self, functionals: Floats) -> Floats:
        """The (j, j) matrix sum_g (f_a . x_g)(f_b . x_g) for functionals with f . totals = 0."""
        if self.rows is not None:
            values = self.influences(functionals)
            return np.asarray(values.T @ values)
        assert self.scatter is not None  # one of the two forms always exists
        return np.asarray(functionals @ self.scatter @ functionals.T)

    def influences(self, functionals: Floats) -> Floats:
        """f_a . x_g for every kept row g: (rows, j)."""
        assert self.rows is not None  # the callers keep rows where they need influences
        return np.asarray(self.rows @ functionals.T)

    def covariance(self) -> Floats:
        """(d, d) covariance of the instances, divisor G - 1; units must be single instances."""
        d = self.dimension
        if self.rows is None:
            assert self.scatter is not None  # one of the two forms always exists
            return np.asarray(self.scatter[:d, :d] / (self.units - 1))
        y = self.rows[:, :d] - self.mean
        return np.asarray(y.T @ y / (self.units - 1))

    def along(self, directions: Floats) -> Floats:
        """U' Sigma u for each row u of (k, d) directions, Sigma as in `covariance`."""
        if self.rows is None:
            spread = np.einsum("ij,ij->i", directions @ self.covariance(), directions)
            return np.asarray(spread)
        y = (self.rows[:, : self.dimension] - self.mean) @ directions.T
        return np.asarray(np.einsum("ij,ij->j", y, y) / (self.units - 1))

    def eigenvalues(self) -> Floats:
        """Eigenvalues of `covariance`, largest first, the zeros beyond G - 1 left out."""
        d, G = self.dimension, self.units
        if self.rows is not None and d > G:
            y = self.rows[:, :d] - self.mean
            values = np.linalg.eigvalsh(y @ y.T / (G - 1))
        else:
            values = np.linalg.eigvalsh(self.covariance())
        return np.asarray(np.clip(values[::-1][: G - 1], 0, None))

    def squared_spread(self) -> float:
        """Unbiased trace(Sigma^2), Sigma the covariance of y_g = t_g - k_g mean over the units.

        With S the sample covariance (divisor G - 1) and Q = sum ||y_g||^4 / (G - 1),

            (G - 1)/(G (G - 2)(G - 3)) [ (G - 1)(G - 2) tr S^2 + (tr S)^2 - G Q ]

        (Himeno & Yamada 2014, equation 5). NaN for fewer than four units.
        """
        d, G = self.dimension, self.replicates
        if G < 4:
            return float("nan")
        if self.rows is not None:
            kept = self.rows[self.rows[:, COUNT] > 0]
            y = kept[:, :d] - kept[:, COUNT, None] * self.mean
            fourth = float(np.sum(np.einsum("ij,ij->i", y, y) ** 2))
            gram = y @ y.T if len(y) <= d else y.T @ y
        else:
            assert self.scatter is not None  # one of the two forms always exists
            gram = self.scatter[:d, :d]
            square = np.zeros(d + EXTRA)
            square[:d], square[SQUARE], square[COUNT] = -2 * self.mean, 1, self.mean @ self.mean
            mean_square = float(square @ self.totals) / G
            fourth = float(square @ self.scatter @ square) + G * mean_square**2
        trace, squares = float(np.trace(gram)) / (G - 1), float(np.sum(gram**2)) / (G - 1) ** 2
        value = (G - 1) * (G - 2) * squares + trace**2 - G * fourth / (G - 1)
        return value * (G - 1) / (G * (G - 2) * (G - 3))
