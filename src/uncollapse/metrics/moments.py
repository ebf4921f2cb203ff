"""Moments of one class: the totals of its units' features and what gives their spread."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from uncollapse.metrics.features import (
    COSINE,
    COSINE_COUNT,
    COUNT,
    COUNT_SQUARE,
    EXTRA,
    SQUARE,
    Floats,
    Integers,
    group_features,
)
from uncollapse.samples import Repeats, row_hashes


@dataclass
class ClassMoments:
    """Totals and second moments of one class's G units: their scatter about the mean, or rows."""

    units: int
    totals: Floats  # (d + 6,)
    samples: int  # rows, all views counted
    scatter: Floats | None = None  # (d + 6, d + 6), for units of one instance each
    rows: Floats | None = None  # (units or blocks, d + 6)
    blocks: int = 0  # where rows are blocks of units: how many there are, the empty ones too
    names: Integers | None = None  # group code of each of the rows, to follow it through classes

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
        if not self.blocks or self.rows is None:
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
        units = self.units + other.units
        totals, samples = self.totals + other.totals, self.samples + other.samples
        if self.rows is not None and other.rows is not None and units <= self.rows.shape[1]:
            rows = np.concatenate([self.rows, other.rows])
            return ClassMoments(units, totals, samples, rows=rows)
        difference = other.totals / other.units - self.totals / self.units
        weight = self.units * other.units / units
        together = self._scatter() + other._scatter() + weight * np.outer(difference, difference)
        return ClassMoments(units, totals, samples, scatter=together)

    def repeated(self, repeats: Repeats) -> ClassMoments:
        """The same with copies of an instance as one unit, each instance one so far.

        Where units are kept they are put together. Else, as if m = sum m^2 / sum m copies of each
        of G units were there: with x those of an instance, m D x are the features of a unit, D
        being m at both squares and 1 elsewhere, and sum_g x_g x_g' = m D (sum x x') D.
        """
        if repeats.times == 1:
            return self
        if self.rows is not None and not self.blocks:
            kinds = np.unique(row_hashes(self.rows[:, : self.dimension]), return_inverse=True)[1]
            rows, _ = group_features(self.rows, kinds)
            return ClassMoments(len(rows), rows.sum(axis=0), self.samples, rows=rows)
        scale = np.ones(self.dimension + EXTRA)
        scale[[SQUARE, COUNT_SQUARE]] = repeats.times
        size = np.sqrt(repeats.times)
        wide = np.outer(size * scale, size * scale)
        return replace(
            self,
            units=max(1, round(self.units * repeats.distinct)),
            totals=self.totals * scale,
            scatter=None if self.scatter is None else self.scatter * wide,
            rows=None if self.rows is None else self.rows * (size * scale),
        )

    def _scatter(self) -> Floats:
        if self.scatter is not None:
            return self.scatter
        assert self.rows is not None  # one of the two forms always exists
        centred = self.rows - self.totals / self.units
        return np.asarray(centred.T @ centred)

    def without_views(self) -> ClassMoments:
        """The same as if every instance had one view, the mean of those that it has."""
        kept = np.ones(len(self.totals))
        kept[[COSINE, COSINE_COUNT]] = 0
        return replace(
            self,
            totals=self.totals * kept,
            scatter=None if self.scatter is None else self.scatter * np.outer(kept, kept),
            rows=None if self.rows is None else self.rows * kept,
        )

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

    def residual_lengths(self) -> tuple[float, float]:
        """sum_g ||y_g||^2 and sum_g ||y_g||^4, y_g = t_g - k_g mean; to about 1e-16."""
        d, G, mean = self.dimension, self.replicates, self.mean
        if self.rows is not None:
            k = self.rows[:, COUNT]
            r = self.rows[:, SQUARE] - 2 * k * (self.rows[:, :d] @ mean) + k**2 * (mean @ mean)
            return float(r.sum()), float(r @ r)
        assert self.scatter is not None  # one of the two forms always exists
        square = np.zeros(d + EXTRA)
        # Of k instances each, 1 but for copies: |t|^2 - 2 k t.mean + k^2 |mean|^2.
        k = self.totals[COUNT_SQUARE] / self.totals[COUNT]
        square[:d], square[SQUARE], square[COUNT_SQUARE] = -2 * k * mean, 1, mean @ mean
        first = float(square @ self.totals)
        return first, float(square @ self.scatter @ square) + first**2 / G

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
            fourth = self.residual_lengths()[1]
        trace, squares = float(np.trace(gram)) / (G - 1), float(np.sum(gram**2)) / (G - 1) ** 2
        value = (G - 1) * (G - 2) * squares + trace**2 - G * fourth / (G - 1)
        return value * (G - 1) / (G * (G - 2) * (G - 3))
