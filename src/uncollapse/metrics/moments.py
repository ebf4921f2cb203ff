"""What rows are reduced to, class by class: sums and second moments of independent units.

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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.samples import Codes, Repeats, Sample, row_hashes, stored_as, unit_rows

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Features after the d of t_g, by position from the end.
EXTRA = 6
SQUARE, COUNT, COUNT_SQUARE, COSINE, COSINE_COUNT, VIEW_MEAN_SQUARE = range(-EXTRA, 0)

# Variance between views that differ by the rounding of float32 alone; between instances, of those
# that are one point.
_SAME_VIEWS, _SAME_INSTANCES = 1e-12, 1e-9


def instance_features(rows: Floats, instances: Integers | None) -> Floats:
    """(units, d + 6) features of unit vectors (N, d), each instance its own unit, in code order."""
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


@dataclass(frozen=True)
class Classes:
    """Moments of every class, and what is known of the rows they come from."""

    names: tuple[Any, ...]  # labels, sorted
    units: list[ClassMoments]  # of groups where there are groups, else of instances
    instances: list[ClassMoments]
    points: Floats | None = None  # (instances, d) means of views in class order, where kept
    owners: Integers | None = None  # (instances,) unit of each point, where it is not its own
    dtype: str = ""  # that the embeddings came in; of several, with commas
    normalised: bool = True  # whether they came as unit vectors
    dropped: Mapping[str, int] = field(default_factory=dict)  # rows left out, by fault
    views: bool = False  # whether rows are views of instances
    copies: int | None = None  # rows that are exact copies of others; None: not looked for
    linked: bool = False  # whether copies of a row are one unit
    unknown_copies: bool = False  # whether there are copies, it is not known of which classes
    part_of_copies: bool = False  # whether a part of the rows stood for all, to find copies
    stored: str = ""  # what quantised embeddings hold, as `stored_as` has it
    same_views: bool = False  # whether views of an instance coincide, and so say nothing

    @property
    def counts(self) -> dict[Any, int]:
        """Instances of each class."""
        counts = (moments.instances for moments in self.instances)
        return dict(zip(self.names, counts, strict=True))

    def of_several_units(self) -> Classes:
        """The classes of two units or more; rows of the others count as dropped."""
        kept = [c for c, moments in enumerate(self.units) if moments.units > 1]
        alone = sum(moments.samples for moments in self.units if moments.units < 2)
        alone += self.dropped.get("alone_in_class", 0)
        return replace(
            self,
            names=tuple(self.names[c] for c in kept),
            units=[self.units[c] for c in kept],
            instances=[self.instances[c] for c in kept],
            dropped={**self.dropped, "alone_in_class": alone} if alone else self.dropped,
        )


def with_views_that_differ(classes: Classes) -> Classes:
    """The classes without their views, where those of every instance coincide.

    Dropout makes no views in evaluation mode: that they coincide says nothing of the views of
    training. Where instances coincide as well, so that each class is a point, the views stay.
    """
    cosines = sum(float(moments.totals[COSINE]) for moments in classes.instances)
    count = sum(float(moments.totals[COSINE_COUNT]) for moments in classes.instances)
    if not count or count - cosines > _SAME_VIEWS * count:
        return classes
    spread = (m.totals[VIEW_MEAN_SQUARE] - m.sum @ m.mean for m in classes.instances)
    if sum(spread) <= _SAME_INSTANCES * count:
        return classes
    return replace(
        classes,
        units=[moments.without_views() for moments in classes.units],
        instances=[moments.without_views() for moments in classes.instances],
        same_views=True,
    )


def features_by_class(sample: Sample) -> Iterator[tuple[int, Floats, Integers | None, int]]:
    """Label code, (instances, d + 6) features, group of each instance (or None) and row count.

    Of each class that has rows, in the order of label codes.
    """
    order = np.argsort(sample.labels.codes, kind="stable")
    if not len(order):
        return
    starts = np.flatnonzero(np.diff(sample.labels.codes[order])) + 1
    for rows in np.split(order, starts):
        ids = None if sample.instances is None else sample.instances.codes[rows]
        features = instance_features(unit_rows(sample.matrix[rows]), ids)
        groups = None
        if sample.groups is not None:
            first = rows if ids is None else rows[np.unique(ids, return_index=True)[1]]
            groups = sample.groups.codes[first]
        yield int(sample.labels.codes[rows[0]]), features, groups, len(rows)


def _grouped(sample: Sample, features: Floats, groups: Integers, samples: int) -> ClassMoments:
    """Moments of a class whose instances belong to these groups, or are copies of each other."""
    grouped, codes = group_features(features, groups)
    if sample.groups is not None:
        return ClassMoments.of_units(grouped, samples, codes)
    if len(grouped) == len(features):
        return ClassMoments.of_units(features, samples)
    # Units of several instances are kept as rows.
    return ClassMoments(len(grouped), grouped.sum(axis=0), samples, rows=grouped)


def classes_of(sample: Sample, *, keep_bytes: int = 0) -> Classes:
    """Moments of every class of a checked sample; `points` are kept up to so many bytes."""
    names, units, instances, points, owners = [], [], [], list[Floats](), list[Integers]()
    keep = 8 * sample.matrix.size <= keep_bytes
    linked = sample
    if sample.copies is not None and sample.copies.units is not None:
        linked = replace(sample, groups=Codes(sample.copies.units, ()))
    for code, features, groups, samples in features_by_class(linked):
        names.append(sample.labels.names[code])
        instances.append(ClassMoments.of_units(features, samples))
        units.append(
            instances[-1] if groups is None else _grouped(sample, features, groups, samples)
        )
        if keep:
            points.append(features[:, : sample.matrix.shape[1]])
            owners += [] if groups is None else [groups]
    found = Classes(
        tuple(names),
        units,
        instances,
        np.concatenate(points) if points else None,
        np.concatenate(owners) if owners else None,
        sample.dtype,
        sample.normalised,
        sample.dropped,
        views=sample.instances is not None,
        copies=0 if sample.copies is None else sample.copies.extra,
        linked=sample.copies is not None and sample.copies.units is not None,
        stored=stored_as(sample.matrix),
    )
    return with_views_that_differ(found)
