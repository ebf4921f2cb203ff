"""From rows to the moments of every class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uncollapse.metrics.moments import (
    ClassMoments,
    Floats,
    Integers,
    group_features,
    instance_features,
)
from uncollapse.samples import Sample, unit_rows


@dataclass(frozen=True)
class Classes:
    """Moments of every class, and what is known of the rows they come from.

    Attributes:
        names: Labels, sorted.
        units: Moments of the independent units: groups where there are groups, else instances.
        instances: Moments of the instances.
        points: (instances, d) all instances (views averaged) in class order, or None when they
            would take more than `keep_bytes`.
        dtype: Type that the embeddings came in; of several, with commas.
        normalised: Whether they came as unit vectors.
        dropped: Rows left out, by fault.
        views: Whether rows are views of instances.
    """

    names: tuple[Any, ...]
    units: list[ClassMoments]
    instances: list[ClassMoments]
    points: Floats | None = None
    dtype: str = ""
    normalised: bool = True
    dropped: Mapping[str, int] = field(default_factory=dict)
    views: bool = False

    @property
    def counts(self) -> dict[Any, int]:
        """Instances of each class."""
        counts = (moments.instances for moments in self.instances)
        return dict(zip(self.names, counts, strict=True))


def features_by_class(sample: Sample) -> Iterator[tuple[int, Floats, Integers | None, int]]:
    """Of each class that has rows, in the order of label codes, what its instances are.

    Yields:
        The label's code; (instances, d + 6) features; the group code of each instance, or None; the
        number of rows, all views counted.
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


def classes_of(sample: Sample, *, keep_bytes: int = 0) -> Classes:
    """Moments of every class of a checked sample; `points` are kept up to so many bytes."""
    names, units, instances, points = [], [], [], []
    keep = 8 * sample.matrix.size <= keep_bytes
    for code, features, groups, samples in features_by_class(sample):
        names.append(sample.labels.names[code])
        instances.append(ClassMoments.of_units(features, samples))
        if groups is None:
            units.append(instances[-1])
        else:
            grouped, group_codes = group_features(features, groups)
            units.append(ClassMoments.of_units(grouped, samples, group_codes))
        if keep:
            points.append(features[:, : sample.matrix.shape[1]])
    return Classes(
        tuple(names),
        units,
        instances,
        np.concatenate(points) if keep else None,
        sample.dtype,
        sample.normalised,
        sample.dropped,
        views=sample.instances is not None,
    )
