"""From rows to the moments of every class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.metrics.moments import ClassMoments, group_features, instance_features
from uncollapse.samples import Sample, unit_rows

__all__ = ["Classes", "classes_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Classes:
    """Moments of every class.

    Attributes:
        names: Labels, sorted.
        units: Moments of the independent units: groups where there are groups, else instances.
        instances: Moments of the instances.
        points: (instances, d) all instances (views averaged) in class order, or None when they
            would take more than `keep_bytes`.
    """

    names: tuple[Any, ...]
    units: list[ClassMoments]
    instances: list[ClassMoments]
    points: Floats | None = None


def classes_of(sample: Sample, *, keep_bytes: int = 0) -> Classes:
    """Moments of every class of a checked sample.

    Args:
        sample: Its rows.
        keep_bytes: How large `points` may be.
    """
    order = np.argsort(sample.labels.codes, kind="stable")
    in_order = sample.labels.codes[order]
    starts = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])
    names, units, single, points = [], [], [], []
    keep = 8 * sample.matrix.size <= keep_bytes
    for rows in np.split(order, starts[1:]):
        vectors = unit_rows(sample.matrix[rows])
        inst = None if sample.instances is None else sample.instances.codes[rows]
        features = instance_features(vectors, inst)
        moments = ClassMoments.of_units(features, len(rows))
        single.append(moments)
        if sample.groups is None:
            units.append(moments)
        else:
            codes = sample.groups.codes[rows]
            if inst is not None:
                codes = codes[np.unique(inst, return_index=True)[1]]
            grouped, group_codes = group_features(features, codes)
            units.append(ClassMoments.of_units(grouped, len(rows), group_codes))
        names.append(sample.labels.names[sample.labels.codes[rows[0]]])
        if keep:
            points.append(features[:, : vectors.shape[1]])
    together = np.concatenate(points) if keep else None
    return Classes(tuple(names), units, single, together)
