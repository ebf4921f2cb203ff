"""Parts of a measurement: variances, classes, nearest simplex, conditions, probe, slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from uncollapse.errors import InputError
from uncollapse.records import scalars
from uncollapse.records.codec import Part, check_fields
from uncollapse.records.scalars import (
    UNKNOWN,
    AboveChanceInterval,
    Estimate,
    Label,
    VarianceEstimate,
    WithEnds,
)
from uncollapse.records.verdict import Margins, ProbeVerdict, Verdict

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# (train (n, d), queries (m, d), k) -> cosines (m, k) and positions in train (m, k), best first.
NeighbourIndex = Callable[[Floats, Floats, int], tuple[Floats, Integers]]


@dataclass(frozen=True)
class Variances(Part):
    """The five variances; of a level that does not exist, an estimate of None."""

    within_class_variance: VarianceEstimate = UNKNOWN
    instance_variance: VarianceEstimate = UNKNOWN
    view_variance: VarianceEstimate = UNKNOWN
    between_class_variance: VarianceEstimate = UNKNOWN
    total_variance: VarianceEstimate = UNKNOWN


@dataclass(frozen=True)
class ClassMeasurement(Part):
    """What was found in one class; the verdict is by its own interval, the reason in words."""

    label: Label
    count: scalars.Count  # of rows, all views counted
    verdict: Verdict
    reason: str = ""
    within_class_variance: VarianceEstimate = UNKNOWN
    instance_variance: VarianceEstimate = UNKNOWN
    view_variance: VarianceEstimate = UNKNOWN
    # Instance variance (within, where there are no views) over the total of all classes.
    share: Estimate = UNKNOWN


@dataclass(frozen=True)
class SsemFit(Part):
    """Whether a simplex-to-simplex embedding describes what was measured, and why, in words.

    It does where no residual (the last four; None where one does not exist) is above the tolerance,
    in units of squared length on the unit sphere.
    """

    describes: bool
    reason: str
    tolerance: scalars.Positive
    total_variance_deficit: scalars.Variance | None
    class_spread: scalars.NotNegative | None
    mean_product_deviation: scalars.NotNegative | None
    view_variance: scalars.Variance | None


@dataclass(frozen=True)
class Ssem(Part):
    """Delta and omega of the nearest simplex-to-simplex embedding, and whether it describes."""

    delta: scalars.NotNegative
    omega: float
    fit: SsemFit


@dataclass(frozen=True, kw_only=True)
class Conditions(Part):
    """Under which all this was measured; layer is None where it was not given.

    Split is None where no part of the rows was told from others: all rows of the files were judged.
    """

    classes: scalars.Count
    samples: scalars.Count  # rows
    units: scalars.Count | None = None  # that are independent
    dimension: scalars.PositiveCount
    confidence: scalars.Fraction = 0.95  # of every interval
    margins: Margins | None = None
    layer: str | None = None
    split: str | None = None
    dtype: str  # that the embeddings came in; of several, with commas
    normalised: bool  # whether they came as unit vectors
    dropped: Mapping[str, scalars.Count] = field(default_factory=dict)  # rows left out, by fault
    views: bool = False  # whether rows were views of instances
    groups: bool = False  # whether instances were members of groups
    interval: str | None = None  # how intervals were found; None without them
    blocks: scalars.PositiveCount | None = None  # left out one by one; None where single units were
    seed: scalars.Count | None = None  # of permutations, splits and subsamples; None for a stream
    copies: scalars.Count | None = (
        None  # rows that are exact copies of others; None: not looked for
    )
    joined_by: Literal["position"] | None = None  # how rows of labels and embeddings were paired
    # Read from files, by their role: the same rows from elsewhere are the same measurement.
    columns: Mapping[str, str] = field(default_factory=dict, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """One key per field; only a stream has blocks, and it has no seed."""
        left_out = [n for n in ("blocks", "seed", "copies", "joined_by") if self[n] is None]
        left_out += [] if self.columns else ["columns"]
        return {key: value for key, value in super().to_dict().items() if key not in left_out}


@dataclass(frozen=True)
class WithinClassOptions(Part):
    """How finer labels are read inside classes.

    Attributes:
        folds: Every unit is tested once; one of the other folds is the validation split on which
            hyperparameters are chosen (`measure`; `probe` has its own splits).
        neighbours: Numbers of neighbours to choose from.
        temperatures: Temperatures of the neighbours' weights to choose from.
        strengths: Inverse L2 penalties to choose from.
        permutations: Permutations of the finer labels within each class.
        most_rows: Rows of a class that are used, drawn at random; None: 1000 (`measure`), or 2000
            of each split (`probe`).
        least_units: Independent units that a finer label needs in a class to take part.
        margin: No information is claimed only when both probes are below this, interval and all.
        index: Finds the nearest neighbours; None: by comparing with all. Not in the JSON.

    Examples:
        >>> import numpy as np
        >>> from uncollapse import ProbeOptions, measure
        >>> digit = np.arange(200) % 4
        >>> rows = np.eye(4, 8)[digit] + 0.3 * np.random.default_rng(0).standard_normal((200, 8))
        >>> options = ProbeOptions(within=WithinClassOptions(neighbours=(5,), permutations=5))
        >>> measure(rows, digit % 2, fine_labels=digit, probe=options).probe.knn.estimate > 0.9
        True
    """

    folds: scalars.PositiveCount = 5
    neighbours: tuple[scalars.PositiveCount, ...] = (1, 5, 20)
    temperatures: tuple[scalars.Positive, ...] = (0.1, 1.0)
    strengths: tuple[scalars.Positive, ...] = (0.01, 0.1, 1.0, 10.0)
    permutations: scalars.Count = 20
    most_rows: scalars.PositiveCount | None = None
    least_units: scalars.PositiveCount = 10
    margin: scalars.AboveChance = 0.2
    index: NeighbourIndex | None = None

    def __post_init__(self) -> None:
        with suppress(TypeError):
            if self.folds < 3 or self.least_units < self.folds or self.permutations < 0:
                raise InputError(
                    "probe options with folds >= 3, least_units >= folds and permutations >= 0",
                    f"folds {self.folds}, least_units {self.least_units}, "
                    f"permutations {self.permutations}",
                    "leave them at their defaults",
                )
        check_fields(self)
        scalars.check_permutations(self.permutations)
        if not (self.index is None or callable(self.index)):
            raise InputError("index as a function or None", f"{self.index!r}", "leave it out")

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, without the index."""
        return {key: value for key, value in super().to_dict().items() if key != "index"}


