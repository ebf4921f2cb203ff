"""What was found in slices of the rows (by site, machine, lot), as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from uncollapse.records.codec import Part
from uncollapse.records.estimate import Estimate
from uncollapse.records.ranges import Count
from uncollapse.records.score import Interval
from uncollapse.records.verdict import Verdict
from uncollapse.records.within_class_probe import WithinClassProbe


@dataclass(frozen=True)
class SliceProbe(Part):
    """How well finer labels are read in one slice, by each probe."""

    knn: Interval
    logistic: Interval


@dataclass(frozen=True)
class SliceMeasurement(Part):
    """What was found in the rows of one slice.

    Attributes:
        count: Its rows.
        classes: Classes with two independent units or more; 0 where there are no two such classes,
            and then no variances.
        verdict: By its own interval.
        certainly_collapsed: Whether it is collapsed by an interval that holds for all slices.
        reason: Why, in words.
        within_class_variance, instance_variance, share: As of the whole.
        probe: Accuracy of the finer labels; None without them.
    """

    count: Count
    classes: Count
    verdict: Verdict
    certainly_collapsed: bool = False
    reason: str = ""
    within_class_variance: Estimate | None = None
    instance_variance: Estimate | None = None
    share: Estimate | None = None
    probe: SliceProbe | None = None


@dataclass(frozen=True)
class Gap(Part):
    """The largest difference between two slices, with an interval that holds for all pairs."""

    estimate: float
    low: float
    high: float
    smallest: str
    largest: str


@dataclass(frozen=True)
class SliceGaps(Part):
    """The largest differences; None where no two slices have an interval."""

    within_class_variance: Gap | None
    instance_variance: Gap | None
    knn: Gap | None
    logistic: Gap | None


@dataclass(frozen=True)
class SliceColumn(Part):
    """What was found in the slices of one column.

    Attributes:
        values: By the slice's name.
        missing_rows: Rows without a value.
        gap: The largest differences between slices.
        leakage: The within-class probe reading the slice off the embedding; None without probe.
    """

    values: Mapping[str, SliceMeasurement]
    missing_rows: Count
    gap: SliceGaps
    leakage: WithinClassProbe | None
