"""What is left of a reference's structure: another embedding of the same rows, compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from uncollapse.records import scalars
from uncollapse.records.codec import Part
from uncollapse.records.scalars import Label, WithEnds

JoinedBy = Literal["id", "position", "same file"]


@dataclass(frozen=True)
class Retention(WithEnds):
    """How much of the reference's structure inside classes is kept: 1 all of it, 0 none.

    Attributes:
        estimate: Unbiased linear CKA of cosine Gram matrices; it can be slightly below zero where
            nothing is kept. None where it does not exist.
        low: Lower end of its interval; None when there are too few units for one.
        high: Upper end.
        null: What unrelated rows stay below in 95 % of cases: the quantile over permutations of the
            reference's rows inside the class. None without permutations.
    """

    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    null: float | None = None


@dataclass(frozen=True)
class ReferenceClass(Part):
    """Retention in one class, and why there is none where its estimate is None."""

    label: Label
    retention: Retention
    units: scalars.Count = 0  # instances, or groups
    reason: str = ""


@dataclass(frozen=True)
class ReferenceProbe(Part):
    """Accuracy of the finer labels inside classes by the nearest mean of a few rows of each.

    Balanced, mean over classes, 0 to 1, by the same draws on both embeddings; `difference` is the
    embedding's less the reference's, below zero where something was lost.
    """

    shots: scalars.PositiveCount
    embedding: float
    reference: float
    difference: scalars.Interval
    draws: scalars.Count = 0
    classes: scalars.Count = 0  # with two finer labels or more of enough units
    skipped_classes: scalars.Count = 0  # without


@dataclass(frozen=True, kw_only=True)
class ReferenceComparison(Part):
    """An embedding against a reference of the same rows.

    Attributes:
        name: Of the reference.
        rows: That both have, and that were compared.
        joined_by: How rows were brought together, and by which id column (`key`).
        retention: Mean over the classes that have one.
        classes: One entry per class, in label order.
        probe: Finer labels by both embeddings; None without finer labels.
        dimension: Of the reference.
        confidence: Of every interval.
        permutations: Of the null.
        seed: Of everything that was drawn.
        dropped: Rows without a partner that can be used, by fault.
        drawn_from: Rows that both have, of which `rows` were drawn; None where all were used.
    """

    name: str
    rows: scalars.Count
    joined_by: JoinedBy
    retention: Retention
    classes: tuple[ReferenceClass, ...]
    probe: ReferenceProbe | None = None
    dimension: scalars.PositiveCount | None = None
    confidence: scalars.Fraction = 0.95
    permutations: scalars.Count = 0
    seed: scalars.Count = 0
    dropped: Mapping[str, scalars.Count] = field(default_factory=dict)
    drawn_from: scalars.Count | None = None
    key: str | None = None

    @property
    def looks_unrelated(self) -> bool:
        """Whether rows that were joined by position share no more than unrelated ones do."""
        estimate, null = self.retention.estimate, self.retention.null
        if estimate is None or null is None:
            return False
        return self.joined_by == "position" and estimate <= null
