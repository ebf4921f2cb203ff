"""Moments of all classes, and what is known of the rows they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from uncollapse.metrics.features import (
    COSINE,
    COSINE_COUNT,
    VIEW_MEAN_SQUARE,
    Floats,
    Integers,
    group_features,
    instance_features,
)
from uncollapse.metrics.moments import ClassMoments
from uncollapse.samples import Codes, Sample, stored_as, unit_rows

# Variance between views that differ by the rounding of float32 alone; between instances, of those
# that are one point.
_SAME_VIEWS, _SAME_INSTANCES = 1e-12, 1e-9


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


def with_linked_copies(sample: Sample) -> Sample:
    """The sample with the units that its copies link as groups."""
    if sample.copies is None or sample.copies.units is None:
        return sample
    return replace(sample, groups=Codes(sample.copies.units, ()))


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
    for code, features, groups, samples in features_by_class(with_linked_copies(sample)):
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
