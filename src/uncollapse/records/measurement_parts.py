"""Parts of a measurement: variances, classes, the nearest simplex, probe, slices, conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from uncollapse.records.codec import Count, Fraction, Part, PositiveCount
from uncollapse.records.estimate import UNKNOWN, Estimate, Interval
from uncollapse.records.probe_options import WithinClassOptions
from uncollapse.records.verdict import Margins, ProbeVerdict, Verdict


@dataclass(frozen=True)
class PermutationNull(Part):
    """What the probe reads of labels that were permuted within each class.

    Attributes:
        observed: The statistic of the true labels.
        mean, high: Mean and largest of the permuted.
        permutations: How many there were.
        p_value: Part of all (the true one counted) that is at least `observed`.
    """

    observed: float
    mean: float
    high: float
    permutations: Count
    p_value: Fraction


@dataclass(frozen=True)
class ProbedClassScore(Part):
    """What was read inside one class.

    Attributes:
        label: Of the class.
        fine_labels: How many finer labels it has.
        rows: How many rows took part.
        knn, logistic: Balanced accuracy, corrected for chance.
    """

    label: bool | int | float | str
    fine_labels: Count
    rows: Count
    knn: float
    logistic: float


@dataclass(frozen=True)
class WithinClassProbe(Part):
    """How well a finer label is read inside each class: 0 is chance, 1 is perfect.

    Attributes:
        verdict: "information", "no-information" or "cannot-tell".
        summary: The numbers in one line.
        knn, logistic: Mean over classes; None where no class could be probed.
        null: The same for permuted labels; None where none were asked for.
        classes: One entry per class that was probed.
        skipped_classes: Classes without enough finer labels.
        options: Of the probe.
    """

    verdict: ProbeVerdict
    summary: str
    knn: Interval | None
    logistic: Interval | None
    null: PermutationNull | None
    classes: tuple[ProbedClassScore, ...]
    skipped_classes: Count
    options: WithinClassOptions


@dataclass(frozen=True)
class Variances(Part):
    """The five variances; of a level that does not exist, an estimate of None."""

    within_class_variance: Estimate = UNKNOWN
    instance_variance: Estimate = UNKNOWN
    view_variance: Estimate = UNKNOWN
    between_class_variance: Estimate = UNKNOWN
    total_variance: Estimate = UNKNOWN


@dataclass(frozen=True)
class ClassMeasurement(Part):
    """What was found in one class.

    Attributes:
        label: Its label.
        count: Rows, all views counted.
        verdict: By its own interval.
        reason: Why, in words.
        within_class_variance, instance_variance, view_variance: Its variances.
        share: Instance variance (within, where there are no views) over the total of all classes.
    """

    label: bool | int | float | str
    count: Count
    verdict: Verdict
    reason: str = ""
    within_class_variance: Estimate = UNKNOWN
    instance_variance: Estimate = UNKNOWN
    view_variance: Estimate = UNKNOWN
    share: Estimate = UNKNOWN


@dataclass(frozen=True)
class SsemFit(Part):
    """Whether a simplex-to-simplex embedding describes what was measured.

    Attributes:
        describes: Whether no residual is above the tolerance.
        reason: Why, in words.
        tolerance: In units of squared length on the unit sphere.
        total_variance_deficit, class_spread, mean_product_deviation, view_variance: The residuals;
            None where one does not exist.
    """

    describes: bool
    reason: str
    tolerance: float
    total_variance_deficit: float | None
    class_spread: float | None
    mean_product_deviation: float | None
    view_variance: float | None


@dataclass(frozen=True)
class Ssem(Part):
    """Delta and omega of the nearest simplex-to-simplex embedding, and whether it describes."""

    delta: float
    omega: float
    fit: SsemFit


@dataclass(frozen=True, kw_only=True)
class Conditions(Part):
    """Under which all this was measured.

    Attributes:
        classes, samples, units, dimension: Classes, rows, independent units, embedding dimensions.
        confidence: Of every interval.
        margins: Where healthy ends and collapse begins.
        layer, split: Of the embeddings; None where it was not given.
        dtype: Type that the embeddings came in; of several, with commas.
        normalised: Whether they came as unit vectors.
        dropped: Rows left out, by fault.
        views, groups: Whether rows were views of instances, and instances members of groups.
        interval: How intervals were found; None without them.
        blocks: Blocks of units that were left out one by one; None where single units were.
        seed: Of permutations, splits and subsamples; None for a stream, which draws nothing.
    """

    classes: Count
    samples: Count
    units: Count | None = None
    dimension: PositiveCount
    confidence: Fraction = 0.95
    margins: Margins | None = None
    layer: str | None = None
    split: str | None = None
    dtype: str
    normalised: bool
    dropped: Mapping[str, int] = field(default_factory=dict)
    views: bool = False
    groups: bool = False
    interval: str | None = None
    blocks: PositiveCount | None = None
    seed: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """One key per field; only a stream has blocks, and it has no seed."""
        left_out = [name for name in ("blocks", "seed") if self[name] is None]
        return {key: value for key, value in super().to_dict().items() if key not in left_out}


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
