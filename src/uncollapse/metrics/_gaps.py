"""The largest differences between slices, with intervals that hold for all pairs of them.

Of S slices there are P = S (S - 1)/2 pairs. Each end of a difference is an interval of level
1 - (1 - confidence)/P by itself (Bonferroni), and two of them are joined by Zou and Donner. The
level is asked of the ends: a jackknife's t or Wilson's interval of few rows is longer there than a
multiple of its 95 % one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from uncollapse import records
from uncollapse.metrics.classes import classes_of
from uncollapse.metrics.features import Floats
from uncollapse.metrics.variance import decompose
from uncollapse.probes import score_within
from uncollapse.records import Gap, Interval
from uncollapse.samples import Codes, Sample, select
from uncollapse.statistics import difference

Bools = NDArray[np.bool_]


def accuracy(sample: Sample, rows: Bools, right: Floats, confidence: float) -> Interval | None:
    """Chance-corrected accuracy of the finer labels in some rows; None where none was read.

    `right` says of every row whether it was read right out of fold (NaN where it took no part).
    Every (class, finer label) cell of these rows weighs the same in its class; chance is that of
    all finer labels of the class.
    """
    assert sample.fine_labels is not None  # else nothing was read
    labels, fine = sample.labels.codes, sample.fine_labels.codes
    read = ~np.isnan(right)
    used = rows & read
    if not used.any():
        return None
    counts = np.bincount(np.unique(np.stack([labels[read], fine[read]]), axis=1)[0])
    present, owners = np.unique(labels[used], return_inverse=True)
    units = np.arange(len(fine)) if sample.units is None else sample.units
    return score_within(
        right[used] == 1, owners, fine[used], counts[present], units[used], confidence
    ).chance_corrected


def gaps(
    sample: Sample,
    column: Codes,
    values: dict[str, records.SliceMeasurement],
    hits: dict[str, Floats],
    confidence: float,
) -> records.SliceGaps:
    """The largest difference between two slices of a column, for variance and for each probe."""
    codes = {str(value): code for code, value in enumerate(column.names)}

    def variance(name: str) -> Gap | None:
        def at(key: str, level: float) -> Interval:
            rows = column.codes == codes[key]
            units = classes_of(select(sample, rows)).of_several_units().units
            found = decompose(units, confidence=level).variances[name]
            return Interval(found.estimate, found.low, found.high)

        known = {
            key: value[name].estimate
            for key, value in values.items()
            if value[name] is not None and value[name].low is not None
        }
        return _gap(known, at, confidence)

    def probe(name: str) -> Gap | None:
        def at(key: str, level: float) -> Interval | None:
            return accuracy(sample, column.codes == codes[key], hits[name], level)

        known = {
            key: value.probe[name].estimate
            for key, value in values.items()
            if value.probe is not None and value.probe[name].low is not None
        }
        return _gap(known, at, confidence)

    return records.SliceGaps(
        variance("within_class_variance"),
        variance("instance_variance"),
        probe("knn"),
        probe("logistic"),
    )


def _gap(
    known: dict[str, float], at: Callable[[str, float], Interval | None], confidence: float
) -> Gap | None:
    """The largest of all differences of slices that have an interval."""
    if len(known) < 2:
        return None
    ordered = sorted(sorted(known.items()), key=itemgetter(1))
    smallest, largest = ordered[0][0], ordered[-1][0]
    level = 1 - (1 - confidence) / comb(len(known), 2)
    low, high = at(smallest, level), at(largest, level)
    if low is None or high is None:
        return None
    gap = difference(low, high)
    if gap.low is None or gap.high is None:
        return None
    return Gap(gap.estimate, gap.low, gap.high, smallest=smallest, largest=largest)
