"""Parts of a measurement: variances, classes, the nearest simplex, conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from uncollapse.records.codec import Part
from uncollapse.records.estimate import UNKNOWN, Estimate
from uncollapse.records.margins import Margins
from uncollapse.records.ranges import Count, Fraction, PositiveCount
from uncollapse.records.verdict import Verdict


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