@dataclass(frozen=True)
class PermutationNull(Part):
    """What the probe reads of the true labels, and mean and largest of those permuted in classes.

    The p-value is the part of all (the true one counted) that is at least `observed`.
    """

    observed: scalars.AboveChance
    mean: scalars.AboveChance
    high: scalars.AboveChance
    permutations: scalars.Count
    p_value: scalars.Fraction


@dataclass(frozen=True)
class ProbedClassScore(Part):
    """What was read inside one class: balanced accuracy, corrected for chance.

    `fine_labels` is how many finer labels it has, `rows` how many rows took part.
    """

    label: Label
    fine_labels: scalars.Count
    rows: scalars.Count
    knn: scalars.AboveChance
    logistic: scalars.AboveChance


@dataclass(frozen=True)
class WithinClassProbe(Part):
    """How well a finer label is read inside each class: 0 is chance, 1 is perfect.

    `knn` and `logistic` are means over classes; None where no class could be probed.
    """

    verdict: ProbeVerdict
    summary: str  # the numbers in one line
    knn: AboveChanceInterval | None
    logistic: AboveChanceInterval | None
    null: PermutationNull | None  # the same for permuted labels, where they were asked for
    classes: tuple[ProbedClassScore, ...]
    skipped_classes: scalars.Count  # without enough finer labels
    options: WithinClassOptions


@dataclass(frozen=True)
class SliceProbe(Part):
    """How well finer labels are read in one slice, by each probe."""

    knn: AboveChanceInterval
    logistic: AboveChanceInterval


@dataclass(frozen=True)
class SliceMeasurement(Part):
    """What was found in the rows of one slice; the verdict is by its own interval.

    Classes are those with two independent units or more; 0 where there are none. Of one class there
    is the share alone, of the total variance of all rows, because no other slice is like it.
    """

    count: scalars.Count  # of rows
    classes: scalars.Count
    verdict: Verdict
    certainly_collapsed: bool = False  # by an interval that holds for all slices
    reason: str = ""
    within_class_variance: VarianceEstimate | None = None
    instance_variance: VarianceEstimate | None = None
    share: Estimate | None = None
    probe: SliceProbe | None = None
    units: scalars.Count | None = None  # that are independent; None in older files


@dataclass(frozen=True)
class Gap(WithEnds):
    """The largest difference between two slices, with an interval that holds for all pairs."""

    estimate: scalars.NotNegative
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
    """What was found in the slices of one column."""

    values: Mapping[str, SliceMeasurement]  # by the slice's name
    missing_rows: scalars.Count  # without a value
    gap: SliceGaps
    leakage: WithinClassProbe | None  # reading the slice off the embedding
